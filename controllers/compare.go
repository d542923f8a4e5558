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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/resources"
)

// annotationDataHash stands in for a ConfigMap's data in the cache. It is never
// written to the cluster.
const annotationDataHash = "cache.fairlead.dev/data-hash"

// upToDate reports whether live has everything that is desired. What others
// have added is theirs; a field that is desired no longer is found by the hash
// of the rendered object, which is an annotation of it.
func upToDate(object resources.Object, desired map[string]any, live client.Object) (bool, error) {
	want := desired
	if configMap, ok := object.(*corev1.ConfigMap); ok {
		// The cache keeps only a hash of the data.
		if live.GetAnnotations()[annotationDataHash] != dataHash(configMap) {
			return false, nil
		}
		want = maps.Clone(desired)
		delete(want, "data")
	}
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false, fmt.Errorf("failed to decode %q: %w", live.GetName(), err)
	}
	want = maps.Clone(want)
	delete(want, "apiVersion") // The cache's typed objects do not carry them.
	delete(want, "kind")
	return covers(have, want), nil
}

// covers reports whether have holds want: every key of a map, and every item of
// a list, in which others may have added items of their own.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		if !ok {
			return len(want) == 0
		}
		for key, value := range want {
			if !covers(fields[key], value) {
				return false
			}
		}
		return true
	case []any:
		items, ok := have.([]any)
		return (ok || len(want) == 0) && coversList(items, want)
	}
	return reflect.DeepEqual(have, want)
}

// coversList compares lists. Items that the API server merges by a key are
// found by it; every other list belongs to one writer and must be equal.
func coversList(have, want []any) bool {
	key := listKey(want)
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
			if at < 0 || !covers(have[at], item) {
				return false
			}
			continue
		}
		if !covers(have[i], item) {
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

// dataHash returns a hash of what a ConfigMap holds.
func dataHash(configMap *corev1.ConfigMap) string {
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(configMap.Data)) {
		fmt.Fprintf(sum, "%d:%s=%d:%s,", len(key), key, len(configMap.Data[key]), configMap.Data[key])
	}
	for _, key := range slices.Sorted(maps.Keys(configMap.BinaryData)) {
		fmt.Fprintf(sum, "%d:%s~%d:%x,", len(key), key, len(configMap.BinaryData[key]), configMap.BinaryData[key])
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
