// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// childrenOf returns the children of a sample.
func childrenOf(t *testing.T) *resources.Objects {
	t.Helper()
	data, err := os.ReadFile("resources/testdata/orders/server.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.Unmarshal(data, server); err != nil {
		t.Fatal(err)
	}
	objects, err := resources.Build(resources.Input{Server: server, Defaults: resources.Defaults{RuntimeImage: "image:1", Replicas: 2, ClusterDomain: "cluster.local"}})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// packed returns an object as the cache keeps it.
func packed(t *testing.T, object client.Object) client.Object {
	t.Helper()
	transform := packChild
	if _, ok := object.(*appsv1.Deployment); ok {
		transform = reduceDeployment
	}
	var out any = object.DeepCopyObject()
	for range 2 { // A second pass, as on a resync, changes nothing.
		var err error
		if out, err = transform(out); err != nil {
			t.Fatal(err)
		}
	}
	kept, ok := out.(client.Object)
	if !ok {
		t.Fatalf("kept %T", out)
	}
	return kept
}

// What was packed compares as before, and says whose it is without unpacking.
func TestPackedChildrenAreWhole(t *testing.T) {
	t.Parallel()
	for _, object := range childrenOf(t).List() {
		if _, ok := object.(*corev1.ConfigMap); ok {
			continue // The cache keeps hashes of it.
		}
		object.SetUID("7")
		object.SetResourceVersion("8")
		kept := packed(t, object)
		if kept.GetSelfLink() == "" || kept.GetLabels() != nil || kept.GetName() != object.GetName() || kept.GetUID() != "7" ||
			kept.GetResourceVersion() != "8" || !cmp.Equal(kept.GetOwnerReferences(), object.GetOwnerReferences()) {
			t.Errorf("%T: kept %+v", object, kept)
		}
		desired, err := rendered(object)
		if err != nil {
			t.Fatal(err)
		}
		if current, err := upToDate(object, desired, kept); err != nil || !current {
			t.Errorf("%T: up to date %t, %v", object, current, err)
		}
		want, _ := object.DeepCopyObject().(client.Object)
		want.GetObjectKind().SetGroupVersionKind(kept.GetObjectKind().GroupVersionKind()) // Objects of a cache have none.
		if diff := cmp.Diff(want, kept); diff != "" {
			t.Errorf("%T is not what it was, -want +got:\n%s", object, diff)
		}
	}
}

// A change by somebody else shows in what was packed.
func TestPackedChildrenShowDrift(t *testing.T) {
	t.Parallel()
	objects := childrenOf(t)
	for name, tt := range map[string]struct {
		object resources.Object
		drift  func(client.Object)
	}{
		"a label": {objects.Service, func(o client.Object) { o.GetLabels()[resources.LabelServer] = "other" }},
		"an image": {objects.Deployment, func(o client.Object) {
			deployment, _ := o.(*appsv1.Deployment)
			deployment.Spec.Template.Spec.Containers[0].Image = "other"
		}},
		"no label": {objects.Deployment, func(o client.Object) { delete(o.GetLabels(), resources.LabelServer) }},
		"a fence": {objects.NetworkPolicy, func(o client.Object) {
			policy, _ := o.(*networkingv1.NetworkPolicy)
			policy.Spec.Ingress = append(policy.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live, _ := tt.object.DeepCopyObject().(client.Object)
			tt.drift(live)
			desired, err := rendered(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			if current, err := upToDate(tt.object, desired, packed(t, live)); err != nil || current {
				t.Errorf("up to date %t, %v", current, err)
			}
		})
	}
}

// What others note in a status does not show; a child is small.
func TestPackedChildrenAreSmall(t *testing.T) {
	t.Parallel()
	objects := childrenOf(t)
	noted := objects.Service.DeepCopy()
	noted.Status.Conditions = append(noted.Status.Conditions, metav1.Condition{Type: "Noted"})
	if first, second := packed(t, objects.Service).GetSelfLink(), packed(t, noted).GetSelfLink(); first != second {
		t.Error("the status of a Service shows")
	}
	for object, most := range map[resources.Object]int{objects.Service: 350, objects.NetworkPolicy: 400, objects.ServiceAccount: 250, objects.PDB: 300, objects.Deployment: 950} {
		if size := len(packed(t, object).GetSelfLink()); size > most {
			t.Errorf("%T takes %d bytes, want at most %d", object, size, most)
		}
	}
}

// Every server that the builders are tested with comes out of the cache as it went
// in, so that what is built of it, and with it its revision, is the same.
func TestPackedServersAreWhole(t *testing.T) {
	t.Parallel()
	manifests, err := filepath.Glob("resources/testdata/*/server.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("found %d manifests, %v", len(manifests), err)
	}
	servers := map[string]*fairleadv1alpha1.MCPServer{
		"characters that HTML would escape": {Spec: fairleadv1alpha1.MCPServerSpec{Tools: []fairleadv1alpha1.Tool{{
			Name: "t", InputSchema: &runtime.RawExtension{Raw: []byte(`{"description":"a <b> & \u003cc\u003e","type":"object"}`)},
		}}}},
	}
	for _, path := range manifests {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		server := &fairleadv1alpha1.MCPServer{}
		if err := yaml.Unmarshal(data, server); err != nil {
			t.Fatal(err)
		}
		servers[path] = server
	}
	for name, server := range servers {
		var kept any = server.DeepCopy()
		for range 2 { // A second pass, as on a resync, changes nothing.
			if kept, err = reduceServer(kept); err != nil {
				t.Fatal(err)
			}
		}
		whole, _ := kept.(*fairleadv1alpha1.MCPServer)
		if whole.GetSelfLink() == "" || whole.Spec.Tools != nil {
			t.Errorf("%s: the spec was kept as it is", name)
		}
		if err := unpackServer(whole); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(server.Spec, whole.Spec); diff != "" {
			t.Errorf("%s is not what it was, -want +got:\n%s", name, diff)
		}
	}
}
