// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// Of the pods that are alike otherwise, Kubernetes ends those with the lowest
// deletion cost first. What a pod costs changes with every client, so it is
// written only when some pod is about to go.

// weighTime is how long a lower number of pods waits at most until the pods have
// their deletion costs.
const weighTime = 2 * time.Second

// reasonStabilized is that of an autoscaler's condition AbleToScale while it
// recommends fewer pods and waits whether that lasts
// (k8s.io/kubernetes/pkg/controller/podautoscaler).
const reasonStabilized = "ScaleDownStabilized"

// lowering is a lower number of pods that waits.
type lowering struct {
	to      int32
	since   time.Time
	weighed bool
}

// weigh notes in seen whether some pod may have to go soon, so that it matters
// which, and how long the number of pods stays as it is for that.
func (r *Reconciler) weigh(ctx context.Context, seen *observation) error {
	page := r.notes.of(seen.name)
	to, lower := lowered(seen)
	if !lower {
		page.lowering = lowering{}
		stabilizing, err := r.stabilizing(ctx, seen)
		seen.weigh = stabilizing
		return err
	}
	seen.weigh = true
	if page.lowering.to != to || page.lowering.since.IsZero() {
		page.lowering = lowering{to: to, since: r.now()}
	}
	if !page.lowering.weighed {
		seen.hold = max(0, weighTime-r.now().Sub(page.lowering.since))
	}
	return nil
}

// lowered returns the number of pods that the spec asks for, if that ends pods
// that serve and leaves others.
func lowered(seen *observation) (to int32, lower bool) {
	if seen.paused || seen.deployment == nil || resources.Autoscaled(seen.server) || seen.server.Spec.Replicas == nil {
		return 0, false
	}
	to = *seen.server.Spec.Replicas
	return to, to > 0 && to < ptr.Deref(seen.deployment.Spec.Replicas, 1) && to < seen.deployment.Status.AvailableReplicas
}

// noteWeighed lets a lower number of pods go on, once the pods have their costs.
func (r *Reconciler) noteWeighed(seen *observation) {
	if seen.hold > 0 && seen.converged != nil && seen.converged.Weighed {
		r.notes.of(seen.name).lowering.weighed = true
		seen.hold = time.Millisecond
	}
}

// stabilizing reports whether the operator's own autoscaler of a server is about
// to lower the number of pods.
func (r *Reconciler) stabilizing(ctx context.Context, seen *observation) (bool, error) {
	spec := seen.server.Spec.Autoscaling
	if seen.paused || spec == nil || spec.ManagedBy == fairleadv1alpha1.ManagedByExternal {
		return false, nil
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	key := client.ObjectKey{Namespace: seen.server.Namespace, Name: resources.Name(seen.server.Name)}
	if err := r.Client.Get(ctx, key, hpa); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("failed to read HorizontalPodAutoscaler %q: %w", key.Name, err)
	} else if apierrors.IsNotFound(err) {
		return false, nil
	}
	return metav1.IsControlledBy(hpa, seen.server) && stabilizes(hpa), nil
}

func stabilizes(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	return slices.ContainsFunc(hpa.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.AbleToScale && c.Status == corev1.ConditionTrue && c.Reason == reasonStabilized
	})
}

// packAutoscaler is packChild, but keeps of the status whether a scale-down is
// near.
func packAutoscaler(in any) (any, error) {
	hpa, ok := in.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok || hpa.GetSelfLink() != "" {
		return in, nil // A tombstone, or packed already.
	}
	near := stabilizes(hpa)
	if _, err := packChild(hpa); err != nil || !near {
		return hpa, err
	}
	hpa.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{
		Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: reasonStabilized,
	}}
	return hpa, nil
}

// stabilizationChanged lets through what an autoscaler notes about that.
func stabilizationChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*autoscalingv2.HorizontalPodAutoscaler)
		after, okay := e.ObjectNew.(*autoscalingv2.HorizontalPodAutoscaler)
		return ok && okay && stabilizes(before) != stabilizes(after)
	}}
}
