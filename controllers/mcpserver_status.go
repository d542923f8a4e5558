// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

// maxStatusTools bounds status.tools.names.
const maxStatusTools = 64

// observation is all that a status is computed from.
type observation struct {
	server *fairleadv1alpha1.MCPServer
	// paused: nothing was applied, because the spec says so.
	paused bool
	// rejected is why the spec was not applied; nil if it was.
	rejected *rejection
	// tools is the catalog that was applied; nil if nothing was.
	tools *fairleadv1alpha1.ToolsStatus
	// deployment is the server's, as it is after applying; nil without one.
	deployment *appsv1.Deployment
	// failure says why a pod of the server cannot start; empty if none fails.
	failure string
}

// rejection is a fault in the spec that only a person can mend.
type rejection struct{ reason, message string }

// computeStatus returns the status for what was observed. Only the times of
// conditions that stay as they are, and the catalog of the last accepted spec,
// come from the old one.
func computeStatus(seen observation) fairleadv1alpha1.MCPServerStatus {
	old := seen.server.Status
	status := fairleadv1alpha1.MCPServerStatus{
		Conditions:         slices.Clone(old.Conditions),
		URL:                resources.URL(seen.server),
		Address:            &fairleadv1alpha1.Address{URL: resources.ClusterURL(seen.server)},
		Tools:              old.Tools,
		Selector:           labels.SelectorFromSet(resources.Selector(seen.server.Name)).String(),
		ObservedGeneration: seen.server.Generation,
	}
	if seen.tools != nil {
		status.Tools = seen.tools.DeepCopy()
	}
	if seen.deployment != nil {
		status.Replicas = seen.deployment.Status.Replicas
	}
	wanted := conditions(seen)
	status.Conditions = slices.DeleteFunc(status.Conditions, func(c metav1.Condition) bool {
		return !slices.ContainsFunc(wanted, func(w metav1.Condition) bool { return w.Type == c.Type })
	})
	for _, condition := range wanted {
		condition.ObservedGeneration = seen.server.Generation
		meta.SetStatusCondition(&status.Conditions, condition)
	}
	return status
}

func toolsStatus(objects *resources.Objects) *fairleadv1alpha1.ToolsStatus {
	status := &fairleadv1alpha1.ToolsStatus{Revision: objects.Revision}
	for _, tool := range objects.Program.Server.Tools {
		if tool.State == config.StateDisabled {
			continue
		}
		status.Count++
		if len(status.Names) < maxStatusTools {
			status.Names = append(status.Names, tool.Name)
		}
	}
	return status
}

// writeStatus patches the status if it differs, and tells of transitions.
func (r *Reconciler) writeStatus(ctx context.Context, server *fairleadv1alpha1.MCPServer, status fairleadv1alpha1.MCPServerStatus) error {
	if equality.Semantic.DeepEqual(server.Status, status) {
		return nil
	}
	next := server.DeepCopy()
	next.Status = status
	err := r.Client.Status().Patch(ctx, next, client.MergeFrom(server), client.FieldOwner(FieldOwner))
	if apierrors.IsNotFound(err) {
		return nil // Deleted meanwhile: nobody reads it.
	}
	if err != nil {
		return fmt.Errorf("failed to write the status of MCPServer %q: %w", server.Name, err)
	}
	r.Metrics.wrote("MCPServer", "status")
	r.tellTransitions(server, status)
	return nil
}

// tellTransitions writes an event for each of Accepted and Ready whose status
// or reason has changed.
func (r *Reconciler) tellTransitions(server *fairleadv1alpha1.MCPServer, status fairleadv1alpha1.MCPServerStatus) {
	for _, kind := range []string{fairleadv1alpha1.ConditionAccepted, fairleadv1alpha1.ConditionReady} {
		before := meta.FindStatusCondition(server.Status.Conditions, kind)
		after := meta.FindStatusCondition(status.Conditions, kind)
		if after == nil || (before != nil && before.Status == after.Status && before.Reason == after.Reason) {
			continue
		}
		// A rejection makes both False for one reason: one event is enough.
		if kind == fairleadv1alpha1.ConditionReady && meta.IsStatusConditionFalse(status.Conditions, fairleadv1alpha1.ConditionAccepted) {
			continue
		}
		r.Recorder.Eventf(server, nil, eventType(*after), after.Reason, "Reconcile", "%s", after.Message)
	}
}

func eventType(c metav1.Condition) string {
	switch c.Reason {
	case fairleadv1alpha1.ReasonInvalidSpec, fairleadv1alpha1.ReasonConfigTooLarge, fairleadv1alpha1.ReasonNameConflict, fairleadv1alpha1.ReasonApplyRefused,
		fairleadv1alpha1.ReasonPodFailure, fairleadv1alpha1.ReasonProgressDeadlineExceeded:
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
