// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
)

// autoscalerSays does what the controller of autoscalers does.
func (s *story) autoscalerSays(server *fairleadv1alpha1.MCPServer, reason string) {
	s.Helper()
	hpa := s.hpa(server)
	s.read(hpa)
	before := hpa.DeepCopy()
	hpa.Status = autoscalingv2.HorizontalPodAutoscalerStatus{
		CurrentReplicas: 4, DesiredReplicas: 4,
		Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{
			{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.Now()},
			{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionTrue, Reason: "ValidMetricFound", LastTransitionTime: metav1.Now()},
		},
	}
	if err := suite.admin.Status().Patch(s.ctx, hpa, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

func (s *story) wantWeigh(server *fairleadv1alpha1.MCPServer, want bool) {
	s.Helper()
	s.eventually(func() string {
		if got := s.pods.target(server).Weigh; got != want {
			return fmt.Sprintf("pods are weighed: %t, want %t", got, want)
		}
		return ""
	})
}

// Pods are weighed while the autoscaler is about to take some, and at no other
// time. The operator itself writes nothing meanwhile.
func TestStoryAutoscalerIsAboutToTakePods(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	autoscaling(server)
	s.create(server)
	s.wantHPA(server, true)
	s.scaleAs(server, 4)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	s.wantWeigh(server, false)
	writes := len(suite.writes.WritesIn(s.namespace))
	s.autoscalerSays(server, "ScaleDownStabilized")
	s.wantWeigh(server, true)
	s.lookAgain()
	s.autoscalerSays(server, "ReadyForNewScale")
	s.wantWeigh(server, false)
	if got := suite.writes.WritesIn(s.namespace)[writes:]; len(got) != 0 {
		t.Errorf("writes: %q", got)
	}
	// Another autoscaler is nobody whom the operator watches.
	s.autoscalerSays(server, "ScaleDownStabilized")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{ManagedBy: fairleadv1alpha1.ManagedByExternal}
	})
	s.wantWeigh(server, false)
}

// Before the number of pods goes down, they tell what they hold, and all else goes
// on meanwhile. Nobody waits for long, or for what is no choice.
func TestStoryFewerPods(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	var ahead atomic.Int64
	var weighed atomic.Bool
	begin := time.Now() // The operator's clock stands still.
	_, stop := s.operator(setting{label: s.namespace, now: func() time.Time { return begin.Add(time.Duration(ahead.Load())) }})
	defer stop()
	server := s.manifest("orders")
	server.Labels, server.Spec.Replicas = map[string]string{operatorLabel: s.namespace}, new(int32(9))
	s.create(server)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Converged, KeyIDs: t.KeyIDs, Weighed: t.Weigh && weighed.Load()}
	})
	scale := func(to int32) {
		edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(to) })
	}
	wantHeld := func(at int32) {
		s.wantWeigh(server, true)
		if got := s.replicas(server); got != at {
			t.Errorf("%d replicas, want the %d that have not told what they hold", got, at)
		}
	}
	if s.pods.target(server).Weigh {
		t.Error("pods are weighed although none has to go")
	}

	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Replicas = new(int32(7))
		m.Spec.Tools[0].Description = "Another text."
	})
	s.eventually(func() string {
		if got := s.files(server)[0]; got != "Another text." {
			return "the configuration waits for the pods: " + got
		}
		return ""
	})
	wantHeld(9)
	weighed.Store(true)
	s.lookAgain()
	s.wantReplicas(server, 7)
	s.wantWeigh(server, false)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")

	weighed.Store(false) // Pods that say nothing.
	scale(5)
	wantHeld(7)
	ahead.Add(int64(2 * time.Second))
	s.lookAgain()
	s.wantReplicas(server, 5)
	s.rollOut(server)

	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { // The rest is frozen.
		m.Spec.Replicas = new(int32(3))
		m.Spec.Tools[0].HTTP.URL = "http://x/{"
	})
	s.want(server, "Accepted=False/InvalidSpec")
	wantHeld(5)
	weighed.Store(true)
	s.lookAgain()
	s.wantReplicas(server, 3)
	s.rollOut(server)

	weighed.Store(false)
	scale(6)
	s.wantReplicas(server, 6)
	scale(4) // 3 serve.
	s.wantReplicas(server, 4)
	scale(0)
	s.wantReplicas(server, 0)
	s.wantWeigh(server, false)
}
