// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// Every sample builds, field by field as written, and passes as a pod.
func TestSamplesBuild(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			servers := 0
			for document := range strings.SplitSeq(string(data), "\n---\n") {
				object := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
					t.Fatal(err)
				}
				if object.GetKind() != "MCPServer" {
					continue
				}
				servers++
				server := &fairleadv1alpha1.MCPServer{}
				if err := yaml.UnmarshalStrict([]byte(document), server); err != nil {
					t.Fatal(err)
				}
				build(t, server)
			}
			if servers == 0 {
				t.Error("there is no MCPServer in it")
			}
		})
	}
}
