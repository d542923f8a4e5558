// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/verify"
)

func TestLastGood(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                   string
		current, old, recorded string
		served                 bool
		want                   string
	}{
		{name: "the first edit", current: "a", served: true, want: "a"},
		{name: "an edit that all served", current: "b", old: "a", recorded: "a", served: true, want: "b"},
		{name: "an edit that some refused", current: "b", old: "a", recorded: "a", want: "a"},
		{name: "nothing was ever served", current: "a", want: ""},
		{name: "only the metadata differs", current: "next", old: "a", recorded: "a", served: true, want: "a"},
		{name: "the old one was changed by hand", current: "next", old: "x", recorded: "a", served: true, want: "next"},
		{name: "the old one was written by hand", current: "b", old: "x", want: "next"},
		{name: "the old one was removed by hand", current: "next", recorded: "a", served: true, want: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			live := &corev1.ConfigMap{Data: map[string]string{resources.ServerFile: tt.current}}
			if tt.old != "" {
				live.Data[resources.LastGoodFile] = tt.old
			}
			live.Annotations = map[string]string{annotationLastGood: textHash(tt.recorded)}
			got := lastGood(live, "next", func(text string) bool { return tt.served && text == tt.current })
			if got != tt.want {
				t.Errorf("lastGood() = %q, want %q", got, tt.want)
			}
		})
	}
}

// While a witness has not answered yet, as after a restart, what is known about
// this generation and revision stays; what is about another does not.
func TestPendingKeepsWhatStands(t *testing.T) {
	t.Parallel()
	old := server()
	old.Status = fairleadv1alpha1.MCPServerStatus{
		ObservedGeneration: 7, Tools: &fairleadv1alpha1.ToolsStatus{Revision: "r"},
		Conditions: []metav1.Condition{
			{Type: "Converged", Status: "True", Reason: "AllPodsCurrent", Message: "c"},
			{Type: "Verified", Status: "True", Reason: "ToolsListed", Message: "v"},
			{Type: "Degraded", Status: "True", Reason: "SecretMissing", Message: "d"},
		},
	}
	tests := []struct {
		name     string
		revision string
		edit     func(*fairleadv1alpha1.MCPServer)
		want     []string
	}{
		{"a restart", "r", func(*fairleadv1alpha1.MCPServer) {}, []string{"AllPodsCurrent", "ToolsListed", "Serving", "SecretMissing"}},
		{"another revision", "s", func(*fairleadv1alpha1.MCPServer) {}, []string{"Propagating", "Pending", "Propagating", ""}},
		{"another generation", "r", func(m *fairleadv1alpha1.MCPServer) { m.Generation = 8 }, []string{"Propagating", "Pending", "Propagating", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := old.DeepCopy()
			tt.edit(s)
			status := computeStatus(&observation{
				server: s, deployment: deployment(1, pods(1, 1, 1)), made: &built{tools: &fairleadv1alpha1.ToolsStatus{Revision: tt.revision}},
				converged: &convergence.Report{State: convergence.Pending}, verified: &verify.Report{State: verify.Pending},
			})
			var got []string
			for _, kind := range []string{"Converged", "Verified", "Ready", "Degraded"} {
				got = append(got, reasonOf(status, kind))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSoonest(t *testing.T) {
	t.Parallel()
	if got := soonest(0, 3*time.Second, 0, 2*time.Second); got != 2*time.Second {
		t.Errorf("soonest() = %s", got)
	}
	if got := soonest(0, 0); got != 0 {
		t.Errorf("soonest() of nothing = %s", got)
	}
}

// Notes go with the server, and a wake before the start is no fault.
func TestNotebook(t *testing.T) {
	t.Parallel()
	var book notebook
	name := types.NamespacedName{Namespace: "shop", Name: "orders"}
	book.of(name).held = []string{"k"}
	if got := book.of(name).held; len(got) != 1 {
		t.Errorf("notes = %v", got)
	}
	book.forget(name)
	if got := book.of(name).held; got != nil {
		t.Errorf("notes of a server that is gone: %v", got)
	}
	(&Reconciler{}).Changed(name)
}
