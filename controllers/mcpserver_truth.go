// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/verify"
)

// pausedMessage is of the conditions that nobody asks about while paused.
const pausedMessage = "spec.managementState is Paused: nobody asks until it is Managed"

// converged is what the pods say of the configuration that they were given.
func converged(seen *observation) metav1.Condition {
	c := metav1.Condition{Type: fairleadv1alpha1.ConditionConverged}
	set := func(status metav1.ConditionStatus, reason, message string) metav1.Condition {
		c.Status, c.Reason, c.Message = status, reason, message
		return c
	}
	if seen.paused {
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonPaused, pausedMessage)
	}
	if seen.converged == nil {
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonNoPods, "no pod is ready that could be asked")
	}
	message := seen.converged.Message
	switch seen.converged.State {
	case convergence.Converged:
		if seen.rejected != nil {
			return set(metav1.ConditionTrue, fairleadv1alpha1.ReasonAllPodsCurrent, "every ready pod serves the configuration that was accepted last")
		}
		return set(metav1.ConditionTrue, fairleadv1alpha1.ReasonAllPodsCurrent, "every ready pod serves this configuration")
	case convergence.Refused:
		return set(metav1.ConditionFalse, fairleadv1alpha1.ReasonConfigRefused, message)
	case convergence.Unreachable:
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonUnreachable, message)
	case convergence.NoPods:
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonNoPods, "no pod is ready that could be asked")
	case convergence.Lagging:
		if seen.converged.Slow {
			return set(metav1.ConditionFalse, fairleadv1alpha1.ReasonSlowPropagation, message)
		}
		return set(metav1.ConditionFalse, fairleadv1alpha1.ReasonPropagating, message)
	case convergence.Pending:
	}
	if old := seen.kept(c.Type); old != nil && old.Reason != fairleadv1alpha1.ReasonPaused {
		return set(old.Status, old.Reason, old.Message)
	}
	return set(metav1.ConditionFalse, fairleadv1alpha1.ReasonPropagating, "pods are being asked which configuration they serve; wait")
}

// verified is what a client got through the Service.
func verified(seen *observation) metav1.Condition {
	c := metav1.Condition{Type: fairleadv1alpha1.ConditionVerified}
	set := func(status metav1.ConditionStatus, reason, message string) metav1.Condition {
		c.Status, c.Reason, c.Message = status, reason, message
		return c
	}
	switch {
	case seen.unverified:
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonVerificationOff, "the operator runs with --verification=Off: no client asks")
	case seen.paused:
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonPaused, pausedMessage)
	case seen.rejected != nil:
		return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonPending, "a client asks once the spec is accepted")
	}
	if seen.verified != nil {
		switch seen.verified.State {
		case verify.Passed:
			return set(metav1.ConditionTrue, fairleadv1alpha1.ReasonToolsListed, "a client listed the tools through the Service")
		case verify.Failed:
			return set(metav1.ConditionFalse, fairleadv1alpha1.ReasonVerificationFailed, seen.verified.Message)
		case verify.Unreachable:
			return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonUnreachable, seen.verified.Message)
		case verify.Pending:
		}
	}
	old := seen.kept(c.Type)
	if old != nil && old.Reason != fairleadv1alpha1.ReasonPaused && old.Reason != fairleadv1alpha1.ReasonVerificationOff {
		return set(old.Status, old.Reason, old.Message)
	}
	return set(metav1.ConditionUnknown, fairleadv1alpha1.ReasonPending, "a client asks once all pods serve this generation; wait")
}

// degraded exists while something that the spec refers to is missing or wrong.
func degraded(seen *observation) *metav1.Condition {
	if seen.converged == nil {
		return nil
	}
	problems := withoutKeys(seen.converged.Problems)
	if seen.converged.State == convergence.Pending && len(problems) == 0 {
		return seen.kept(fairleadv1alpha1.ConditionDegraded)
	}
	if len(problems) == 0 {
		return nil
	}
	c := &metav1.Condition{Type: fairleadv1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, Reason: fairleadv1alpha1.ReasonSecretInvalid}
	var lines []string
	for _, problem := range problems {
		if problem.Code == fairleadv1alpha1.ReasonSecretMissing {
			c.Reason = fairleadv1alpha1.ReasonSecretMissing
		}
		lines = append(lines, describeProblem(problem))
	}
	c.Message = strings.Join(lines, "; ") + ": create or mend it, then run: kubectl fairlead refresh " + seen.server.Name + " --namespace " + seen.server.Namespace
	return c
}

func describeProblem(problem convergence.Problem) string {
	name := fmt.Sprintf("Secret %q", problem.Secret)
	if problem.Key != "" {
		name += fmt.Sprintf(", key %q", problem.Key)
	}
	return name + ": " + problem.Message
}

// upgradePending exists while the pods are not what this operator would make.
func upgradePending(seen *observation) *metav1.Condition {
	if seen.upgrade == nil {
		return nil
	}
	return &metav1.Condition{
		Type: fairleadv1alpha1.ConditionUpgradePending, Status: metav1.ConditionTrue,
		Reason: seen.upgrade.reason, Message: seen.upgrade.message,
	}
}
