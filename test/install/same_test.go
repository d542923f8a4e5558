// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/test/apiserver"
)

var (
	// onlyKustomize has what Helm does by itself: --create-namespace.
	onlyKustomize = []string{"Namespace /fairlead-system"}
	// chartLabels are on every object of the chart; config/default has the name on some.
	chartLabels = []string{
		"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of",
		"app.kubernetes.io/version", "helm.sh/chart",
	}
	// chartAnnotations keep the CRD when the release goes.
	chartAnnotations = []string{"helm.sh/resource-policy"}
)

// Both ways to install render the same objects. What differs stands above, and
// the operator's arguments are compared by what the operator makes of them.
func TestChartInstallsWhatKustomizeInstalls(t *testing.T) {
	t.Parallel()
	out, err := run(t, "kustomize", "build", "config/default")
	if err != nil {
		t.Fatal(err)
	}
	want := byKey(decode(t, out))
	got := byKey(rendered(t, ""))
	for _, key := range onlyKustomize {
		if want[key] == nil {
			t.Errorf("config/default has no %s", key)
		}
		delete(want, key)
	}
	wantKeys, gotKeys := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))
	if diff := cmp.Diff(wantKeys, gotKeys); diff != "" {
		t.Fatalf("objects (-config/default +%s):\n%s", chart, diff)
	}
	for _, key := range wantKeys {
		plain(want[key], got[key])
		if diff := cmp.Diff(arguments(t, want[key]), arguments(t, got[key])); diff != "" {
			t.Errorf("options of %s (-config/default +%s):\n%s", key, chart, diff)
		}
		if diff := cmp.Diff(want[key].Object, got[key].Object); diff != "" {
			t.Errorf("%s (-config/default +%s):\n%s", key, chart, diff)
		}
	}
}

func byKey(objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	all := make(map[string]*unstructured.Unstructured, len(objects))
	for _, object := range objects {
		all[key(object)] = object
	}
	return all
}

// The overlay that the guide shows sets both images.
func TestOverlayOfTheGuide(t *testing.T) {
	t.Parallel()
	clone, err := filepath.Abs(apiserver.Root())
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path, err := filepath.Rel(folder, clone)
	if err != nil {
		t.Fatal(err)
	}
	overlay := ""
	for _, block := range yamlBlock.FindAllStringSubmatch(string(readFile(t, "docs", "guides", "install.md")), -1) {
		if isOverlay(block[1]) {
			overlay = strings.Replace(block[1], "../fairlead/", path+"/", 1)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "kustomize", "build", folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"image: registry.example.com/fairlead/fairlead-operator:v0.2.0", "--runtime-image=registry.example.com/fairlead/fairlead-runtime:v0.2.0"} {
		if !strings.Contains(out, image) || strings.Contains(out, "fairlead.invalid") {
			t.Errorf("the overlay does not set %s", image)
		}
	}
}

// isOverlay says that a block of a guide is for kustomize, not for Helm.
func isOverlay(block string) bool { return strings.HasPrefix(block, "apiVersion: kustomize") }

// plain takes from the chart's object the metadata that only a chart has.
func plain(want, got *unstructured.Unstructured) {
	labels, annotations := got.GetLabels(), got.GetAnnotations()
	for _, name := range chartLabels {
		if _, both := want.GetLabels()[name]; !both {
			delete(labels, name)
		}
	}
	for _, name := range chartAnnotations {
		delete(annotations, name)
	}
	if len(labels) == 0 {
		labels = nil
	}
	got.SetLabels(labels)
	got.SetAnnotations(annotations)
}

// arguments takes the arguments from a Deployment and returns what the operator
// makes of them; nil for other kinds.
func arguments(t *testing.T, object *unstructured.Unstructured) *manager.Options {
	t.Helper()
	if object.GetKind() != "Deployment" {
		return nil
	}
	containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		t.Fatalf("%d containers: %v", len(containers), err)
	}
	container, _ := containers[0].(map[string]any)
	args, _, err := unstructured.NestedStringSlice(container, "args")
	if err != nil {
		t.Fatal(err)
	}
	delete(container, "args")
	if err := unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	return options(t, args)
}

// options parses the operator's arguments as the operator does.
func options(t *testing.T, args []string) *manager.Options {
	t.Helper()
	var o manager.Options
	flags := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	o.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatalf("the operator does not take %q: %v", args, err)
	}
	if err := o.Validate(); err != nil {
		t.Errorf("the operator refuses %q: %v", args, err)
	}
	return &o
}

func deployment(t *testing.T, object *unstructured.Unstructured) *appsv1.Deployment {
	t.Helper()
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &d, true); err != nil {
		t.Fatal(err)
	}
	return &d
}

// A chart can read its own folder only, so what is generated into config lies
// there once more.
func TestChartHasTheGeneratedFiles(t *testing.T) {
	t.Parallel()
	copies := map[string]string{"crd.yaml": "crd/fairlead.dev_mcpservers.yaml", "role.yaml": "rbac/role.yaml"}
	for _, folder := range []string{"config/admission", chart + "/files/admission"} {
		entries, err := os.ReadDir(filepath.Join(apiserver.Root(), folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.Name() != "kustomization.yaml" {
				copies["admission/"+entry.Name()] = "admission/" + entry.Name()
			}
		}
	}
	if len(copies) < 4 {
		t.Fatalf("only %d files are compared", len(copies))
	}
	for to, from := range copies {
		copied, err := os.ReadFile(filepath.Join(apiserver.Root(), chart, "files", to))
		if err != nil {
			t.Errorf("run `make generate`: %v", err)
			continue
		}
		if !slices.Equal(copied, readFile(t, "config", from)) {
			t.Errorf("%s/files/%s is not as config/%s: run `make generate`", chart, to, from)
		}
	}
}
