// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/verify"
	"fairlead.dev/fairlead/runtime/config"
)

// witness notes in seen what others know of the server's pods: the kubelet why
// they cannot start, convergence what they serve, the verifier what clients get.
func (r *Reconciler) witness(ctx context.Context, seen *observation) error {
	if r.Verifier == nil {
		seen.unverified = true
	}
	if seen.deployment == nil {
		r.stopAsking(seen)
		return nil
	}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(seen.server.Namespace), client.MatchingFields{indexServer: seen.server.Name}); err != nil {
		return fmt.Errorf("failed to list the pods of %q: %w", seen.server.Name, err)
	}
	pods.Items = slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return !podOf(seen.deployment, &pod) })
	if seen.made == nil {
		if err := r.readGiven(ctx, seen); err != nil {
			return err
		}
	}
	if !rolledOut(seen.deployment) {
		seen.failure = failureOf(seen, pods.Items)
	}
	if seen.paused || seen.revision() == "" {
		r.stopAsking(seen)
		return nil
	}
	target := convergenceTarget(seen, pods.Items)
	report := r.Convergence.Observe(target)
	if asked := len(target.Pods); report.State == convergence.Converged && 0 < asked && asked < availablePods(seen.deployment) {
		report.State = convergence.Pending // The cache will have the others in a moment.
	}
	seen.converged = &report
	r.noteKeys(seen, report)
	r.noteWeighed(seen)
	r.verify(seen)
	return nil
}

// stopAsking ends all questions to the pods of a server: it has none, or nothing
// may be done to them.
func (r *Reconciler) stopAsking(seen *observation) {
	r.Convergence.Forget(seen.name)
	if r.Verifier != nil {
		r.Verifier.Forget(seen.name)
	}
}

// readGiven notes what the pods were given when the last that was built was not
// applied, or not all of it: the ConfigMap that they mount says so. The names of
// its tools cost a look at the API server, until the status tells them.
func (r *Reconciler) readGiven(ctx context.Context, seen *observation) error {
	key := client.ObjectKey{Namespace: seen.server.Namespace, Name: mountedConfigMap(&seen.deployment.Spec.Template.Spec)}
	configMap := &corev1.ConfigMap{}
	err := r.Client.Get(ctx, key, configMap)
	if apierrors.IsNotFound(err) || (err == nil && !metav1.IsControlledBy(configMap, seen.server)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to read ConfigMap %q: %w", key.Name, err)
	}
	seen.given = configMap.Annotations[resources.AnnotationRevision]
	if told := seen.server.Status.Tools; seen.given == "" || (told != nil && told.Revision == seen.given) {
		return nil
	}
	r.Metrics.read("ConfigMap")
	if err := r.Live.Get(ctx, key, configMap); err != nil {
		return fmt.Errorf("failed to read ConfigMap %q: %w", key.Name, err)
	}
	// What somebody else wrote into it is not what was given.
	if parsed, err := config.Decode([]byte(configMap.Data[resources.ServerFile])); err == nil && parsed.Revision == seen.given {
		seen.catalog = toolsStatus(parsed, parsed.Revision)
	}
	return nil
}

// verify asks whether clients are served, once the pods say that they serve.
// What was accepted last is not asked for: this generation is not it. Nor are
// pods that are not there, old or behind: they cannot pass.
func (r *Reconciler) verify(seen *observation) {
	if r.Verifier == nil {
		return
	}
	if seen.rejected != nil || seen.made == nil || !rolledOut(seen.deployment) {
		r.Verifier.Forget(seen.name)
		return
	}
	switch seen.converged.State {
	case convergence.Converged:
	case convergence.Pending: // A new pod, mostly: what is known of the others holds.
		return
	case convergence.NoPods, convergence.Lagging, convergence.Refused, convergence.Unreachable:
		r.Verifier.Forget(seen.name)
		return
	}
	report := r.Verifier.Observe(verify.Target{
		Server: seen.name, URL: r.serviceURL(seen.server), Revision: seen.revision(),
		Tools: seen.made.names, UID: string(seen.server.UID), Key: seen.ring.Current,
	})
	seen.verified = &report
}

// serviceURL is where clients in the cluster connect, by a name that resolves
// wherever the operator runs in it.
func (r *Reconciler) serviceURL(server *fairleadv1alpha1.MCPServer) string {
	return fmt.Sprintf("http://%s.%s.svc.%s/mcp", resources.Name(server.Name), server.Namespace, cmp.Or(r.Defaults.ClusterDomain, "cluster.local"))
}

// convergenceTarget is what the ready pods should hold that mount the
// configuration of now. Those of an older template mount another.
func convergenceTarget(seen *observation, pods []corev1.Pod) convergence.Target {
	configMap := mountedConfigMap(&seen.deployment.Spec.Template.Spec)
	target := convergence.Target{
		Server: seen.name, Revision: seen.revision(), KeyIDs: appliedKeys(seen), Refresh: refreshRequest(seen.server), Weigh: seen.weigh,
	}
	if target.Refresh == seen.server.Status.RefreshedAt {
		target.Refresh = ""
	}
	for i := range pods {
		pod := &pods[i]
		if !pod.DeletionTimestamp.IsZero() || configMapOf(pod) != configMap || !podReady(pod) {
			continue
		}
		target.Pods = append(target.Pods, convergence.Pod{
			Name: pod.Name, UID: pod.UID, IP: pod.Status.PodIP,
			Poked:     pod.Annotations[fairleadv1alpha1.AnnotationConfigRevision],
			Refreshed: pod.Annotations[fairleadv1alpha1.AnnotationRefreshedAt],
			Cost:      pod.Annotations[corev1.PodDeletionCost],
		})
	}
	slices.SortFunc(target.Pods, func(a, b convergence.Pod) int { return strings.Compare(a.Name, b.Name) })
	return target
}

// podOf reports whether a pod is of the Deployment: its label anybody may give to
// a pod of his own. The Deployment controller names a ReplicaSet by the hash that
// it puts on the pods.
func podOf(deployment *appsv1.Deployment, pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "ReplicaSet" && owner.Name == deployment.Name+"-"+pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
}

// availablePods returns how many pods of the current template serve; 0 while
// that is not known, because others are there too.
func availablePods(deployment *appsv1.Deployment) int {
	if !rolledOut(deployment) {
		return 0
	}
	return int(deployment.Status.AvailableReplicas)
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// refreshRequest returns the newest request to read Secrets again; empty without
// one, or if it is no time.
func refreshRequest(server *fairleadv1alpha1.MCPServer) string {
	value := server.Annotations[fairleadv1alpha1.AnnotationRefreshRequestedAt]
	if _, err := time.Parse(time.RFC3339, value); err != nil {
		return ""
	}
	return value
}
