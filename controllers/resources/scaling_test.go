// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// Who decides how many pods there are, and how many more a roll-out may start.
func TestReplicasAndSurge(t *testing.T) {
	t.Parallel()
	type spec = fairleadv1alpha1.MCPServerSpec
	const nobody = int32(-1)
	tests := []struct {
		name     string
		edit     func(*spec)
		defaults int32
		live     *int32
		want     int32
		surge    string
		owner    string
	}{
		{"nothing is said", func(*spec) {}, 0, nil, 2, "100%", "Fairlead"},
		{"the operator's default", func(*spec) {}, 3, nil, 3, "100%", "Fairlead"},
		{"the live number stays", func(*spec) {}, 3, new(int32(11)), 11, "25%", "Fairlead"},
		{"the spec wins", func(s *spec) { s.Replicas = new(int32(10)) }, 3, new(int32(11)), 10, "100%", "Fairlead"},
		{"to zero", func(s *spec) { s.Replicas = new(int32(0)) }, 3, new(int32(11)), 0, "100%", "Fairlead"},
		{"many", func(s *spec) { s.Replicas = new(int32(11)) }, 3, nil, 11, "25%", "Fairlead"},
		{"a surge of the user's", func(s *spec) {
			s.Rollout = &fairleadv1alpha1.Rollout{MaxSurge: new(intstr.FromInt32(3))}
		}, 3, nil, 3, "3", "Fairlead"},
		{"autoscaled a little", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(10))}
		}, 3, new(int32(4)), nobody, "100%", "Autoscaler"},
		{"autoscaled much", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(11))}
		}, 3, new(int32(4)), nobody, "25%", "Autoscaler"},
		{"autoscaled by others", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{ManagedBy: fairleadv1alpha1.ManagedByExternal}
		}, 3, new(int32(40)), nobody, "25%", "Autoscaler"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/minimal/server.yaml")
			tt.edit(&server.Spec)
			in := resources.Input{
				Server: server, Defaults: resources.Defaults{RuntimeImage: "x", Replicas: tt.defaults},
				Observed: resources.Observed{Replicas: tt.live},
			}
			objects, err := resources.Build(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := ptr.Deref(objects.Deployment.Spec.Replicas, nobody); got != tt.want {
				t.Errorf("replicas = %d, want %d", got, tt.want)
			}
			if got := objects.Deployment.Spec.Strategy.RollingUpdate.MaxSurge.String(); got != tt.surge {
				t.Errorf("maxSurge = %s, want %s", got, tt.surge)
			}
			if got := objects.Deployment.Annotations[resources.AnnotationReplicasOwner]; got != tt.owner {
				t.Errorf("replicas-owner = %q, want %q", got, tt.owner)
			}
			scaling, err := resources.ScalingOf(in)
			if err != nil {
				t.Fatal(err)
			}
			want := &resources.Scaling{Replicas: objects.Deployment.Spec.Replicas, PDB: objects.PDB, HPA: objects.HPA}
			if diff := cmp.Diff(want, scaling); diff != "" {
				t.Errorf("ScalingOf differs from Build (-build +scaling):\n%s", diff)
			}
		})
	}
}

// What does not compile must not hinder scaling.
func TestScalingOfABrokenSpec(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/autoscaling/server.yaml")
	server.Spec.Tools[0].Static.Content[0].Text = new("${")
	in := resources.Input{Server: server, Defaults: defaults}
	invalid := new(resources.InvalidSpecError)
	if _, err := resources.Build(in); !errors.As(err, &invalid) {
		t.Fatalf("Build() = %v, want an InvalidSpecError", err)
	}
	scaling, err := resources.ScalingOf(in)
	if err != nil || scaling.HPA == nil || scaling.HPA.Spec.MaxReplicas != 20 {
		t.Errorf("ScalingOf() = %v, %v", scaling, err)
	}
}

func TestAutoscalerDefaults(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/minimal/server.yaml")
	server.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(4))}
	// A limit without a request is the request.
	server.Spec.Pod = &fairleadv1alpha1.Pod{Resources: &corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
	}}
	hpa := build(t, server).HPA
	if got := ptr.Deref(hpa.Spec.MinReplicas, 0); got != 2 {
		t.Errorf("minReplicas = %d, want 2", got)
	}
	if got := ptr.Deref(hpa.Spec.Behavior.ScaleDown.StabilizationWindowSeconds, 0); got != 600 {
		t.Errorf("stabilization = %d s, want 600", got)
	}
	if len(hpa.Spec.Metrics) != 1 || *hpa.Spec.Metrics[0].ContainerResource.Target.AverageUtilization != 70 ||
		hpa.Spec.Metrics[0].ContainerResource.Name != corev1.ResourceCPU {
		t.Errorf("metrics = %v, want 70 %% of CPU alone", hpa.Spec.Metrics)
	}
	if got := build(t, readServer(t, "testdata/autoscaling-external/server.yaml")).HPA; got != nil {
		t.Errorf("there is an autoscaler beside the external one: %v", got)
	}
}
