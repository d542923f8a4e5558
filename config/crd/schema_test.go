// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the hash into the CustomResourceDefinition")

const generated = "fairlead.dev_mcpservers.yaml"

// The generator writes no hash, so that hack/generate.sh runs this with -update
// after it. Lines are put in, since decoding and encoding would drop comments.
func TestSchemaHashIsCurrent(t *testing.T) {
	t.Parallel()
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	want, err := Hash(child(own, "spec"))
	if err != nil {
		t.Fatal(err)
	}
	annotations := child(child(own, "metadata"), "annotations")
	if annotations[AnnotationSchemaHash] == want {
		return
	}
	if !*update {
		t.Fatalf("annotation %s is %v, want %s: run hack/generate.sh", AnnotationSchemaHash, annotations[AnnotationSchemaHash], want)
	}
	var lines []string
	for line := range strings.Lines(string(mcpServers)) {
		if strings.HasPrefix(line, "    "+AnnotationSchemaHash+":") {
			continue
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, "    controller-gen.kubebuilder.io/version:") {
			lines = append(lines, "    "+AnnotationSchemaHash+": \""+want+"\"\n")
		}
	}
	if err := os.WriteFile(generated, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// definition returns a CustomResourceDefinition with one version.
func definition(t *testing.T, schema string) map[string]any {
	t.Helper()
	var version map[string]any
	if err := yaml.Unmarshal([]byte(schema), &version); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"spec": map[string]any{"versions": []any{map[string]any{
		"name": "v1alpha1", "served": true, "schema": map[string]any{"openAPIV3Schema": version},
	}}}}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	const base = `{properties: {spec: {properties: {tools: {type: array, items: {properties: {name: {type: string}}}}, labels: {additionalProperties: {properties: {value: {type: string}}}}}}}}`
	tests := []struct {
		name string
		have string
		want []string
	}{
		{name: "the same", have: base},
		{
			name: "newer",
			have: `{properties: {spec: {properties: {more: {type: string}, tools: {items: {properties: {name: {type: string}, more: {type: string}}}}, labels: {additionalProperties: {properties: {value: {type: string}}}}}}}}`,
		},
		{
			name: "other descriptions and bounds",
			have: strings.ReplaceAll(base, "type: string", "type: string, description: other, maxLength: 7"),
		},
		{name: "a field less", have: `{properties: {spec: {properties: {tools: {items: {properties: {name: {type: string}}}}}}}}`, want: []string{"spec.labels"}},
		{
			name: "a field less in a list and in a map",
			have: `{properties: {spec: {properties: {tools: {items: {properties: {other: {type: string}}}}, labels: {additionalProperties: {properties: {other: {type: string}}}}}}}}`,
			want: []string{"spec.labels[*].value", "spec.tools[*].name"},
		},
		{name: "nothing", have: `{type: object}`, want: []string{"spec"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, Missing(definition(t, base), definition(t, tt.have))); diff != "" {
				t.Error(diff)
			}
		})
	}
	if diff := cmp.Diff([]string{"version v1alpha1"}, Missing(definition(t, base), map[string]any{})); diff != "" {
		t.Error(diff)
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	one, err := Hash(map[string]any{"a": "b", "c": "d"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Hash(map[string]any{"c": "d", "a": "b"}); err != nil || again != one || len(one) != 16 {
		t.Errorf("Hash() = %q, then %q, %v", one, again, err)
	}
	if other, err := Hash(map[string]any{"a": "b", "c": "e"}); err != nil || other == one {
		t.Errorf("another spec has the same hash %q, %v", other, err)
	}
}
