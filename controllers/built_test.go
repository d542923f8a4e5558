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

func inputOf(uid string, generation int64) resources.Input {
	return resources.Input{Server: &fairleadv1alpha1.MCPServer{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Generation: generation}}}
}

func builtOf(in resources.Input, size int) *built {
	return &built{key: keyOf(in), objects: &resources.Objects{ConfigMap: &corev1.ConfigMap{
		Data: map[string]string{resources.ServerFile: strings.Repeat("x", size)},
	}}}
}

func TestBuiltCache(t *testing.T) {
	t.Parallel()
	var cache builtCache
	in := inputOf("a", 1)
	if cache.get(keyOf(in)) != nil {
		t.Error("an empty cache has something")
	}
	first := builtOf(in, 10)
	cache.add(first)
	if cache.get(keyOf(inputOf("a", 1))) != first {
		t.Error("what was added is not found")
	}
	for name, change := range map[string]func(*resources.Input){
		"another server":     func(in *resources.Input) { in.Server.UID = "b" },
		"another generation": func(in *resources.Input) { in.Server.Generation = 2 },
		"other facts":        func(in *resources.Input) { in.Cluster.Profile = fairleadv1alpha1.ProfileTraefik },
		"other replicas":     func(in *resources.Input) { in.Observed.Replicas = new(int32(0)) },
		"a kept ConfigMap":   func(in *resources.Input) { in.Observed.ConfigMap = "a-mcp-1" },
		"an older contract":  func(in *resources.Input) { in.Observed.Contract = 1 },
		"other keys":         func(in *resources.Input) { in.Observed.KeyIDs = []string{"k"} },
	} {
		in := inputOf("a", 1)
		change(&in)
		if cache.get(keyOf(in)) != nil {
			t.Errorf("%s is found", name)
		}
	}
	second := builtOf(in, 20)
	cache.add(second)
	if cache.get(keyOf(in)) != second || cache.recent.Len() != 1 || cache.holding != second.size() {
		t.Error("what was built again does not take the place of what was there")
	}
}

// However many servers there are and however large, memory is bounded, and the
// latest stay.
func TestBuiltCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 480 << 10} {
		var cache builtCache
		for i := range 2000 {
			cache.add(builtOf(inputOf(fmt.Sprintf("server-%d", i), 1), size))
			if cache.holding > maxBuiltBytes {
				t.Fatalf("it holds %d bytes, more than %d", cache.holding, maxBuiltBytes)
			}
		}
		if len(cache.byKey) != cache.recent.Len() || cache.recent.Len() == 0 || cache.recent.Len() > 600 {
			t.Errorf("it holds %d and %d servers", len(cache.byKey), cache.recent.Len())
		}
		if cache.get(keyOf(inputOf("server-1999", 1))) == nil || cache.get(keyOf(inputOf("server-0", 1))) != nil {
			t.Error("not the latest stay")
		}
	}
}
