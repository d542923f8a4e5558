// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

// converge builds, applies and prunes, and notes in seen how that went. It
// returns when to try again what was refused. Only failures of the API server
// are errors: they are tried again.
func (r *Reconciler) converge(ctx context.Context, seen *observation) (time.Duration, error) {
	facts, err := r.clusterFacts(ctx, seen.server)
	if err != nil {
		return 0, err
	}
	if err := r.weigh(ctx, seen); err != nil {
		return 0, err
	}
	in := r.input(seen, facts)
	made, err := r.decide(seen, &in)
	if err != nil {
		seen.rejected = rejectionOf(err)
		if seen.rejected == nil {
			return 0, fmt.Errorf("failed to build the objects of %q: %w", seen.server.Name, err)
		}
		return r.refusable(seen, r.convergeFrozen(ctx, seen, in))
	}
	if seen.paused {
		return 0, nil
	}
	if made, err = r.takeReplicasBack(ctx, seen, in, made); err != nil {
		return 0, err
	}
	made, failed := r.applyMade(ctx, seen, &in, made)
	if err := r.look(ctx, seen); err != nil {
		return 0, errors.Join(failed, err)
	}
	if failed != nil {
		return r.refusable(seen, failed)
	}
	seen.made = made
	return 0, r.prune(ctx, seen.server, made.objects, seen.deployment)
}

// look notes in seen the Deployment as it is now.
func (r *Reconciler) look(ctx context.Context, seen *observation) error {
	live, err := r.ownedDeployment(ctx, seen.server)
	if err == nil {
		seen.deployment = live
	}
	return err
}

// applyMade applies what was made. If the API server does not take a pod template
// that is the operator's own doing, it applies all but that, and returns what that
// is.
func (r *Reconciler) applyMade(ctx context.Context, seen *observation, in *resources.Input, made *built) (*built, error) {
	err := r.applyAll(ctx, seen, made)
	if err == nil || !r.putOff(ctx, seen, made, err) {
		return made, err
	}
	if made, err = r.keepTemplate(seen, in); err != nil {
		return nil, err
	}
	return made, r.applyAll(ctx, seen, made)
}

// input gathers what decides what the server's objects are.
func (r *Reconciler) input(seen *observation, facts resources.ClusterFacts) resources.Input {
	in := resources.Input{Server: seen.server, Defaults: r.Defaults, Cluster: facts}
	if seen.deployment != nil {
		in.Observed.Replicas = seen.deployment.Spec.Replicas
	}
	in.Observed.HoldReplicas = seen.hold > 0
	seen.ring = r.chooseKeys(seen)
	in.Observed.KeyIDs = seen.ring.IDs()
	return in
}

// decide builds what the server should become. While the template of its pods
// must stay, that is what these pods can use, and in says so.
func (r *Reconciler) decide(seen *observation, in *resources.Input) (*built, error) {
	made, err := r.build(*in)
	if err != nil || seen.paused {
		return made, err
	}
	if seen.upgrade = r.pace(seen, made); seen.upgrade == nil {
		return made, nil
	}
	return r.keepTemplate(seen, in)
}

// keepTemplate builds what pods of the live template can use, and in says so.
func (r *Reconciler) keepTemplate(seen *observation, in *resources.Input) (*built, error) {
	in.Observed.ConfigMap = mountedConfigMap(&seen.deployment.Spec.Template.Spec)
	in.Observed.Contract = contractOf(seen.deployment)
	return r.build(*in)
}

// convergeFrozen keeps everything as it is, except the number of pods: a spec
// that does not compile must not take the old one from its clients, and must
// not keep anybody from scaling.
func (r *Reconciler) convergeFrozen(ctx context.Context, seen *observation, in resources.Input) error {
	if seen.deployment == nil || seen.paused {
		return nil
	}
	scaling, err := resources.ScalingOf(in)
	if invalid := new(resources.InvalidSpecError); errors.As(err, &invalid) {
		return nil // The scaling itself is what is wrong.
	}
	if err != nil {
		return fmt.Errorf("failed to build the scaling of %q: %w", seen.server.Name, err)
	}
	objects := []resources.Object{scaling.PDB}
	if scaling.HPA != nil {
		objects = append(objects, scaling.HPA)
	} else if _, err := r.deleteHPA(ctx, seen.server); err != nil {
		return err
	}
	if err := r.applyObjects(ctx, seen, objects); err != nil {
		return err
	}
	return r.patchKept(ctx, seen.deployment, cmp.Or(scaling.Replicas, awake(seen.deployment, scaling.HPA)), "")
}

// refusable notes what only a person can mend, and returns when to try again.
func (r *Reconciler) refusable(seen *observation, err error) (time.Duration, error) {
	if err == nil {
		return 0, nil
	}
	refusal := rejectionOf(err)
	if refusal == nil {
		return 0, err
	}
	if seen.rejected == nil {
		seen.rejected = refusal
	}
	if r.now().Sub(seen.server.CreationTimestamp.Time) < refusalRetry {
		return youngRetry, nil
	}
	return refusalRetry, nil
}

// ownedDeployment returns the server's Deployment as the cache has it, or nil.
func (r *Reconciler) ownedDeployment(ctx context.Context, server *fairleadv1alpha1.MCPServer) (*appsv1.Deployment, error) {
	deployment := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: server.Namespace, Name: resources.Name(server.Name)}
	switch err := r.Client.Get(ctx, key, deployment); {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // No Deployment is a fact, not a failure.
	case err != nil:
		return nil, fmt.Errorf("failed to read Deployment %q: %w", key.Name, err)
	case !metav1.IsControlledBy(deployment, server):
		return nil, nil //nolint:nilnil // Somebody else's says nothing about this server.
	}
	return deployment, unpack(deployment)
}

// rejectionOf turns an error into what a person must mend; nil for one that
// another try may cure.
func rejectionOf(err error) *rejection {
	var (
		invalid  *resources.InvalidSpecError
		denied   *resources.NotPermittedError
		tooOld   *resources.ContractError
		large    *config.TooLargeError
		conflict *NameConflictError
		refused  *refusedError
	)
	switch {
	case errors.As(err, &denied):
		return &rejection{reason: fairleadv1alpha1.ReasonNotPermitted, message: denied.Error()}
	case errors.As(err, &invalid):
		return &rejection{reason: fairleadv1alpha1.ReasonInvalidSpec, message: invalid.Error()}
	case errors.As(err, &tooOld):
		return &rejection{reason: fairleadv1alpha1.ReasonRuntimeTooOld, message: tooOld.Error()}
	case errors.As(err, &large):
		return &rejection{reason: fairleadv1alpha1.ReasonConfigTooLarge, message: large.Error()}
	case errors.As(err, &conflict):
		return &rejection{reason: fairleadv1alpha1.ReasonNameConflict, message: conflict.Error()}
	case errors.As(err, &refused):
		return &rejection{reason: fairleadv1alpha1.ReasonApplyRefused, message: refused.Error()}
	}
	return nil
}
