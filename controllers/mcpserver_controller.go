// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers turns MCPServer objects into running servers: it builds
// the objects of each, applies what differs, and reports what it observes.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

// FieldOwner is the one field manager under which the operator writes.
const FieldOwner = "fairlead-operator"

// refusalRetry is the pause after which a taken name or a refused object is
// tried again. Neither the objects of others nor policies are watched, so that
// nothing tells when they change.
const refusalRetry = time.Minute

// +kubebuilder:rbac:groups=fairlead.dev,resources=mcpservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=fairlead.dev,resources=mcpservers/status,verbs=patch
// +kubebuilder:rbac:groups=fairlead.dev,resources=mcpservers/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=serviceaccounts;services,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingresses,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=ingressclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler makes the cluster what MCPServer objects say. Every exported
// field is required.
type Reconciler struct {
	// Client reads from the cache and writes to the API server. It must be
	// configured to read its own writes.
	Client client.Client
	// Live reads metadata from the API server, for objects that the label
	// selectors of the cache hide.
	Live client.Reader
	// Recorder writes events.
	Recorder events.EventRecorder
	// Defaults come from the operator's options.
	Defaults resources.Defaults
	// Metrics count what is written.
	Metrics *Metrics

	built builtCache
}

// Reconcile brings one MCPServer to what its spec says, as far as it can, and
// writes its status if that changed.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	server := &fairleadv1alpha1.MCPServer{}
	if err := r.Client.Get(ctx, req.NamespacedName, server); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !server.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // Children go by their owner references.
	}
	seen := observation{server: server, paused: server.Spec.ManagementState == fairleadv1alpha1.Paused}
	result, err := r.converge(ctx, &seen)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return ctrl.Result{}, nil // The server goes with its namespace: no other try can succeed.
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.observePods(ctx, &seen); err != nil {
		return ctrl.Result{}, err
	}
	return result, r.writeStatus(ctx, server, computeStatus(seen))
}

// converge builds, applies and prunes, and notes in seen how that went. Only
// failures of the API server are errors: they are tried again.
func (r *Reconciler) converge(ctx context.Context, seen *observation) (ctrl.Result, error) {
	server := seen.server
	facts, err := r.clusterFacts(ctx, server)
	if err != nil {
		return ctrl.Result{}, err
	}
	made, err := r.build(server, facts)
	if err != nil {
		seen.rejected = rejectionOf(err)
		if seen.rejected == nil {
			return ctrl.Result{}, fmt.Errorf("failed to build the objects of %q: %w", server.Name, err)
		}
		return ctrl.Result{}, r.convergeFrozen(ctx, seen)
	}
	if seen.paused {
		seen.deployment, err = r.ownedDeployment(ctx, server)
		return ctrl.Result{}, err
	}
	if err := r.applyAll(ctx, server, made.objects); err != nil {
		seen.rejected = rejectionOf(err)
		if seen.rejected == nil {
			return ctrl.Result{}, err
		}
		seen.deployment, err = r.ownedDeployment(ctx, server)
		return ctrl.Result{RequeueAfter: refusalRetry}, err
	}
	if seen.deployment, err = r.ownedDeployment(ctx, server); err != nil {
		return ctrl.Result{}, err
	}
	seen.tools = made.tools
	return ctrl.Result{}, r.prune(ctx, server, made.objects, seen.deployment)
}

// convergeFrozen keeps everything as it is, except the number of pods: a spec
// that does not compile must not take the old one from its clients, and must
// not keep anybody from scaling.
func (r *Reconciler) convergeFrozen(ctx context.Context, seen *observation) error {
	deployment, err := r.ownedDeployment(ctx, seen.server)
	if err != nil || deployment == nil || seen.paused {
		seen.deployment = deployment
		return err
	}
	seen.deployment, err = r.scale(ctx, deployment, resources.Replicas(seen.server, r.Defaults))
	return err
}

// rejectionOf turns an error into what a person must mend; nil for one that
// another try may cure.
func rejectionOf(err error) *rejection {
	if invalid := new(resources.InvalidSpecError); errors.As(err, &invalid) {
		return &rejection{reason: fairleadv1alpha1.ReasonInvalidSpec, message: invalid.Error()}
	}
	if large := new(config.TooLargeError); errors.As(err, &large) {
		return &rejection{reason: fairleadv1alpha1.ReasonConfigTooLarge, message: large.Error()}
	}
	if conflict := new(NameConflictError); errors.As(err, &conflict) {
		return &rejection{reason: fairleadv1alpha1.ReasonNameConflict, message: conflict.Error()}
	}
	if refused := new(refusedError); errors.As(err, &refused) {
		return &rejection{reason: fairleadv1alpha1.ReasonApplyRefused, message: refused.Error()}
	}
	return nil
}
