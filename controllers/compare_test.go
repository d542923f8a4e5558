// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		have, want string
		covers     bool
	}{
		{"equal", "a: 1", "a: 1", true},
		{"another value", "a: 2", "a: 1", false},
		{"missing", "b: 1", "a: 1", false},
		{"more fields", "{a: 1, b: 2}", "a: 1", true},
		{"nested", "{a: {b: 1, c: 2}}", "{a: {b: 1}}", true},
		{"nested, missing", "{a: {c: 2}}", "{a: {b: 1}}", false},
		{"empty map wanted", "{}", "{a: {}}", true},
		{"empty list wanted", "{}", "{a: []}", true},
		{"a list of strings", "{args: [a, b]}", "{args: [a, b]}", true},
		{"another order of strings", "{args: [b, a]}", "{args: [a, b]}", false},
		{"one more string", "{args: [a, b, c]}", "{args: [a, b]}", false},
		{"one string less", "{args: [a]}", "{args: [a, b]}", false},
		{"a container more", "{c: [{name: x, image: i}, {name: theirs}]}", "{c: [{name: x, image: i}]}", true},
		{"a container before", "{c: [{name: theirs}, {name: x, image: i}]}", "{c: [{name: x, image: i}]}", true},
		{"another image", "{c: [{name: x, image: j}]}", "{c: [{name: x, image: i}]}", false},
		{"a mount more", "{m: [{name: v, mountPath: /b}, {name: v, mountPath: /a}]}", "{m: [{name: v, mountPath: /a}]}", true},
		{"a port more", "{p: [{name: http, port: 80}, {name: theirs, port: 81}]}", "{p: [{name: http, port: 80}]}", true},
		{"an owner more", "{o: [{uid: a, name: x}, {uid: b, name: x}]}", "{o: [{uid: b, name: x}]}", true},
		{"a toleration more", "{t: [{key: a}, {key: b}]}", "{t: [{key: a}]}", false},
		{"a list in place of a map", "{a: [1]}", "{a: {b: 1}}", false},
		{"a text in place of a list", "{a: b}", "{a: [b]}", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var have, want any
			for text, into := range map[*string]*any{&tt.have: &have, &tt.want: &want} {
				if err := yaml.Unmarshal([]byte(*text), into); err != nil {
					t.Fatal(err)
				}
			}
			if got := covers(have, want); got != tt.covers {
				t.Errorf("covers(%s, %s) = %t", tt.have, tt.want, got)
			}
		})
	}
}

// The cache holds no configuration, and yet tells one from another.
func TestReduceConfigMap(t *testing.T) {
	t.Parallel()
	reduce := func(data map[string]string, binary map[string][]byte) *corev1.ConfigMap {
		configMap := &corev1.ConfigMap{Data: data, BinaryData: binary}
		for range 2 { // A second pass, as on a resync, changes nothing.
			if _, err := reduceConfigMap(configMap); err != nil {
				t.Fatal(err)
			}
		}
		if configMap.Data != nil || configMap.BinaryData != nil {
			t.Fatal("the data is still there")
		}
		return configMap
	}
	hashes := func(data map[string]string) [2]string {
		annotations := reduce(data, nil).Annotations
		return [2]string{annotations[cachedServerHash], annotations[cachedLastGoodHash]}
	}
	one := hashes(map[string]string{"server.yaml": "a", "last-good.yaml": "b"})
	for name, other := range map[string][2]string{
		"another text":      hashes(map[string]string{"server.yaml": "b", "last-good.yaml": "b"}),
		"another last good": hashes(map[string]string{"server.yaml": "a", "last-good.yaml": "a"}),
		"without last good": hashes(map[string]string{"server.yaml": "a"}),
		"no text":           hashes(map[string]string{"last-good.yaml": "b"}),
		"binary":            hashes(nil),
	} {
		if other == one {
			t.Errorf("%s has the same hashes", name)
		}
	}
	if more := hashes(map[string]string{"server.yaml": "a", "last-good.yaml": "b", "theirs": "c"}); more != one {
		t.Error("what others add makes a difference")
	}
}

func TestReducePodKeepsWhatStopsIt(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", Labels: map[string]string{"l": "v"}, Annotations: map[string]string{"secret": "canary", "fairlead.dev/config-revision": "abc-1"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "E", Value: "canary"}}}},
			Volumes: []corev1.Volume{
				{Name: "istio", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "theirs"}}}},
				{Name: "server", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "a-mcp-1"}}}},
			},
		},
		Status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable"}, {Type: corev1.PodInitialized}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: 3}},
		},
	}
	out, err := reducePod(pod)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = reducePod(out); err != nil { // Again, as on a resync.
		t.Fatal(err)
	}
	reduced, ok := out.(*corev1.Pod)
	if !ok {
		t.Fatalf("reducePod() = %T", out)
	}
	if reduced.Name != "a" || reduced.Labels["l"] != "v" || len(reduced.Status.Conditions) != 1 || reduced.Status.ContainerStatuses[0].RestartCount != 3 {
		t.Errorf("what is needed is gone: %+v", reduced)
	}
	if reduced.Annotations["fairlead.dev/config-revision"] != "abc-1" || configMapOf(reduced) != "a-mcp-1" {
		t.Errorf("what the pod was given is gone: %v", reduced.Annotations)
	}
	if data, err := yaml.Marshal(reduced); err != nil || strings.Contains(string(data), "canary") || len(reduced.ManagedFields) > 0 {
		t.Errorf("what is not needed is there (%v):\n%s", err, data)
	}
}
