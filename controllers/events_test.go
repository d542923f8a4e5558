// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// Each transition is told once; what every edit passes through is not.
func TestEventsOnTransitionsOnly(t *testing.T) {
	t.Parallel()
	status := func(conditions ...string) fairleadv1alpha1.MCPServerStatus {
		var s fairleadv1alpha1.MCPServerStatus
		for _, c := range conditions {
			kind, value, _ := strings.Cut(c, "=")
			state, reason, _ := strings.Cut(value, "/")
			s.Conditions = append(s.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionStatus(state), Reason: reason, Message: "m"})
		}
		return s
	}
	tests := []struct {
		name          string
		before, after fairleadv1alpha1.MCPServerStatus
		want          []string
	}{
		{"the first", status(), status("Accepted=True/Accepted", "Ready=False/PodsNotReady"), []string{"Normal Accepted m", "Normal PodsNotReady m"}},
		{"no change", status("Ready=True/Serving"), status("Ready=True/Serving"), nil},
		{"a live edit on its way", status("Ready=True/Serving"), status("Ready=False/Propagating"), nil},
		{"a client asks", status("Ready=False/Propagating"), status("Ready=False/Pending"), nil},
		{"what pods and clients say", status("Converged=True/AllPodsCurrent"), status("Converged=False/Propagating", "Verified=False/VerificationFailed"), nil},
		{"a rejection is told once", status("Accepted=True/Accepted", "Ready=True/Serving"), status("Accepted=False/InvalidSpec", "Ready=False/InvalidSpec"), []string{"Warning InvalidSpec m"}},
		{"nobody gets through", status("Ready=True/Serving"), status("Ready=Unknown/Unreachable"), []string{"Warning Unreachable m"}},
		{"a Secret is missing", status(), status("Degraded=True/SecretMissing"), []string{"Warning SecretMissing m"}},
		{"a turn is waited for", status(), status("UpgradePending=True/Queued"), nil},
		{"a wave stops", status("UpgradePending=True/Queued"), status("UpgradePending=True/WaveStopped"), []string{"Warning WaveStopped m"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			recorder := events.NewFakeRecorder(10)
			s := server()
			s.Status = tt.before
			(&Reconciler{Recorder: recorder}).tellTransitions(s, tt.after)
			close(recorder.Events)
			var got []string
			for event := range recorder.Events {
				got = append(got, event)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}
