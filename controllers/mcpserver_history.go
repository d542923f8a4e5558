// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
)

// recordHistory keeps a spec that serves, when it begins to. It is called before
// the status that says so, so that a restart in between loses nothing.
func (r *Reconciler) recordHistory(ctx context.Context, seen *observation, status fairleadv1alpha1.MCPServerStatus) error {
	server := seen.server
	before := meta.FindStatusCondition(server.Status.Conditions, fairleadv1alpha1.ConditionReady)
	if !meta.IsStatusConditionTrue(status.Conditions, fairleadv1alpha1.ConditionReady) ||
		(before != nil && before.Status == "True" && before.ObservedGeneration == server.Generation) {
		return nil
	}
	var records appsv1.ControllerRevisionList
	if err := r.Client.List(ctx, &records, client.InNamespace(server.Namespace), client.MatchingFields{indexServer: server.Name}); err != nil {
		return fmt.Errorf("failed to list the history of MCPServer %q: %w", server.Name, err)
	}
	recorded := server.DeepCopy()
	recorded.Status = status
	record, prune, err := history.Next(records.Items, recorded)
	if err != nil {
		return fmt.Errorf("failed to record MCPServer %q: %w", server.Name, err)
	}
	if record != nil {
		if err := r.writeRecord(ctx, records.Items, record); err != nil {
			return err
		}
	}
	for i := range records.Items {
		for _, name := range prune {
			if records.Items[i].Name != name {
				continue
			}
			if err := r.delete(ctx, server, "ControllerRevision", &records.Items[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeRecord creates a record, or raises the number of the one that has the
// same spec: nothing else of a record ever changes.
func (r *Reconciler) writeRecord(ctx context.Context, existing []appsv1.ControllerRevision, record *appsv1.ControllerRevision) error {
	for i := range existing {
		if existing[i].Name != record.Name {
			continue
		}
		data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": existing[i].UID}, "revision": record.Revision})
		if err != nil {
			return fmt.Errorf("failed to encode ControllerRevision %q: %w", record.Name, err)
		}
		if err := r.Client.Patch(ctx, &existing[i], client.RawPatch(types.MergePatchType, data), client.FieldOwner(FieldOwner)); err != nil {
			return fmt.Errorf("failed to raise ControllerRevision %q: %w", record.Name, err)
		}
		r.Metrics.wrote("ControllerRevision", "apply")
		return nil
	}
	switch err := r.Client.Create(ctx, record, client.FieldOwner(FieldOwner)); {
	case apierrors.IsAlreadyExists(err):
		return nil // Of somebody else, or without our label: the server serves without it.
	case err != nil:
		return fmt.Errorf("failed to create ControllerRevision %q: %w", record.Name, err)
	}
	r.Metrics.wrote("ControllerRevision", "create")
	return nil
}
