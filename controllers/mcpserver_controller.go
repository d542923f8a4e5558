// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers turns MCPServer objects into running servers: it builds
// the objects of each, applies what differs, and reports what it observes.
package controllers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/rollout"
	"fairlead.dev/fairlead/controllers/verify"
)

// FieldOwner is the one field manager under which the operator writes.
const FieldOwner = "fairlead-operator"

// refusalRetry is the pause after which a taken name or a refused object is
// tried again. Neither the objects of others nor policies are watched, so that
// nothing tells when they change.
const refusalRetry = time.Minute

// youngRetry is the same for a server that is not older than refusalRetry: one
// that was deleted and created again finds what the garbage collector has not
// come to yet.
const youngRetry = 5 * time.Second

// moment is how long the API server may fail before a status tells: it is over
// sooner where it is restarted, or its leader changes.
const moment = 5 * time.Second

// +kubebuilder:rbac:groups=fairlead.dev,resources=mcpservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=fairlead.dev,resources=mcpservers/status,verbs=patch
// +kubebuilder:rbac:groups=fairlead.dev,resources=mcpservers/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=serviceaccounts;services,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingressclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Convergence knows which pods serve what; see convergence.Pool.
type Convergence interface {
	// Observe notes what the pods of a server should hold and returns what is
	// known about exactly that. It must not block.
	Observe(target convergence.Target) convergence.Report
	// Forget ends all work for a server.
	Forget(server types.NamespacedName)
}

// Verifier knows which servers serve clients through their Services; see
// verify.Pool.
type Verifier interface {
	// Observe notes what a server should answer and returns what is known about
	// exactly that. It must not block.
	Observe(target verify.Target) verify.Report
	// Forget ends all work for a server.
	Forget(server types.NamespacedName)
}

// Reconciler makes the cluster what MCPServer objects say. Every exported field
// is required, unless it says otherwise.
type Reconciler struct {
	// Client reads from the cache and writes to the API server. It must be
	// configured to read its own writes.
	Client client.Client
	// Live reads from the API server what the cache hides or leaves out:
	// metadata of objects without our label, and the bytes of one ConfigMap.
	Live client.Reader
	// Recorder writes events.
	Recorder events.EventRecorder
	// Defaults come from the operator's options.
	Defaults resources.Defaults
	// Metrics count what is written.
	Metrics *Metrics
	// Keys derives the session keys of servers.
	Keys *keys.Deriver
	// Convergence tells which pods serve what.
	Convergence Convergence
	// Verifier tells which servers serve clients; nil: none is asked, and Ready
	// does without (--verification=Off).
	Verifier Verifier
	// Rollouts paces the roll-outs that the operator causes.
	Rollouts *rollout.Tracker
	// Fleet reads the servers of all reconcilers that share Rollouts; nil: Client.
	Fleet client.Reader
	// Now tells the time; nil: time.Now.
	Now func() time.Time

	built builtCache
	notes notebook
	wake  wake
	seed  seed
}

// Changed looks at a server again. Convergence, Verifier and Rollouts call it
// when they know something new. It never blocks, and may be called at any time.
func (r *Reconciler) Changed(server types.NamespacedName) { r.wake.add(server) }

// Reconcile brings one MCPServer to what its spec says, as far as it can, and
// writes its status if that changed.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	server := &fairleadv1alpha1.MCPServer{}
	if err := r.Client.Get(ctx, req.NamespacedName, server); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if err := unpackServer(server); err != nil {
		return ctrl.Result{}, err
	}
	if !server.DeletionTimestamp.IsZero() {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil // Children go by their owner references.
	}
	if err := r.seed.once(ctx, r); err != nil {
		return ctrl.Result{}, err
	}
	seen := newObservation(server)
	if err := r.look(ctx, seen); err != nil {
		return ctrl.Result{}, err
	}
	retry, failed := r.converge(ctx, seen)
	if apierrors.HasStatusCause(failed, corev1.NamespaceTerminatingCause) {
		return ctrl.Result{}, nil // The server goes with its namespace: no other try can succeed.
	}
	if !r.worthTelling(seen, failed) {
		return ctrl.Result{}, failed // Another try may cure it at once.
	}
	pause, err := r.tell(ctx, seen)
	if err := errors.Join(failed, err); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: soonest(retry, pause, seen.hold, r.keysWait(seen), r.nextEpoch(seen))}, nil
}

// tell gathers what others know of the server, and tells of all that is known. It
// returns when to look again.
func (r *Reconciler) tell(ctx context.Context, seen *observation) (time.Duration, error) {
	if err := r.witness(ctx, seen); err != nil {
		return 0, err
	}
	status := computeStatus(seen)
	turn := r.tellRollouts(ctx, seen, status)
	record, unrecorded := r.recordHistory(ctx, seen, status)
	settle, err := r.report(ctx, seen, status)
	// A history that cannot be written keeps no status from being true.
	return soonest(settle, record, turn), errors.Join(err, unrecorded)
}

// worthTelling reports whether a status can be told: nothing has failed, or has
// for so long that it is not over in a moment.
func (r *Reconciler) worthTelling(seen *observation, failed error) bool {
	if failed == nil {
		r.notes.of(seen.name).trouble = trouble{}
		return true
	}
	if !r.persists(seen, failed) {
		return false
	}
	seen.trouble = r.notes.of(seen.name).trouble.message
	return true
}

// persists reports whether the API server has failed for more than a moment.
func (r *Reconciler) persists(seen *observation, failed error) bool {
	page := r.notes.of(seen.name)
	if page.trouble.since.IsZero() {
		page.trouble = trouble{since: r.now(), message: failed.Error()}
	}
	return r.now().Sub(page.trouble.since) >= moment
}

// forget drops all that is known about a server that is gone.
func (r *Reconciler) forget(server types.NamespacedName) {
	r.Convergence.Forget(server)
	if r.Verifier != nil {
		r.Verifier.Forget(server)
	}
	r.Rollouts.Done(server)
	r.notes.forget(server)
}

func (r *Reconciler) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// soonest returns the least of the pauses that are not 0.
func soonest(pauses ...time.Duration) time.Duration {
	least := time.Duration(0)
	for _, pause := range pauses {
		if pause > 0 && (least == 0 || pause < least) {
			least = pause
		}
	}
	return least
}
