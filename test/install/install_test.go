// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install tests the two ways to install the operator: config/default
// by kustomize, and charts/fairlead by Helm.
package install

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"fairlead.dev/fairlead/test/apiserver"
)

const (
	chart     = "charts/fairlead"
	release   = "fairlead"
	namespace = "fairlead-system"
)

var update = flag.Bool("update", false, "write the reference of the operator's metrics anew")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if err := stopServer(); err != nil {
		fmt.Fprintln(os.Stderr, "failed to stop the API server:", err)
		code = 1
	}
	os.Exit(code)
}

// tools are the paths of built tools, each built once.
var tools = struct {
	sync.Mutex
	paths map[string]string
}{paths: map[string]string{}}

// inputs reads what the tools will read, so that Go's cache of results knows
// that a test depends on it.
var inputs = sync.OnceValue(func() error {
	var errs []error
	for _, folder := range []string{chart, "config", "test/install/testdata"} {
		errs = append(errs, filepath.WalkDir(filepath.Join(apiserver.Root(), folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			_, err = os.ReadFile(path)
			return err
		}))
	}
	return errors.Join(errs...)
})

func toolPath(t *testing.T, name string) string {
	t.Helper()
	if err := inputs(); err != nil {
		t.Fatal(err)
	}
	tools.Lock()
	defer tools.Unlock()
	if path, ok := tools.paths[name]; ok {
		return path
	}
	command := exec.CommandContext(t.Context(), filepath.Join(apiserver.Root(), "hack", "tool.sh"), "--path", name)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("failed to build %s: %v", name, err)
	}
	tools.paths[name] = strings.TrimSpace(string(out))
	return tools.paths[name]
}

// run runs a tool in the repository's root, with a home that goes away.
func run(t *testing.T, name string, args ...string) (stdout string, err error) {
	t.Helper()
	home := t.TempDir()
	command := exec.CommandContext(t.Context(), toolPath(t, name), args...)
	command.Dir = apiserver.Root()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG=/dev/null")
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, problems.String())
	}
	return out.String(), nil
}

// template returns what `helm template` renders.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return run(t, "helm", append([]string{"template", release, chart, "--namespace", namespace}, args...)...)
}

// rendered returns the objects of the chart with a file of values, or with its
// defaults for "".
func rendered(t *testing.T, values string) []*unstructured.Unstructured {
	t.Helper()
	var args []string
	if values != "" {
		args = []string{"--values", valuesFile(values)}
	}
	out, err := template(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, out)
}

func valuesFile(name string) string {
	return filepath.Join(apiserver.Root(), "test", "install", "testdata", "values", name)
}

// combinations are the files of values, "" for the chart's defaults among them.
func combinations(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(valuesFile("*.yaml"))
	if err != nil || len(paths) < 4 {
		t.Fatalf("found %d files of values: %v", len(paths), err)
	}
	names := []string{""}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

func decode(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("failed to read the manifest: %v", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, &object)
		}
	}
}

// key names an object within a manifest.
func key(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// find returns the one object of a kind and name.
func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	t.Fatalf("no %s %q is rendered", kind, name)
	return nil
}

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{apiserver.Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
