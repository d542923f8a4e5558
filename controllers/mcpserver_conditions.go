// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// maxMessage bounds a condition's message in bytes (metav1.Condition).
const maxMessage = 32768

// conditions returns all conditions that hold for what was observed: Accepted,
// Available, Converged, Verified and Ready always, the others only while true.
func conditions(seen *observation) []metav1.Condition {
	all := []metav1.Condition{accepted(seen), available(seen), converged(seen), verified(seen), ready(seen)}
	for _, negative := range []*metav1.Condition{reconciling(seen), stalled(seen), degraded(seen), upgradePending(seen)} {
		if negative != nil {
			all = append(all, *negative)
		}
	}
	for i := range all {
		if len(all[i].Message) > maxMessage {
			all[i].Message = strings.ToValidUTF8(all[i].Message[:maxMessage-3], "") + "..."
		}
	}
	return all
}

// accepted is about the spec alone.
func accepted(seen *observation) metav1.Condition {
	c := metav1.Condition{Type: fairleadv1alpha1.ConditionAccepted}
	switch {
	case seen.rejected != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, seen.rejected.reason, seen.rejected.message
	case seen.paused:
		c.Status, c.Reason = metav1.ConditionUnknown, fairleadv1alpha1.ReasonPaused
		c.Message = "the spec compiles; nothing is applied until spec.managementState is Managed"
	case seen.trouble != "" && !seen.acceptedBefore():
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, fairleadv1alpha1.ReasonApplyFailed, troubleMessage(seen)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, fairleadv1alpha1.ReasonAccepted, "the spec compiles and was applied"
	}
	return c
}

// available is about the pods that run, whatever they were made from.
func available(seen *observation) metav1.Condition {
	c := metav1.Condition{Type: fairleadv1alpha1.ConditionAvailable}
	switch {
	case seen.deployment != nil && seen.deployment.Status.AvailableReplicas > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, fairleadv1alpha1.ReasonServing, "pods answer"
		if seen.rejected != nil {
			c.Message = "pods answer with the configuration that was accepted last"
		}
	case scaledToZero(seen):
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, fairleadv1alpha1.ReasonScaledToZero, zeroMessage(seen)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, fairleadv1alpha1.ReasonPodsNotReady, "no pod answers"
	}
	return c
}

// zeroMessage says who must bring the first pod.
func zeroMessage(seen *observation) string {
	spec := seen.server.Spec.Autoscaling
	if spec == nil {
		return "spec.replicas is 0: set it to 1 or more to serve"
	}
	command := fmt.Sprintf("kubectl scale deployment %s --namespace %s --replicas=1", resources.Name(seen.server.Name), seen.server.Namespace)
	if spec.ManagedBy == fairleadv1alpha1.ManagedByExternal {
		return "the Deployment is scaled to 0: the autoscaler that spec.autoscaling leaves it to must bring the first pod, which a HorizontalPodAutoscaler never does; or run: " + command
	}
	return "the Deployment is scaled to 0, where its HorizontalPodAutoscaler leaves it: run: " + command
}

// ready is about the current generation. Its reason is the first thing that
// keeps it from serving.
func ready(seen *observation) metav1.Condition {
	c := metav1.Condition{Type: fairleadv1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	switch {
	case seen.rejected != nil:
		c.Reason, c.Message = seen.rejected.reason, seen.rejected.message
	case seen.paused:
		c.Status, c.Reason = metav1.ConditionUnknown, fairleadv1alpha1.ReasonPaused
		c.Message = "spec.managementState is Paused: whether this generation serves is not known until it is Managed"
	case seen.trouble != "" && !seen.acceptedBefore():
		c.Reason, c.Message = fairleadv1alpha1.ReasonApplyFailed, troubleMessage(seen)
	case scaledToZero(seen):
		c.Reason, c.Message = fairleadv1alpha1.ReasonScaledToZero, zeroMessage(seen)
	case seen.deployment != nil && rolledOut(seen.deployment):
		return served(seen)
	case seen.failure != "":
		c.Reason, c.Message = fairleadv1alpha1.ReasonPodFailure, seen.failure
	case deadlineExceeded(seen.deployment):
		c.Reason, c.Message = fairleadv1alpha1.ReasonProgressDeadlineExceeded, deadlineMessage(seen)
	case rollingOut(seen.deployment):
		c.Reason, c.Message = fairleadv1alpha1.ReasonRollingOut, "new pods are replacing old ones; wait, or see: "+podsCommand(seen)
	default:
		c.Reason, c.Message = fairleadv1alpha1.ReasonPodsNotReady, "pods are starting; wait, or see: "+podsCommand(seen)
	}
	return c
}

// served is Ready of a server whose pods are all there: it takes that they serve
// this generation, and that a client gets it from them.
func served(seen *observation) metav1.Condition {
	c := metav1.Condition{Type: fairleadv1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: fairleadv1alpha1.ReasonServing}
	c.Message = "all pods serve this generation, and a client listed its tools through the Service"
	if seen.unverified {
		c.Message = "all pods serve this generation"
	}
	pods, clients := converged(seen), verified(seen)
	switch {
	case seen.unverified && pods.Reason == fairleadv1alpha1.ReasonUnreachable:
		// Who runs an operator that cannot ask has said so: readiness is all there is.
		c.Message = "all pods are ready; the operator cannot ask them what they serve: " + pods.Message
	case pods.Status != metav1.ConditionTrue:
		c.Status, c.Reason, c.Message = pods.Status, pods.Reason, pods.Message
	case clients.Status != metav1.ConditionTrue && !seen.unverified:
		c.Status, c.Reason, c.Message = clients.Status, clients.Reason, clients.Message
	}
	// What is only not known yet is a step on the way; what cannot be known stays unknown.
	switch c.Reason {
	case fairleadv1alpha1.ReasonNoPods:
		c.Status, c.Reason = metav1.ConditionFalse, fairleadv1alpha1.ReasonPodsNotReady
	case fairleadv1alpha1.ReasonPending:
		c.Status = metav1.ConditionFalse
	}
	return c
}

// reconciling exists while waiting helps.
func reconciling(seen *observation) *metav1.Condition {
	state := ready(seen)
	if seen.trouble != "" && seen.rejected == nil {
		return &metav1.Condition{
			Type: fairleadv1alpha1.ConditionReconciling, Status: metav1.ConditionTrue,
			Reason: fairleadv1alpha1.ReasonApplyFailed, Message: troubleMessage(seen),
		}
	}
	switch {
	case state.Status != metav1.ConditionFalse, seen.rejected != nil, stalled(seen) != nil, scaledToZero(seen):
		return nil
	}
	return &metav1.Condition{
		Type: fairleadv1alpha1.ConditionReconciling, Status: metav1.ConditionTrue,
		Reason: state.Reason, Message: state.Message,
	}
}

// stalled exists while nothing but a change by a person helps.
func stalled(seen *observation) *metav1.Condition {
	c := &metav1.Condition{Type: fairleadv1alpha1.ConditionStalled, Status: metav1.ConditionTrue}
	switch {
	case seen.rejected != nil:
		c.Reason, c.Message = seen.rejected.reason, seen.rejected.message
	case seen.paused || scaledToZero(seen) || seen.trouble != "":
		return nil
	case deadlineExceeded(seen.deployment) && !rolledOut(seen.deployment):
		c.Reason, c.Message = fairleadv1alpha1.ReasonProgressDeadlineExceeded, deadlineMessage(seen)
	case ready(seen).Reason == fairleadv1alpha1.ReasonConfigRefused:
		c.Reason, c.Message = fairleadv1alpha1.ReasonConfigRefused, ready(seen).Message
	default:
		return nil
	}
	return c
}

func troubleMessage(seen *observation) string {
	return "the API server fails, which is tried again: " + seen.trouble + ": wait, or mend the webhook or API server that it names"
}

// scaledToZero reports whether no pods is what was asked for and what is there.
func scaledToZero(seen *observation) bool {
	return seen.rejected == nil && seen.deployment != nil &&
		ptr.Deref(seen.deployment.Spec.Replicas, 1) == 0 && rolledOut(seen.deployment)
}

// rollingOut reports whether pods of an older template are still there.
func rollingOut(d *appsv1.Deployment) bool {
	return d != nil && d.Status.Replicas > d.Status.UpdatedReplicas
}

// deadlineExceeded reports whether the roll-out of the current template made no
// progress in time.
func deadlineExceeded(d *appsv1.Deployment) bool {
	if d == nil || d.Status.ObservedGeneration < d.Generation {
		return false
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing {
			return c.Status == corev1.ConditionFalse && c.Reason == fairleadv1alpha1.ReasonProgressDeadlineExceeded
		}
	}
	return false
}

func deadlineMessage(seen *observation) string {
	message := "new pods did not become ready in time; see: " + podsCommand(seen)
	if seen.failure != "" {
		message = "new pods did not become ready in time: " + seen.failure
	}
	return message
}
