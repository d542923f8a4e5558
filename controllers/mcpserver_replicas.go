// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// handoverOwner is the field manager that holds spec.replicas of a Deployment
// from when the operator lets go of it until an autoscaler takes it. A field
// that nobody owns goes back to its default, and the server to one pod.
const handoverOwner = "fairlead-handover"

// takeReplicasBack ends the operator's own autoscaler, if the spec has none any
// more, before the Deployment gets a number again: the two would fight. The
// number is then the live one, which the cache may not have yet.
func (r *Reconciler) takeReplicasBack(ctx context.Context, seen *observation, in resources.Input, made *built) (*built, error) {
	if seen.deployment == nil || made.objects.HPA != nil {
		return made, nil
	}
	found, err := r.deleteHPA(ctx, seen.server)
	if err != nil || !found || resources.Autoscaled(seen.server) || seen.server.Spec.Replicas != nil {
		return made, err
	}
	live := &appsv1.Deployment{}
	r.Metrics.read("Deployment")
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(seen.deployment), live); err != nil {
		return nil, fmt.Errorf("failed to read Deployment %q: %w", seen.deployment.Name, err)
	}
	in.Observed.Replicas = live.Spec.Replicas
	return r.build(in)
}

// deleteHPA deletes the server's HorizontalPodAutoscaler and reports whether
// there was one.
func (r *Reconciler) deleteHPA(ctx context.Context, server *fairleadv1alpha1.MCPServer) (bool, error) {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	key := client.ObjectKey{Namespace: server.Namespace, Name: resources.Name(server.Name)}
	switch err := r.Client.Get(ctx, key, hpa); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("failed to read HorizontalPodAutoscaler %q: %w", key.Name, err)
	}
	return metav1.IsControlledBy(hpa, server), r.delete(ctx, server, "HorizontalPodAutoscaler", hpa)
}

// applyDeployment applies the Deployment without ever changing the number of
// pods by letting go of it.
func (r *Reconciler) applyDeployment(ctx context.Context, seen *observation, made *built, s step) error {
	if !resources.Autoscaled(seen.server) {
		return r.apply(ctx, s)
	}
	if live := seen.deployment; live != nil && live.Annotations[resources.AnnotationReplicasOwner] != resources.OwnerAutoscaler {
		if err := r.handOver(ctx, s, ptr.Deref(awake(live, made.objects.HPA), ptr.Deref(live.Spec.Replicas, 1))); err != nil {
			return err
		}
	}
	if err := r.apply(ctx, s); err != nil || seen.deployment != nil {
		return err
	}
	// A new Deployment begins with the least that is asked for, not with the one
	// pod of the API server's default.
	hpa := made.objects.HPA
	if hpa == nil || ptr.Deref(hpa.Spec.MinReplicas, 1) == 1 {
		return nil
	}
	s.uid = s.live.GetUID()
	return r.handOver(ctx, s, *hpa.Spec.MinReplicas)
}

// awake returns the least number of pods of our autoscaler for a Deployment that
// it has yet to take over and that has none: an autoscaler never brings the first
// pod. It returns nil where there is nothing to wake.
func awake(live *appsv1.Deployment, hpa *autoscalingv2.HorizontalPodAutoscaler) *int32 {
	if hpa == nil || ptr.Deref(live.Spec.Replicas, 1) != 0 || live.Annotations[resources.AnnotationReplicasOwner] == resources.OwnerAutoscaler {
		return nil
	}
	return hpa.Spec.MinReplicas
}

// handOver makes handoverOwner an owner of spec.replicas.
func (r *Reconciler) handOver(ctx context.Context, s step, replicas int32) error {
	live, ok := s.live.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("failed to copy %s %q", s.kind, s.name)
	}
	data, err := json.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": s.name, "namespace": live.GetNamespace(), "uid": s.uid},
		"spec":     map[string]any{"replicas": replicas},
	})
	if err != nil {
		return fmt.Errorf("failed to encode the replicas of Deployment %q: %w", s.name, err)
	}
	err = r.Client.Patch(ctx, live, client.RawPatch(types.ApplyPatchType, data), client.ForceOwnership, client.FieldOwner(handoverOwner))
	if err != nil {
		return fmt.Errorf("failed to hand over the replicas of Deployment %q: %w", s.name, err)
	}
	r.Metrics.wrote("Deployment", "handover")
	return nil
}

// patchKept changes a Deployment whose template stays: nothing but the number of
// pods and the ids of the session keys, each only if it differs and is wanted
// (nil, ""). A merge patch leaves what was applied before in force, which a
// smaller apply would withdraw.
func (r *Reconciler) patchKept(ctx context.Context, deployment *appsv1.Deployment, replicas *int32, keyIDs string) error {
	metadata, patch := map[string]any{"uid": deployment.UID}, map[string]any{}
	verb := ""
	if keyIDs != "" && deployment.Annotations[resources.AnnotationSessionKeys] != keyIDs {
		metadata["annotations"] = map[string]any{resources.AnnotationSessionKeys: keyIDs}
		verb = "annotate"
	}
	if replicas != nil && ptr.Deref(deployment.Spec.Replicas, 1) != *replicas {
		patch["spec"] = map[string]any{"replicas": *replicas}
		verb = "scale"
	}
	if verb == "" {
		return nil
	}
	patch["metadata"] = metadata
	data, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("failed to encode the replicas of Deployment %q: %w", deployment.Name, err)
	}
	err = r.Client.Patch(ctx, deployment, client.RawPatch(types.MergePatchType, data), client.FieldOwner(FieldOwner))
	if err != nil {
		return fmt.Errorf("failed to %s Deployment %q: %w", verb, deployment.Name, err)
	}
	r.Metrics.wrote("Deployment", verb)
	return nil
}
