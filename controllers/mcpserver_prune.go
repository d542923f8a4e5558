// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// prune deletes the server's objects that are desired no longer. It is called
// only after everything desired was built and applied.
func (r *Reconciler) prune(ctx context.Context, server *fairleadv1alpha1.MCPServer, desired *resources.Objects, deployment *appsv1.Deployment) error {
	if desired.Ingress == nil {
		ingress := &networkingv1.Ingress{}
		key := client.ObjectKey{Namespace: server.Namespace, Name: resources.Name(server.Name)}
		switch err := r.Client.Get(ctx, key, ingress); {
		case err == nil:
			if err := r.delete(ctx, server, "Ingress", ingress); err != nil {
				return err
			}
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("failed to read Ingress %q: %w", key.Name, err)
		}
	}
	// Pods of the old template mount the old ConfigMap, and one that restarts
	// meanwhile needs it to start.
	if deployment == nil || !rolledOut(deployment) {
		return nil
	}
	var configMaps corev1.ConfigMapList
	if err := r.Client.List(ctx, &configMaps, client.InNamespace(server.Namespace), client.MatchingFields{indexServer: server.Name}); err != nil {
		return fmt.Errorf("failed to list the ConfigMaps of %q: %w", server.Name, err)
	}
	for i := range configMaps.Items {
		if configMaps.Items[i].Name == desired.ConfigMap.Name {
			continue
		}
		if err := r.delete(ctx, server, "ConfigMap", &configMaps.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// delete deletes exactly this object, if it is the server's and not on its way
// out already.
func (r *Reconciler) delete(ctx context.Context, server *fairleadv1alpha1.MCPServer, kind string, object client.Object) error {
	if !metav1.IsControlledBy(object, server) || !object.GetDeletionTimestamp().IsZero() {
		return nil
	}
	err := r.Client.Delete(ctx, object, client.Preconditions{UID: new(object.GetUID())})
	if err := client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("failed to delete %s %q: %w", kind, object.GetName(), err)
	}
	r.Metrics.wrote(kind, "delete")
	return nil
}

// rolledOut reports whether every pod is of the current template and available,
// and no other is left (as kubectl rollout status does).
func rolledOut(d *appsv1.Deployment) bool {
	desired := ptr.Deref(d.Spec.Replicas, 1)
	return d.Status.ObservedGeneration >= d.Generation &&
		d.Status.UpdatedReplicas >= desired &&
		d.Status.Replicas <= d.Status.UpdatedReplicas &&
		d.Status.AvailableReplicas >= d.Status.UpdatedReplicas
}
