// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/keyring"
	"fairlead.dev/fairlead/test/apiserver"
)

// isUnauthorized reports whether RBAC refused, and not a policy.
func isUnauthorized(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot ")
}

// sample returns a server of the builders' tests.
func sample(t *testing.T, name, namespace string) *fairleadv1alpha1.MCPServer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(apiserver.Root(), "controllers", "resources", "testdata", name, "server.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.UnmarshalStrict(data, server); err != nil {
		t.Fatal(err)
	}
	server.Namespace, server.UID = namespace, ""
	return server
}

func build(t *testing.T, server *fairleadv1alpha1.MCPServer) *resources.Objects {
	t.Helper()
	objects, err := resources.Build(resources.Input{Server: server, Defaults: defaults()})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func defaults() resources.Defaults {
	return resources.Defaults{RuntimeImage: "fairlead.invalid/fairlead-runtime:dev", Replicas: 2, ClusterDomain: "cluster.local"}
}

// apply applies an object as the operator does.
func apply(t *testing.T, object client.Object) {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	target := object.DeepCopyObject().(client.Object)
	if err := cluster.operator.Patch(t.Context(), target, client.RawPatch(types.ApplyPatchType, data), client.ForceOwnership, client.FieldOwner("fairlead-operator")); err != nil {
		t.Errorf("failed to apply %T %q: %v", object, object.GetName(), err)
	}
}

// legitimate does all that the operator does, under the policies.
func legitimate(t *testing.T) {
	namespace := newNamespace(t)
	for _, name := range []string{"orders", "everything"} {
		server := sample(t, name, namespace)
		if err := cluster.admin.Create(t.Context(), server); err != nil {
			t.Fatal(err)
		}
		objects := build(t, server)
		for range 2 { // To create, and to apply again.
			for _, object := range objects.List() {
				apply(t, object)
			}
			ring := keyring.Ring{Current: keyring.Key{1}, Next: keyring.Key{2}}
			apply(t, resources.SessionSecret(resources.Input{Server: server, Defaults: defaults()}, ring))
		}
		mend(t, objects)
		if err := cluster.operator.Delete(t.Context(), objects.ConfigMap); err != nil {
			t.Errorf("a ConfigMap of its own cannot be pruned: %v", err)
		}
		if err := cluster.operator.Status().Patch(t.Context(), server.DeepCopy(), mergePatch(`{"status":{"observedGeneration":1}}`)); err != nil {
			t.Errorf("the status cannot be written: %v", err)
		}
	}
	poke(t, namespace)
	masterKey(t)
}

// mend takes an object of ours back that lost its labels: its owner is the
// evidence.
func mend(t *testing.T, objects *resources.Objects) {
	t.Helper()
	stripped := objects.Service.DeepCopy()
	if err := cluster.admin.Patch(t.Context(), stripped, mergePatch(`{"metadata":{"labels":null}}`)); err != nil {
		t.Fatal(err)
	}
	apply(t, objects.Service)
	if err := cluster.operator.Patch(t.Context(), &appsv1.Deployment{ObjectMeta: objects.Deployment.ObjectMeta}, mergePatch(`{"spec":{"replicas":3}}`)); err != nil {
		t.Errorf("a Deployment cannot be scaled: %v", err)
	}
}

func poke(t *testing.T, namespace string) {
	t.Helper()
	pod := ownPod()
	create(t, namespace, pod)
	annotations := map[string]string{"fairlead.dev/config-revision": "5f2c-1", "fairlead.dev/refreshed-at": "2026-11-21T14:00:00Z", corev1.PodDeletionCost: "64"}
	for range 2 {
		if err := convergence.NewPoker(cluster.operator).Poke(t.Context(), client.ObjectKeyFromObject(pod), pod.UID, annotations); err != nil {
			t.Fatalf("a pod cannot be poked: %v", err)
		}
	}
	if err := cluster.admin.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		t.Fatal(err)
	}
	for key, want := range annotations {
		if pod.Annotations[key] != want {
			t.Errorf("annotation %s is %q, want %q", key, pod.Annotations[key], want)
		}
	}
}

func masterKey(t *testing.T) {
	t.Helper()
	old := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: keys.MasterSecret}}
	if err := client.IgnoreNotFound(cluster.admin.Delete(t.Context(), old)); err != nil {
		t.Fatal(err)
	}
	first, err := keys.Master(t.Context(), cluster.operator, cluster.operator, operatorNamespace)
	if err != nil {
		t.Fatal(err)
	}
	second, err := keys.Master(t.Context(), cluster.operator, cluster.operator, operatorNamespace)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the master key is another one on the second reading: %v", err)
	}
}

// others are not minded by the policies: not an administrator, and not another
// ServiceAccount with the same rights.
func others(t *testing.T) {
	namespace := newNamespace(t)
	create(t, namespace,
		password.DeepCopy(),
		&corev1.ServiceAccount{ObjectMeta: named("deployer")},
		&rbacv1.RoleBinding{
			ObjectMeta: named("deployer"),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "fairlead-operator"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "deployer"}},
		})
	deployer, err := account(t.Context(), cluster.admin.Scheme(), namespace, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if err := readSecret(t.Context(), deployer, namespace); err != nil {
			return "another ServiceAccount is refused: " + err.Error()
		}
		return ""
	})
}
