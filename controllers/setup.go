// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// indexServer finds pods, ConfigMaps and records by their server's name.
const indexServer = "server"

// SetupWithManager watches servers, their children and what they depend on.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	for _, object := range []client.Object{&corev1.Pod{}, &corev1.ConfigMap{}, &appsv1.ControllerRevision{}} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, object, indexServer, serverLabel); err != nil {
			return fmt.Errorf("failed to index %T by server: %w", object, err)
		}
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("mcpserver").
		// Status writes and labels change nothing that is built.
		For(&fairleadv1alpha1.MCPServer{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, refreshAsked()))).
		Watches(&fairleadv1alpha1.MCPServer{}, unansweredFirst()).
		Owns(&appsv1.Deployment{}, builder.WithPredicates(deploymentChanged())).
		Owns(&corev1.Service{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&networkingv1.Ingress{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Owns(&policyv1.PodDisruptionBudget{}, builder.WithPredicates(notStatusAlone())).
		Owns(&autoscalingv2.HorizontalPodAutoscaler{}, builder.WithPredicates(predicate.Or(notStatusAlone(), stabilizationChanged()))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(serverOfPod), builder.WithPredicates(podStateChanged())).
		WatchesRawSource(source.Func(r.wake.start)).
		Watches(&networkingv1.IngressClass{}, handler.EnqueueRequestsFromMapFunc(r.serversWithExposure)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("failed to set up the controller of MCPServers: %w", err)
	}
	return nil
}

// refreshAsked lets through a new request to read Secrets again.
func refreshAsked() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		key := fairleadv1alpha1.AnnotationRefreshRequestedAt
		return e.ObjectOld.GetAnnotations()[key] != e.ObjectNew.GetAnnotations()[key]
	}}
}

// notStatusAlone holds back what the controllers of budgets and autoscalers note
// in them all the time. Not every such kind has a generation.
func notStatusAlone() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(withoutStatus(e.ObjectOld), withoutStatus(e.ObjectNew))
	}}
}

// withoutStatus returns a copy of an object without what its status and the
// count of its writes say.
func withoutStatus(object client.Object) client.Object {
	var bare client.Object
	switch typed := object.(type) {
	case *policyv1.PodDisruptionBudget:
		bare = &policyv1.PodDisruptionBudget{ObjectMeta: *typed.ObjectMeta.DeepCopy(), Spec: typed.Spec}
	case *autoscalingv2.HorizontalPodAutoscaler:
		bare = &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: *typed.ObjectMeta.DeepCopy(), Spec: typed.Spec}
	default:
		return object
	}
	bare.SetResourceVersion("")
	return bare
}

// deploymentChanged holds back changes that the cache does not keep.
func deploymentChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*appsv1.Deployment)
		after, okay := e.ObjectNew.(*appsv1.Deployment)
		if !ok || !okay || before.ResourceVersion == after.ResourceVersion {
			return true // The latter is a resync.
		}
		same := *after
		same.ResourceVersion = before.ResourceVersion
		return !equality.Semantic.DeepEqual(before, &same)
	}}
}

func serverLabel(object client.Object) []string {
	if name := object.GetLabels()[resources.LabelServer]; name != "" {
		return []string{name}
	}
	return nil
}

func serverOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, name := range serverLabel(pod) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}})
	}
	return requests
}

// podStateChanged lets through what a status may tell of. A pod that comes or
// goes shows in its Deployment, but for one that was ready when the cache first
// heard of it, after a gap: its Deployment may have shown it before. At the start
// every server is looked at anyway.
func podStateChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			pod, ok := e.Object.(*corev1.Pod)
			return ok && !e.IsInInitialList && podReady(pod)
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*corev1.Pod)
			after, okay := e.ObjectNew.(*corev1.Pod)
			return ok && okay && (!equality.Semantic.DeepEqual(before.Status, after.Status) || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero())
		},
	}
}

// serversWithExposure returns the servers whose settings depend on the classes
// of the cluster.
func (r *Reconciler) serversWithExposure(ctx context.Context, _ client.Object) []reconcile.Request {
	var servers fairleadv1alpha1.MCPServerList
	if err := r.Client.List(ctx, &servers); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Failed to list MCPServers for an IngressClass")
		return nil
	}
	var requests []reconcile.Request
	for i := range servers.Items {
		server := &servers.Items[i]
		if err := unpackServer(server); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Failed to read an MCPServer for an IngressClass", "server", client.ObjectKeyFromObject(server).String())
			continue
		}
		if asksForProfile(server) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(server)})
		}
	}
	return requests
}
