// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

func builtOf(uid string, generation int64, size int) *built {
	return &built{uid: types.UID(uid), generation: generation, objects: &resources.Objects{ConfigMap: &corev1.ConfigMap{
		Data: map[string]string{resources.ServerFile: strings.Repeat("x", size)},
	}}}
}

func TestBuiltCache(t *testing.T) {
	t.Parallel()
	var cache builtCache
	at := func(uid string, generation int64) *fairleadv1alpha1.MCPServer {
		return &fairleadv1alpha1.MCPServer{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Generation: generation}}
	}
	none := resources.ClusterFacts{}
	if cache.get(at("a", 1), none) != nil {
		t.Error("an empty cache has something")
	}
	first, second := builtOf("a", 1, 10), builtOf("a", 2, 10)
	cache.add(first)
	if cache.get(at("a", 1), none) != first {
		t.Error("what was added is not found")
	}
	for name, got := range map[string]*built{
		"another server":     cache.get(at("b", 1), none),
		"another generation": cache.get(at("a", 2), none),
		"other facts":        cache.get(at("a", 1), resources.ClusterFacts{Profile: fairleadv1alpha1.ProfileTraefik}),
	} {
		if got != nil {
			t.Errorf("%s is found", name)
		}
	}
	cache.add(second)
	if cache.get(at("a", 1), none) != nil || cache.get(at("a", 2), none) != second || cache.recent.Len() != 1 {
		t.Error("the newer generation does not take the older one's place")
	}
}

// However many servers there are and however large, memory is bounded, and the
// latest stay.
func TestBuiltCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 480 << 10} {
		var cache builtCache
		for i := range 2000 {
			cache.add(builtOf(fmt.Sprintf("server-%d", i), 1, size))
			if cache.holding > maxBuiltBytes {
				t.Fatalf("it holds %d bytes, more than %d", cache.holding, maxBuiltBytes)
			}
		}
		if len(cache.byUID) != cache.recent.Len() || cache.recent.Len() == 0 || cache.recent.Len() > 600 {
			t.Errorf("it holds %d and %d servers", len(cache.byUID), cache.recent.Len())
		}
		if cache.byUID["server-1999"] == nil || cache.byUID["server-0"] != nil {
			t.Error("not the latest stay")
		}
	}
}
