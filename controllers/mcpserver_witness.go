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

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/verify"
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
	if !rolledOut(seen.deployment) {
		seen.failure = failureOf(seen, pods.Items)
	}
	if seen.paused || seen.revision() == "" {
		r.stopAsking(seen)
		return nil
	}
	report := r.Convergence.Observe(r.convergenceTarget(seen, pods.Items))
	seen.converged = &report
	r.noteKeys(seen, report)
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

// verify asks whether clients are served, once the pods say that they serve.
// What was accepted last is not asked for: this generation is not it.
func (r *Reconciler) verify(seen *observation) {
	if r.Verifier == nil {
		return
	}
	if seen.rejected != nil || seen.made == nil {
		r.Verifier.Forget(seen.name)
		return
	}
	if !rolledOut(seen.deployment) || seen.converged.State != convergence.Converged {
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
func (r *Reconciler) convergenceTarget(seen *observation, pods []corev1.Pod) convergence.Target {
	configMap := mountedConfigMap(&seen.deployment.Spec.Template.Spec)
	target := convergence.Target{
		Server: seen.name, Revision: seen.revision(), KeyIDs: appliedKeys(seen), Refresh: refreshRequest(seen.server),
	}
	if target.Refresh == seen.server.Status.RefreshedAt {
		target.Refresh = ""
	}
	for i := range pods {
		pod := &pods[i]
		if !pod.DeletionTimestamp.IsZero() || pod.Annotations[cachedConfigMap] != configMap || !podReady(pod) {
			continue
		}
		target.Pods = append(target.Pods, convergence.Pod{
			Name: pod.Name, UID: pod.UID, IP: pod.Status.PodIP,
			Poked:     pod.Annotations[fairleadv1alpha1.AnnotationConfigRevision],
			Refreshed: pod.Annotations[fairleadv1alpha1.AnnotationRefreshedAt],
		})
	}
	slices.SortFunc(target.Pods, func(a, b convergence.Pod) int { return strings.Compare(a.Name, b.Name) })
	return target
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
