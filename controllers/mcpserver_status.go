// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/verify"
	"fairlead.dev/fairlead/runtime/keyring"
)

// maxStatusTools bounds status.tools.names.
const maxStatusTools = 64

// statusDelay is how long a status waits for what was just begun: most live
// edits are with all pods by then, and cost one write instead of three.
const statusDelay = 2 * time.Second

// observation is all that a status is computed from.
type observation struct {
	server *fairleadv1alpha1.MCPServer
	name   types.NamespacedName
	// paused: nothing was applied, because the spec says so.
	paused bool
	// rejected is why the spec was not applied; nil if it was.
	rejected *rejection
	// made is what was applied; nil if not all of it was.
	made *built
	// given is the revision in the ConfigMap that the pods mount, looked up while
	// made does not tell; empty if there is none.
	given string
	// catalog is what given offers, if the old status is about another revision.
	catalog *fairleadv1alpha1.ToolsStatus
	// deployment is the server's, as it is after applying; nil without one.
	deployment *appsv1.Deployment
	// ring are the session keys that the server should have.
	ring keyring.Ring
	// upgrade is why the pod template stays as it is; nil if it need not.
	upgrade *upgrade
	// paced: the pod template is the operator's own doing, its turn has come, and
	// it is not applied yet.
	paced bool
	// weigh: some pod may have to go soon, so that it matters which.
	weigh bool
	// hold is how long the number of pods waits at most until that is known; 0 if
	// it does not.
	hold time.Duration
	// trouble is what the API server has failed with for so long that it must be
	// told; empty if nothing.
	trouble string
	// failure says why a pod of the server cannot start; empty if none fails.
	failure string
	// converged is what the pods say; nil if they were not asked.
	converged *convergence.Report
	// verified is what a client got; nil if none has asked.
	verified *verify.Report
	// unverified: no client ever asks, because the operator's options say so.
	unverified bool
}

func newObservation(server *fairleadv1alpha1.MCPServer) *observation {
	return &observation{
		server: server, name: client.ObjectKeyFromObject(server),
		paused: server.Spec.ManagementState == fairleadv1alpha1.Paused,
	}
}

// rejection is a fault in the spec that only a person can mend.
type rejection struct{ reason, message string }

// revision is that of the configuration which the pods were given; empty if they
// were given none. While a spec is rejected that is another than the spec's, and
// the old status may be about one that was applied before it.
func (s *observation) revision() string {
	if s.made != nil {
		return s.made.tools.Revision
	}
	return s.given
}

// inFlight reports whether a witness is about to say more.
func (s *observation) inFlight() bool {
	if s.converged == nil || s.rejected != nil || s.trouble != "" {
		return false
	}
	if s.hold > 0 {
		return true
	}
	switch s.converged.State {
	case convergence.Pending:
		return true
	case convergence.Lagging:
		return !s.converged.Slow
	case convergence.NoPods: // The Deployment knows of pods that the cache does not have yet.
		return s.deployment.Status.AvailableReplicas > 0
	case convergence.Converged:
		if !rolledOut(s.deployment) {
			return s.failure == "" // Its status follows its pods' in a moment.
		}
		return s.verified != nil && s.verified.State == verify.Pending
	case convergence.Refused, convergence.Unreachable:
	}
	return false
}

// stands reports whether the old status is about what is observed now, so that a
// condition of it holds until a witness says otherwise: after a restart all of
// them begin anew.
func (s *observation) stands() bool {
	old := s.server.Status
	return old.ObservedGeneration == s.server.Generation && old.Tools != nil && old.Tools.Revision == s.revision()
}

// acceptedBefore reports whether this generation was applied once, so that what
// fails now is no part of it.
func (s *observation) acceptedBefore() bool {
	old := meta.FindStatusCondition(s.server.Status.Conditions, fairleadv1alpha1.ConditionAccepted)
	return old != nil && old.Status == metav1.ConditionTrue && old.ObservedGeneration == s.server.Generation
}

// kept returns the old condition of a kind if it still stands, else nil.
func (s *observation) kept(kind string) *metav1.Condition {
	if !s.stands() {
		return nil
	}
	return meta.FindStatusCondition(s.server.Status.Conditions, kind)
}

// computeStatus returns the status for what was observed. Only the times of
// conditions that stay as they are, and what was learned of the last accepted
// spec, come from the old one.
func computeStatus(seen *observation) fairleadv1alpha1.MCPServerStatus {
	old := seen.server.Status
	status := fairleadv1alpha1.MCPServerStatus{
		Conditions:         slices.Clone(old.Conditions),
		URL:                resources.URL(seen.server),
		Address:            &fairleadv1alpha1.Address{URL: resources.ClusterURL(seen.server)},
		Tools:              toolsOf(seen),
		ServerInfo:         serverInfoOf(seen),
		RefreshedAt:        old.RefreshedAt,
		Selector:           labels.SelectorFromSet(resources.Selector(seen.server.Name)).String(),
		ObservedGeneration: seen.server.Generation,
	}
	if seen.converged != nil {
		status.RefreshedAt = cmp.Or(seen.converged.Refreshed, old.RefreshedAt)
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

// toolsOf returns the catalog that the pods were given, and who lags.
func toolsOf(seen *observation) *fairleadv1alpha1.ToolsStatus {
	tools := seen.server.Status.Tools.DeepCopy()
	switch {
	case seen.made != nil:
		tools = seen.made.tools.DeepCopy()
	case seen.catalog != nil:
		tools = seen.catalog
	}
	if tools == nil {
		return nil
	}
	tools.Lagging = nil
	switch {
	case seen.converged == nil: // Nobody is asked, so nobody is known to lag.
	case seen.converged.State == convergence.Lagging || seen.converged.State == convergence.Refused:
		tools.Lagging = slices.Clone(seen.converged.Lagging)
	case seen.converged.State == convergence.Pending && seen.stands():
		tools.Lagging = seen.server.Status.Tools.Lagging
	}
	return tools
}

// serverInfoOf returns what the last client was told that was served.
func serverInfoOf(seen *observation) *fairleadv1alpha1.ServerInfo {
	if seen.verified == nil || seen.verified.State != verify.Passed || seen.verified.ServerInfo.Name == "" {
		return seen.server.Status.ServerInfo
	}
	told := seen.verified.ServerInfo
	return &fairleadv1alpha1.ServerInfo{Name: told.Name, Title: told.Title, Version: told.Version}
}

// report writes the status if it differs. While a witness is about to say more,
// it waits for a moment, and returns how long.
func (r *Reconciler) report(ctx context.Context, seen *observation, status fairleadv1alpha1.MCPServerStatus) (time.Duration, error) {
	page := r.notes.of(seen.name)
	if equality.Semantic.DeepEqual(seen.server.Status, status) {
		page.unsettled = time.Time{}
		return 0, nil
	}
	if seen.inFlight() {
		if page.unsettled.IsZero() {
			page.unsettled = r.now()
		}
		if wait := statusDelay - r.now().Sub(page.unsettled); wait > 0 {
			return wait, nil
		}
	}
	page.unsettled = time.Time{}
	return 0, r.writeStatus(ctx, seen.server, status)
}

// writeStatus patches the status, and tells of transitions.
func (r *Reconciler) writeStatus(ctx context.Context, server *fairleadv1alpha1.MCPServer, status fairleadv1alpha1.MCPServerStatus) error {
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

// reasonOf returns the reason of a condition; empty without one.
func reasonOf(status fairleadv1alpha1.MCPServerStatus, kind string) string {
	if c := meta.FindStatusCondition(status.Conditions, kind); c != nil {
		return c.Reason
	}
	return ""
}
