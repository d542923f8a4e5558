// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/keyring"
)

// Pods that are held back see the configuration in their own ConfigMap and
// version; the Deployment is what they are to become.
func TestKeptTemplate(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/orders/server.yaml")
	before := build(t, server)
	in := resources.Input{Server: server, Defaults: defaults, Observed: resources.Observed{
		ConfigMap: "orders-mcp-00000000", Contract: config.OldestContract,
	}}
	objects, err := resources.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	if objects.ConfigMap.Name != "orders-mcp-00000000" {
		t.Errorf("the ConfigMap is %q", objects.ConfigMap.Name)
	}
	decoded, err := config.Decode([]byte(objects.ConfigMap.Data[resources.ServerFile]))
	if err != nil {
		t.Fatal(err)
	}
	if decoded.Contract != config.OldestContract || decoded.Revision != objects.Revision {
		t.Errorf("contract %d revision %q, want %d and %q", decoded.Contract, decoded.Revision, config.OldestContract, objects.Revision)
	}
	if got := objects.ConfigMap.Annotations[resources.AnnotationRevision]; got != objects.Revision {
		t.Errorf("the ConfigMap says that it holds revision %q, want %q", got, objects.Revision)
	}
	if diff := cmp.Diff(before.Deployment, objects.Deployment); diff != "" {
		t.Errorf("the wanted Deployment depends on the pods that are kept:\n%s", diff)
	}
	for _, contract := range []int{config.OldestContract - 1, config.ContractVersion + 1} {
		if contract == 0 {
			continue // Means that nothing is kept.
		}
		in.Observed.Contract = contract
		wrong := new(resources.ContractError)
		if _, err := resources.Build(in); !errors.As(err, &wrong) || wrong.Contract != contract {
			t.Errorf("Build() for contract %d = %v, want a ContractError", contract, err)
		}
	}
}

// The two hashes tell the user's edits from the operator's.
func TestHashes(t *testing.T) {
	t.Parallel()
	type spec = fairleadv1alpha1.MCPServerSpec
	tests := []struct {
		name              string
		edit              func(*spec)
		defaults          resources.Defaults
		template, surface bool // whether they change
	}{
		{"nothing", func(*spec) {}, defaults, false, false},
		{"another image of the operator's", func(*spec) {}, resources.Defaults{RuntimeImage: "other:2"}, true, false},
		{"another tool", func(s *spec) { s.Tools[0].Description = "Another." }, defaults, false, false},
		{"a label", func(s *spec) {
			s.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"a": "b"}}
		}, defaults, true, true},
		{"a Secret", func(s *spec) { s.Tools[0].HTTP.HeadersFrom[0].SecretKeyRef.Name = "another" }, defaults, true, true},
		{"a shorter window", func(s *spec) { s.Drain = &fairleadv1alpha1.Drain{Window: new(fairleadv1alpha1.Duration("1s"))} }, defaults, false, false},
		{"a longer window", func(s *spec) { s.Drain = &fairleadv1alpha1.Drain{Window: new(fairleadv1alpha1.Duration("31s"))} }, defaults, true, true},
		{"longer calls", func(s *spec) { s.Drain = &fairleadv1alpha1.Drain{CallTimeout: new(fairleadv1alpha1.Duration("1m"))} }, defaults, true, true},
		{"replicas", func(s *spec) { s.Replicas = new(int32(7)) }, defaults, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/orders/server.yaml")
			before := build(t, server).Deployment.Annotations
			tt.edit(&server.Spec)
			objects, err := resources.Build(resources.Input{Server: server, Defaults: tt.defaults})
			if err != nil {
				t.Fatal(err)
			}
			after := objects.Deployment.Annotations
			if got := before[resources.AnnotationTemplateHash] != after[resources.AnnotationTemplateHash]; got != tt.template {
				t.Errorf("template changes: %t, want %t", got, tt.template)
			}
			if got := before[resources.AnnotationSurfaceHash] != after[resources.AnnotationSurfaceHash]; got != tt.surface {
				t.Errorf("surface changes: %t, want %t", got, tt.surface)
			}
		})
	}
}

// Another surface hash for the same spec would make the next upgrade of the
// operator look like an edit of every user, and roll all pods at once.
func TestSurfaceHashIsForever(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"testdata/minimal/server.yaml":    "27cfdfbf5d23aa2b",
		"testdata/everything/server.yaml": "d5514d31e6fdee80",
		"testdata/orders/server.yaml":     "f25e53b9499c0b70",
	} {
		if got := build(t, readServer(t, file)).Deployment.Annotations[resources.AnnotationSurfaceHash]; got != want {
			t.Errorf("%s: the surface is %q, want %q", file, got, want)
		}
	}
}

func TestSessionKeys(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/orders/server.yaml")
	ring := keyring.Ring{Current: keyring.Key{1}, Next: keyring.Key{2}}
	in := resources.Input{Server: server, Defaults: defaults, Observed: resources.Observed{KeyIDs: ring.IDs()}}
	secret := resources.SessionSecret(in, ring)
	want := map[string][]byte{"current": ring.Current[:], "next": ring.Next[:]}
	if diff := cmp.Diff(want, secret.Data); diff != "" {
		t.Errorf("Secret (-want +got):\n%s", diff)
	}
	if secret.Type != "fairlead.dev/session-keys" || secret.Name != "orders-mcp-session" || len(secret.OwnerReferences) != 1 {
		t.Errorf("Secret %q of type %q has owners %v", secret.Name, secret.Type, secret.OwnerReferences)
	}
	objects, err := resources.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := objects.Deployment.Annotations[resources.AnnotationSessionKeys], ring.Current.ID()+","+ring.Next.ID(); got != want {
		t.Errorf("session-keys = %q, want %q", got, want)
	}
	if diff := cmp.Diff(build(t, server).Deployment.Spec, objects.Deployment.Spec); diff != "" {
		t.Errorf("a rotation of keys changes more than an annotation:\n%s", diff)
	}
	if got := resources.SessionSecret(in, keyring.Ring{}); got.Data != nil {
		t.Errorf("a Secret without keys has %v", got.Data)
	}
	if got := resources.SessionSecret(in, ring).Type; got == corev1.SecretTypeOpaque {
		t.Errorf("type %q would not pass the admission policy", got)
	}
}

// A lower number of pods waits while it is held, in the Deployment and while the
// rest is frozen; an autoscaler's number is nobody else's.
func TestHeldReplicas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		observed resources.Observed
		scaled   bool
		want     *int32
	}{
		{name: "held", observed: resources.Observed{Replicas: new(int32(7)), HoldReplicas: true}, want: new(int32(7))},
		{name: "not held", observed: resources.Observed{Replicas: new(int32(7))}, want: new(int32(3))},
		{name: "nothing to hold", observed: resources.Observed{HoldReplicas: true}, want: new(int32(3))},
		{name: "autoscaled", observed: resources.Observed{Replicas: new(int32(7)), HoldReplicas: true}, scaled: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/orders/server.yaml")
			server.Spec.Replicas = new(int32(3))
			if tt.scaled {
				server.Spec.Replicas, server.Spec.Autoscaling = nil, &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(9))}
			}
			in := resources.Input{Server: server, Defaults: defaults, Observed: tt.observed}
			objects, err := resources.Build(in)
			if err != nil {
				t.Fatal(err)
			}
			scaling, err := resources.ScalingOf(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]*int32{tt.want, tt.want}, []*int32{objects.Deployment.Spec.Replicas, scaling.Replicas}); diff != "" {
				t.Errorf("replicas (-want +got):\n%s", diff)
			}
		})
	}
}
