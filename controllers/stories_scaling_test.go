// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

func (s *story) replicas(server *fairleadv1alpha1.MCPServer) int32 {
	s.Helper()
	deployment := s.deployment(server)
	s.read(deployment)
	return ptr.Deref(deployment.Spec.Replicas, -1)
}

// watchReplicas fails the story if the Deployment ever has another number of
// pods than those; the returned function ends the watch.
func (s *story) watchReplicas(server *fairleadv1alpha1.MCPServer, allowed int32) (end func()) {
	s.Helper()
	watcher, err := client.NewWithWatch(suite.server.Config, client.Options{Scheme: suite.admin.Scheme()})
	if err != nil {
		s.Fatal(err)
	}
	events, err := watcher.Watch(s.ctx, &appsv1.DeploymentList{}, client.InNamespace(s.namespace))
	if err != nil {
		s.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events.ResultChan() {
			if d, ok := event.Object.(*appsv1.Deployment); ok && d.Name == resources.Name(server.Name) && ptr.Deref(d.Spec.Replicas, -1) != allowed {
				s.Errorf("the number of pods became %d by itself, want it to stay %d", ptr.Deref(d.Spec.Replicas, -1), allowed)
			}
		}
	}()
	return func() { events.Stop(); <-done }
}

func (s *story) hpa(server *fairleadv1alpha1.MCPServer) *autoscalingv2.HorizontalPodAutoscaler {
	return named(s, &autoscalingv2.HorizontalPodAutoscaler{}, resources.Name(server.Name))
}

func (s *story) wantHPA(server *fairleadv1alpha1.MCPServer, want bool) {
	s.Helper()
	s.eventually(func() string {
		if got := s.exists(s.hpa(server)); got != want {
			return fmt.Sprintf("there is an autoscaler: %t, want %t", got, want)
		}
		return ""
	})
}

// scaleAs does what an autoscaler does.
func (s *story) scaleAs(server *fairleadv1alpha1.MCPServer, replicas int32) {
	s.Helper()
	deployment := s.deployment(server)
	s.read(deployment)
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	if err := suite.admin.SubResource("scale").Update(s.ctx, deployment, client.WithSubResourceBody(scale), client.FieldOwner("kube-controller-manager")); err != nil {
		s.Fatal(err)
	}
}

func autoscaling(m *fairleadv1alpha1.MCPServer) {
	m.Spec.Replicas = nil
	m.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{MinReplicas: new(int32(2)), MaxReplicas: new(int32(20))}
}

func (s *story) wantOwner(server *fairleadv1alpha1.MCPServer, owner string) {
	s.Helper()
	s.eventually(func() string {
		deployment := s.deployment(server)
		s.read(deployment)
		if deployment.Annotations[resources.AnnotationReplicasOwner] != owner {
			return "replicas belong to " + deployment.Annotations[resources.AnnotationReplicasOwner]
		}
		return ""
	})
}

// Taking a number out, switching autoscaling on and off, and handing over to
// somebody else: the number of pods never changes by itself.
func TestStoryReplicasChangeHands(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	server.Spec.Replicas = new(int32(7))
	s.create(server)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	end := s.watchReplicas(server, 7)
	edit(s, server, autoscaling)
	s.wantHPA(server, true)
	s.wantOwner(server, resources.OwnerAutoscaler)
	// An edit that rolls applies the Deployment again, without a number.
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"team": "a"}}
	})
	s.want(server, "Accepted=True/Accepted")
	end()

	s.scaleAs(server, 11)
	end = s.watchReplicas(server, 11)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Pod = nil })
	s.want(server, "Accepted=True/Accepted")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Autoscaling = nil })
	s.wantHPA(server, false)
	s.wantOwner(server, resources.OwnerFairlead)
	edit(s, server, autoscaling)
	s.wantHPA(server, true)
	s.wantOwner(server, resources.OwnerAutoscaler)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{ManagedBy: fairleadv1alpha1.ManagedByExternal}
	})
	s.wantHPA(server, false)
	s.want(server, "Accepted=True/Accepted")
	end()

	// A number in the spec is a wish.
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Autoscaling, m.Spec.Replicas = nil, new(int32(3)) })
	s.eventually(func() string {
		if got := s.replicas(server); got != 3 {
			return fmt.Sprintf("%d replicas, want 3", got)
		}
		return ""
	})
}

// An autoscaler never brings the first pod, so a server without any gets the
// least number as it is handed over; what somebody scales to zero stays there.
func TestStoryFromZeroToAutoscaling(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(0)) })
	s.wantReplicas(server, 0)
	s.rollOut(server)
	s.want(server, "Ready=False/ScaledToZero")
	edit(s, server, autoscaling)
	s.wantHPA(server, true)
	s.wantOwner(server, resources.OwnerAutoscaler)
	s.wantReplicas(server, 2)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")

	s.scaleAs(server, 0)
	s.rollOut(server)
	s.want(server, "Ready=False/ScaledToZero")
	command := "kubectl scale deployment hello-mcp --namespace " + s.namespace + " --replicas=1"
	if got := message(server, "Ready"); !strings.Contains(got, command) || strings.Contains(got, "spec.replicas") {
		t.Errorf("message = %q, want it to name what brings the first pod", got)
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{ManagedBy: fairleadv1alpha1.ManagedByExternal}
	})
	s.want(server, "Accepted=True/Accepted")
	s.rollOut(server)
	s.want(server, "Ready=False/ScaledToZero")
	if got := message(server, "Ready"); !strings.Contains(got, command) || !strings.Contains(got, "leaves it to") {
		t.Errorf("message = %q, want it to name the other autoscaler", got)
	}
}

// The same while the spec does not compile.
func TestStoryFromZeroToAutoscalingWhileFrozen(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(0)) })
	s.wantReplicas(server, 0)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Tools[0].HTTP.URL = "http://x/{"; autoscaling(m) })
	s.want(server, "Accepted=False/InvalidSpec")
	s.wantReplicas(server, 2)
}

func (s *story) wantReplicas(server *fairleadv1alpha1.MCPServer, want int32) {
	s.Helper()
	s.eventually(func() string {
		if got := s.replicas(server); got != want {
			return fmt.Sprintf("%d replicas, want %d", got, want)
		}
		return ""
	})
}

// A server that is born with autoscaling begins with its least number of pods.
func TestStoryAutoscaledFromTheStart(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	autoscaling(server)
	server.Spec.Autoscaling.MinReplicas = new(int32(4))
	s.create(server)
	s.wantHPA(server, true)
	if got := s.replicas(server); got != 4 {
		t.Errorf("%d replicas, want 4", got)
	}
	s.scaleAs(server, 9)
	describeTool(s, server, "two")
	s.want(server, "Accepted=True/Accepted")
	if got := s.replicas(server); got != 9 {
		t.Errorf("%d replicas, want the autoscaler's 9", got)
	}
}

// While a spec does not compile, the number of pods still follows it.
func TestStoryFrozenScaling(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	broken := &runtime.RawExtension{Raw: []byte(`{"type":"object","properties":{"id":{"pattern":"("}}}`)}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Tools[0].InputSchema = broken; autoscaling(m) })
	s.want(server, "Accepted=False/InvalidSpec", "Converged=True/AllPodsCurrent")
	s.wantHPA(server, true)
	s.scaleAs(server, 6)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Autoscaling = nil })
	s.wantHPA(server, false)
	s.want(server, "Accepted=False/InvalidSpec")
	if got := s.replicas(server); got != 6 {
		t.Errorf("%d replicas, want the live 6", got)
	}
	budget := named(s, &policyv1.PodDisruptionBudget{}, "orders-mcp")
	s.delete(budget)
	s.eventually(func() string {
		if !s.exists(budget) {
			return "the disruption budget is not back"
		}
		return ""
	})
}

// What somebody adds to a NetworkPolicy opens the server: it goes.
func TestStoryNetworkPolicyDrifts(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	server.Spec.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{
		IngressFrom: []networkingv1.NetworkPolicyPeer{}, EgressTo: []networkingv1.NetworkPolicyEgressRule{},
	}
	s.create(server)
	s.want(server, "Accepted=True/Accepted")
	policy := named(s, &networkingv1.NetworkPolicy{}, "orders-mcp")
	s.read(policy)
	want := policy.DeepCopy()
	edit(s, policy, func(o *networkingv1.NetworkPolicy) {
		o.Spec.Ingress = append(o.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{})
		o.Spec.Egress = append(o.Spec.Egress, networkingv1.NetworkPolicyEgressRule{})
	})
	s.eventually(func() string {
		s.read(policy)
		if len(policy.Spec.Ingress) != len(want.Spec.Ingress) || len(policy.Spec.Egress) != len(want.Spec.Egress) {
			return fmt.Sprintf("the policy is %+v", policy.Spec)
		}
		return ""
	})
	writes := len(suite.writes.WritesIn(s.namespace))
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(2)) })
	s.want(server, "Accepted=True/Accepted")
	for _, write := range suite.writes.WritesIn(s.namespace)[writes:] {
		if write == "PATCH /apis/networking.k8s.io/v1/namespaces/"+s.namespace+"/networkpolicies/orders-mcp" {
			t.Error("the policy was written without a need")
		}
	}
}

// A foreign object under the name of any child is left alone, and nothing else
// is written.
func TestStoryForeignAutoscaler(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	foreign := named(s, &autoscalingv2.HorizontalPodAutoscaler{}, "orders-mcp")
	foreign.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "other"}, MaxReplicas: 3,
	}
	s.create(foreign)
	server := s.manifest("orders")
	autoscaling(server)
	s.create(server)
	s.want(server, "Accepted=False/NameConflict")
	if s.exists(s.deployment(server)) {
		t.Error("a Deployment was written although a name is taken")
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Autoscaling = nil })
	s.want(server, "Accepted=True/Accepted")
	if !s.exists(foreign) {
		t.Error("the foreign autoscaler is gone")
	}
}

// What somebody changes in an autoscaler or a budget goes; what their
// controllers note in them is no reason to look.
func TestStoryAutoscalerDrifts(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	autoscaling(server)
	s.create(server)
	s.wantHPA(server, true)
	hpa := s.hpa(server)
	s.read(hpa)
	edit(s, hpa, func(o *autoscalingv2.HorizontalPodAutoscaler) {
		o.Spec.MaxReplicas = 500
		o.Spec.Metrics = append(o.Spec.Metrics, o.Spec.Metrics[0])
	})
	budget := named(s, &policyv1.PodDisruptionBudget{}, "orders-mcp")
	edit(s, budget, func(o *policyv1.PodDisruptionBudget) { o.Spec.UnhealthyPodEvictionPolicy = nil })
	s.eventually(func() string {
		s.read(hpa)
		s.read(budget)
		if hpa.Spec.MaxReplicas != 20 || len(hpa.Spec.Metrics) != 1 || budget.Spec.UnhealthyPodEvictionPolicy == nil {
			return fmt.Sprintf("autoscaler %+v, budget %+v", hpa.Spec, budget.Spec)
		}
		return ""
	})
}
