// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
)

// written is a spec whose record is known to be there.
type written struct {
	server     types.UID
	generation int64
}

// recordHistory keeps a spec that serves, and returns when to try again where
// another try helps.
func (r *Reconciler) recordHistory(ctx context.Context, seen *observation, status fairleadv1alpha1.MCPServerStatus) (time.Duration, error) {
	server, page := seen.server, r.notes.of(seen.name)
	this := written{server.UID, server.Generation}
	if page.recorded == this || !meta.IsStatusConditionTrue(status.Conditions, fairleadv1alpha1.ConditionReady) {
		return 0, nil
	}
	records, err := r.records(ctx, server)
	if err != nil {
		return 0, err
	}
	recorded := server.DeepCopy()
	recorded.Status = status
	if !meta.IsStatusConditionTrue(status.Conditions, fairleadv1alpha1.ConditionConverged) {
		recorded.Status.Tools = nil // Nobody knows which revision the pods serve.
	}
	record, prune, err := history.Next(records, recorded)
	if err != nil {
		return 0, fmt.Errorf("failed to record MCPServer %q: %w", server.Name, err)
	}
	if record != nil {
		err := r.writeRecord(ctx, records, record)
		young := r.now().Sub(server.CreationTimestamp.Time) < refusalRetry
		switch {
		case !apierrors.IsAlreadyExists(err):
		case young:
			return youngRetry, nil // Of a server of this name that is gone: the garbage collector comes.
		default:
			err = nil // Of somebody else, or without our label: the server serves without it.
		}
		if err != nil {
			return 0, err
		}
	}
	for i := range records {
		if !slices.Contains(prune, records[i].Name) {
			continue
		}
		if err := r.delete(ctx, server, "ControllerRevision", &records[i]); err != nil {
			return 0, err
		}
	}
	page.recorded = this
	return 0, nil
}

// records returns the server's history as the cache has it, the newest first.
func (r *Reconciler) records(ctx context.Context, server *fairleadv1alpha1.MCPServer) ([]appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := r.Client.List(ctx, &list, client.InNamespace(server.Namespace), client.MatchingFields{indexServer: server.Name}); err != nil {
		return nil, fmt.Errorf("failed to list the history of MCPServer %q: %w", server.Name, err)
	}
	return history.Of(list.Items, server), nil
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
	if err := r.Client.Create(ctx, record, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("failed to create ControllerRevision %q: %w", record.Name, err)
	}
	r.Metrics.wrote("ControllerRevision", "create")
	return nil
}
