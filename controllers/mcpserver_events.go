// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// eventConditions are those whose transitions are worth an event. What Converged
// and Verified say is in Ready as soon as it matters.
var eventConditions = []string{
	fairleadv1alpha1.ConditionAccepted, fairleadv1alpha1.ConditionReady,
	fairleadv1alpha1.ConditionDegraded, fairleadv1alpha1.ConditionUpgradePending,
}

// tellTransitions writes an event for each of eventConditions whose status or
// reason has changed.
func (r *Reconciler) tellTransitions(server *fairleadv1alpha1.MCPServer, status fairleadv1alpha1.MCPServerStatus) {
	for _, kind := range eventConditions {
		before := meta.FindStatusCondition(server.Status.Conditions, kind)
		after := meta.FindStatusCondition(status.Conditions, kind)
		if after == nil || onTheWay(after.Reason) || (before != nil && before.Status == after.Status && before.Reason == after.Reason) {
			continue
		}
		// What was not applied is neither, for one reason: one event is enough.
		if kind == fairleadv1alpha1.ConditionReady && (meta.IsStatusConditionFalse(status.Conditions, fairleadv1alpha1.ConditionAccepted) ||
			reasonOf(status, fairleadv1alpha1.ConditionAccepted) == fairleadv1alpha1.ReasonApplyFailed) {
			continue
		}
		r.Recorder.Eventf(server, nil, eventType(*after), after.Reason, "Reconcile", "%s", after.Message)
	}
}

// onTheWay reports whether a reason is of a state that ends by itself within
// seconds, on every edit.
func onTheWay(reason string) bool {
	switch reason {
	case fairleadv1alpha1.ReasonPropagating, fairleadv1alpha1.ReasonPending, fairleadv1alpha1.ReasonQueued:
		return true
	}
	return false
}

func eventType(c metav1.Condition) string {
	switch c.Reason {
	case fairleadv1alpha1.ReasonInvalidSpec, fairleadv1alpha1.ReasonConfigTooLarge, fairleadv1alpha1.ReasonNameConflict, fairleadv1alpha1.ReasonApplyRefused,
		fairleadv1alpha1.ReasonNotPermitted, fairleadv1alpha1.ReasonRuntimeTooOld, fairleadv1alpha1.ReasonApplyFailed,
		fairleadv1alpha1.ReasonPodFailure, fairleadv1alpha1.ReasonProgressDeadlineExceeded,
		fairleadv1alpha1.ReasonConfigRefused, fairleadv1alpha1.ReasonVerificationFailed, fairleadv1alpha1.ReasonUnreachable,
		fairleadv1alpha1.ReasonSecretMissing, fairleadv1alpha1.ReasonSecretInvalid, fairleadv1alpha1.ReasonWaveStopped:
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
