// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// binaries is where programs are built; TestMain removes it.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fairlead-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// plugin builds kubectl-fairlead once.
var plugin = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaries, "kubectl-fairlead")
	command := exec.Command("go", "build", "-o", path, "./kubectl-fairlead")
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("failed to build kubectl-fairlead: %w\n%s", err, out)
	}
	return path, nil
})

// runPlugin returns what kubectl-fairlead prints, on both streams.
func runPlugin(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

// TestManifests judges every manifest in every document as the plugin's lint
// does: the schema and rules of the CRD, and then the operator's builders.
func TestManifests(t *testing.T) {
	t.Parallel()
	judged := 0
	for _, d := range documents(t) {
		blocks, _ := fences(d.text)
		for _, b := range blocks {
			isYAML := b.language == "yaml" || b.language == "yml"
			if !isYAML && strings.Contains(b.text, "kind: MCPServer") {
				t.Errorf("%s:%d: a manifest must stand in a block that says yaml, so that it is judged", d.path, b.line)
			}
			if !isYAML {
				continue
			}
			if judge(t, fmt.Sprintf("%s:%d", d.path, b.line), b.text) {
				judged++
			}
		}
	}
	if judged < 5 {
		t.Errorf("only %d blocks have an MCPServer", judged)
	}
}

// judge decodes the documents of a block and reports whether it has an
// MCPServer, which lint then judges.
func judge(t *testing.T, where, text string) (server bool) {
	t.Helper()
	for part := range strings.SplitSeq(text, "\n---\n") {
		var object struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(part), &object); err != nil {
			t.Errorf("%s: %v", where, err)
			return false
		}
		switch {
		case object.Kind == "MCPServer":
			server = true
		case object.Kind == "Secret" && object.APIVersion == "v1":
			if err := yaml.UnmarshalStrict([]byte(part), &corev1.Secret{}); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		case strings.Contains(part, "MCPServer"):
			t.Errorf("%s: an MCPServer that is not its own YAML document", where)
		}
	}
	if !server {
		return false
	}
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := runPlugin(t, "lint", "-f", file); err != nil {
		t.Errorf("%s: lint: %v\n%s", where, err, strings.ReplaceAll(out, file, where))
	}
	return true
}
