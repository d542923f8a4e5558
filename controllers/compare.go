// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/resources"
)

// Annotations that stand in the cache for what it leaves out. They are never
// written to the cluster.
const (
	// cachedServerHash and cachedLastGoodHash are hashes of what a ConfigMap holds.
	cachedServerHash   = "cache.fairlead.dev/server-hash"
	cachedLastGoodHash = "cache.fairlead.dev/last-good-hash"
)

// upToDate reports whether live has everything that is desired. What others
// have added is theirs; a field that is desired no longer is found by the hash
// of the rendered object, which is an annotation of it.
func upToDate(object resources.Object, desired map[string]any, live client.Object) (bool, error) {
	want := maps.Clone(desired)
	if configMap, ok := object.(*corev1.ConfigMap); ok {
		// The cache keeps only hashes of the data.
		if !sameData(configMap, live.GetAnnotations()) {
			return false, nil
		}
		delete(want, "data")
	}
	if err := unpack(live); err != nil {
		return false, err
	}
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false, fmt.Errorf("failed to decode %q: %w", live.GetName(), err)
	}
	delete(want, "apiVersion") // The cache's typed objects do not carry them.
	delete(want, "kind")
	if isAtomic(object) {
		spec := want["spec"]
		delete(want, "spec")
		return covers(have, want) && coversExactly(have["spec"], spec), nil
	}
	return covers(have, want), nil
}

// isAtomic reports whether the lists in an object's spec belong to one writer:
// an item that somebody added is a change, and goes with the next apply.
func isAtomic(object resources.Object) bool {
	switch object.(type) {
	case *networkingv1.NetworkPolicy, *autoscalingv2.HorizontalPodAutoscaler:
		return true
	}
	return false
}

// sameData compares the data of a ConfigMap with the hashes that the cache keeps
// of the live one's. Its last good configuration is as it should be if it is the
// one that was written, whichever that was.
func sameData(desired *corev1.ConfigMap, cached map[string]string) bool {
	return cached[cachedServerHash] == textHash(desired.Data[resources.ServerFile]) &&
		cached[cachedLastGoodHash] == cached[annotationLastGood]
}

// covers reports whether have holds want: every key of a map, and every item of
// a list, in which others may have added items of their own.
func covers(have, want any) bool { return compare(have, want, listKey) }

// coversExactly is covers without a place for items of others in lists.
func coversExactly(have, want any) bool {
	return compare(have, want, func([]any) string { return "" })
}

// compare is covers; keyOf tells by which field the items of a list are found,
// or "" for a list that must be equal.
func compare(have, want any, keyOf func([]any) string) bool {
	switch want := want.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		if !ok {
			return len(want) == 0
		}
		for key, value := range want {
			if !compare(fields[key], value, keyOf) {
				return false
			}
		}
		return true
	case []any:
		items, ok := have.([]any)
		return (ok || len(want) == 0) && compareLists(items, want, keyOf)
	}
	return reflect.DeepEqual(have, want)
}

// compareLists compares lists. Items that the API server merges by a key are
// found by it; every other list belongs to one writer and must be equal.
func compareLists(have, want []any, keyOf func([]any) string) bool {
	key := keyOf(want)
	if key == "" && len(have) != len(want) {
		return false
	}
	for i, item := range want {
		if key != "" {
			value := item.(map[string]any)[key]
			at := slices.IndexFunc(have, func(other any) bool {
				fields, ok := other.(map[string]any)
				return ok && reflect.DeepEqual(fields[key], value)
			})
			if at < 0 || !compare(have[at], item, keyOf) {
				return false
			}
			continue
		}
		if !compare(have[i], item, keyOf) {
			return false
		}
	}
	return true
}

// listKey returns the field by which the API server merges the items of a list
// of ours, or "" for a list without one (listMapKey of the core types). The
// order matters: a volume mount has a name too, but is merged by its path.
func listKey(items []any) string {
	for _, key := range []string{"mountPath", "uid", "containerPort", "port", "topologyKey", "name"} {
		if len(items) > 0 && !slices.ContainsFunc(items, func(item any) bool {
			fields, ok := item.(map[string]any)
			_, has := fields[key]
			return !ok || !has
		}) {
			return key
		}
	}
	return ""
}

// textHash returns a hash of a text; empty for none.
func textHash(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
