// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// A server is looked at for what its status may tell of a pod, and for nothing
// else: there are many pods.
func TestPodStateChanged(t *testing.T) {
	t.Parallel()
	pod := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "orders-mcp-1", ResourceVersion: "1"}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		edit(p)
		return p
	}
	ready := pod(func(*corev1.Pod) {})
	starting := pod(func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse })
	poked := pod(func(p *corev1.Pod) { p.ResourceVersion, p.Annotations = "2", map[string]string{"a": "b"} })
	leaving := pod(func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) })
	changed := podStateChanged()
	tests := []struct {
		name string
		got  bool
		want bool
	}{
		{"ready at the start", changed.Create(event.CreateEvent{Object: ready, IsInInitialList: true}), false},
		{"ready after a gap", changed.Create(event.CreateEvent{Object: ready}), true},
		{"created", changed.Create(event.CreateEvent{Object: starting}), false},
		{"becomes ready", changed.Update(event.UpdateEvent{ObjectOld: starting, ObjectNew: ready}), true},
		{"poked", changed.Update(event.UpdateEvent{ObjectOld: ready, ObjectNew: poked}), false},
		{"leaves", changed.Update(event.UpdateEvent{ObjectOld: ready, ObjectNew: leaving}), true},
		{"gone", changed.Delete(event.DeleteEvent{Object: ready}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.got != tt.want {
				t.Errorf("a server is looked at: %t, want %t", tt.got, tt.want)
			}
		})
	}
}
