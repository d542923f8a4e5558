// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

// annotationLastGood on a ConfigMap is the hash of its last-good.yaml: by it a
// change by hand shows, although the cache has no bytes.
const annotationLastGood = "fairlead.dev/last-good-hash"

// keepLastGood completes the step of a ConfigMap that exists: what was good
// until now goes along with what is new. The cache has only hashes, so that this
// costs one look at the API server for each edit.
func (r *Reconciler) keepLastGood(ctx context.Context, server *fairleadv1alpha1.MCPServer, next *step) error {
	live := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: server.Namespace, Name: next.name}, live)
	r.Metrics.read("ConfigMap")
	if apierrors.IsNotFound(err) || (err == nil && live.UID != next.uid) {
		return nil // The apply will say so.
	}
	if err != nil {
		return fmt.Errorf("failed to read ConfigMap %q: %w", next.name, err)
	}
	records, err := r.records(ctx, server)
	if err != nil {
		return err
	}
	data, _ := next.desired["data"].(map[string]any)
	text, _ := data[resources.ServerFile].(string)
	good := lastGood(live, text, func(text string) bool { return servedByAll(server, records, text) })
	if good == "" || data == nil {
		return nil
	}
	data[resources.LastGoodFile] = good
	annotate(next.desired, annotationLastGood, textHash(good))
	return nil
}

// lastGood returns what last-good.yaml should be beside a new server.yaml; empty
// for none.
func lastGood(live *corev1.ConfigMap, next string, served func(text string) bool) string {
	current, old := live.Data[resources.ServerFile], live.Data[resources.LastGoodFile]
	switch {
	case current != next && served(current):
		return current
	case old != "" && live.Annotations[annotationLastGood] == textHash(old):
		return old
	case old != "":
		return next // Somebody else wrote the old one: it is nobody's last good.
	}
	return ""
}

// servedByAll reports whether a configuration is one that all pods served: when
// they were last asked, or, while nobody asks or can, when it was recorded.
func servedByAll(server *fairleadv1alpha1.MCPServer, records []appsv1.ControllerRevision, text string) bool {
	parsed, err := config.Decode([]byte(text))
	if err != nil || parsed.Revision == "" {
		return false
	}
	converged := meta.FindStatusCondition(server.Status.Conditions, fairleadv1alpha1.ConditionConverged)
	if tools := server.Status.Tools; tools != nil && tools.Revision == parsed.Revision && converged != nil {
		if converged.Status == metav1.ConditionTrue || converged.Reason == fairleadv1alpha1.ReasonConfigRefused {
			return converged.Status == metav1.ConditionTrue
		}
	}
	return slices.ContainsFunc(records, func(record appsv1.ControllerRevision) bool {
		return record.Annotations[history.AnnotationRevision] == parsed.Revision
	})
}

// annotate sets an annotation of a rendered object.
func annotate(desired map[string]any, key, value string) {
	metadata, _ := desired["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations[key] = value
}
