// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	podsecurityapi "k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

var update = flag.Bool("update", false, "write testdata/*/want.yaml")

// defaults are those of the operator's flags.
var defaults = resources.Defaults{RuntimeImage: "fairlead.invalid/fairlead-runtime:dev", Replicas: 2}

// goldenCases returns testdata/<case>/server.yaml by case.
func goldenCases(t *testing.T) map[string]*fairleadv1alpha1.MCPServer {
	t.Helper()
	files, err := filepath.Glob("testdata/*/server.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases: %v", err)
	}
	cases := map[string]*fairleadv1alpha1.MCPServer{}
	for _, file := range files {
		cases[filepath.Base(filepath.Dir(file))] = readServer(t, file)
	}
	return cases
}

func readServer(tb testing.TB, file string) *fairleadv1alpha1.MCPServer {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.UnmarshalStrict(data, server); err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	return server
}

func build(t *testing.T, server *fairleadv1alpha1.MCPServer) *resources.Objects {
	t.Helper()
	objects, err := resources.Build(resources.Input{Server: server, Defaults: defaults})
	if err != nil {
		t.Fatalf("Build(%s) = %v", server.Name, err)
	}
	return objects
}

// encode returns objects as YAML documents, as they are applied.
func encode(t *testing.T, objects *resources.Objects) []byte {
	t.Helper()
	var out bytes.Buffer
	for i, object := range objects.List() {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			t.Fatal(err)
		}
		delete(content, "status")
		data, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(data)
	}
	return out.Bytes()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, server := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := encode(t, build(t, server))
			file := filepath.Join("testdata", name, "want.yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; write it with: go test ./controllers/resources -run TestGolden -update", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("Build differs (-want +got); check it, then run with -update:\n%s", diff)
			}
		})
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	t.Parallel()
	for name, server := range goldenCases(t) {
		first := encode(t, build(t, server))
		for range 5 {
			if diff := cmp.Diff(string(first), string(encode(t, build(t, server.DeepCopy())))); diff != "" {
				t.Fatalf("%s: two builds of one input differ:\n%s", name, diff)
			}
		}
	}
}

func TestBuildLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	for name, server := range goldenCases(t) {
		before := server.DeepCopy()
		build(t, server)
		if diff := cmp.Diff(before, server); diff != "" {
			t.Errorf("%s: Build changed its input:\n%s", name, diff)
		}
	}
}

// Every pod passes the restricted Pod Security Standard of every version.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurityapi.LevelVersion{Level: podsecurityapi.LevelRestricted, Version: podsecurityapi.LatestVersion()}
	for name, server := range goldenCases(t) {
		pod := build(t, server).Deployment.Spec.Template
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
		if got := pod.Spec.SecurityContext.RunAsUser; got != nil {
			t.Errorf("%s: pods have a fixed uid %d, which OpenShift refuses", name, *got)
		}
	}
}

// What the operator writes, the runtime reads, and finds what was meant.
func TestConfigMapsCompile(t *testing.T) {
	t.Parallel()
	for name, server := range goldenCases(t) {
		objects := build(t, server)
		decoded, err := config.Decode([]byte(objects.ConfigMap.Data[resources.ServerFile]))
		if err != nil {
			t.Errorf("%s: Decode() = %v", name, err)
			continue
		}
		program, err := config.Compile(decoded)
		if err != nil {
			t.Errorf("%s: Compile() = %v", name, err)
			continue
		}
		if decoded.Revision != objects.Revision || objects.Revision == "" {
			t.Errorf("%s: revision %q in the file, %q beside it", name, decoded.Revision, objects.Revision)
		}
		if diff := cmp.Diff(objects.Program.Server, program.Server, cmp.FilterPath(func(p cmp.Path) bool {
			return p.Last().String() == ".Revision"
		}, cmp.Ignore())); diff != "" {
			t.Errorf("%s: the file means something else (-built +read):\n%s", name, diff)
		}
	}
}

// A field that no golden file sets could be dropped on its way to the runtime
// without a test noticing.
func TestGoldenCasesSetEveryField(t *testing.T) {
	t.Parallel()
	set := map[string]bool{}
	for _, server := range goldenCases(t) {
		markSet(set, "spec", reflect.ValueOf(server.Spec))
	}
	for _, path := range fieldPaths("spec", reflect.TypeFor[fairleadv1alpha1.MCPServerSpec]()) {
		if !set[path] {
			t.Errorf("no testdata/*/server.yaml sets %s", path)
		}
	}
}

// ours reports whether a type's fields are this API's, not of another.
func ours(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && strings.HasSuffix(t.PkgPath(), "/api/v1alpha1")
}

func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

func fieldPaths(path string, t reflect.Type) []string {
	var paths []string
	for field := range t.Fields() {
		child := path + "." + jsonName(field)
		paths = append(paths, child)
		if inner := element(field.Type); ours(inner) {
			paths = append(paths, fieldPaths(child, inner)...)
		}
	}
	return paths
}

func markSet(set map[string]bool, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			markSet(set, path, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			markSet(set, path, v.Index(i))
		}
	case reflect.Struct:
		if !ours(v.Type()) {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				continue
			}
			child := path + "." + jsonName(v.Type().Field(i))
			set[child] = true
			markSet(set, child, v.Field(i))
		}
	default:
	}
}
