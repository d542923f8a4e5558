// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/test/apiserver"
)

var (
	update = flag.Bool("update", false, "write testdata/*.txt")
	// admin talks to the API server that all tests here share; they only ask it
	// for a verdict (dry run).
	admin client.Client
)

func TestMain(m *testing.M) {
	flag.Parse()
	apiserver.Main(m, func(server *apiserver.Server) (_ func() error, err error) {
		admin, err = client.New(server.Config, client.Options{})
		return nil, err
	})
}

// crdFile is the generated CRD.
func crdFile() string {
	return filepath.Join(apiserver.Root(), "config", "crd", "fairlead.dev_mcpservers.yaml")
}

// crdSchema returns the schema of the version v1alpha1.
func crdSchema(t *testing.T) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	data, err := os.ReadFile(crdFile())
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// readObjects returns the objects of a file.
func readObjects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		objects = append(objects, object)
	}
	return objects
}

// readServers returns the MCPServers of a file.
func readServers(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	return slices.DeleteFunc(readObjects(t, file), func(object *unstructured.Unstructured) bool {
		return object.GetKind() != "MCPServer"
	})
}

// everything are servers that together set every field: autoscaling excludes
// replicas.
func everything(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var servers []*unstructured.Unstructured
	for _, name := range []string{"everything", "autoscaling"} {
		servers = append(servers, readServers(t, filepath.Join(apiserver.Root(), "controllers", "resources", "testdata", name, "server.yaml"))...)
	}
	return servers
}

// verdict asks the API server what it thinks of an object, without creating it.
func verdict(t *testing.T, object *unstructured.Unstructured) error {
	t.Helper()
	object = object.DeepCopy()
	object.SetNamespace("default")
	object.SetUID("")
	return admin.Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
}

// causes returns the single errors of a refusal, each "path: message".
func causes(t *testing.T, err error) []string {
	t.Helper()
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		t.Fatalf("not a refusal: %v", err)
	}
	var all []string
	for _, cause := range status.Status().Details.Causes {
		all = append(all, cause.Field+": "+cause.Message)
	}
	return all
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); check it, then run with -update:\n%s", file, diff)
	}
}

func TestSamplesAndGoldenServersAreAdmitted(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"config/samples/*.yaml", "controllers/resources/testdata/*/server.yaml"} {
		found, err := filepath.Glob(filepath.Join(apiserver.Root(), pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		for _, server := range readServers(t, file) {
			if err := verdict(t, server); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// What the builders make of the golden servers is what Kubernetes takes, field
// by field: an unknown or wrong one is refused.
func TestGoldenChildrenAreAdmitted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(apiserver.Root(), "controllers/resources/testdata/*/want.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %v", files, err)
	}
	kinds := map[string]bool{}
	for _, file := range files {
		for _, object := range readObjects(t, file) {
			kinds[object.GetKind()] = true
			if err := verdict(t, object); err != nil {
				t.Errorf("%s: %s %q: %v", file, object.GetKind(), object.GetName(), err)
			}
		}
	}
	if len(kinds) < 8 {
		t.Errorf("only the kinds %v are among the children", kinds)
	}
}

// Before the operator has looked, kstatus must see work in progress: an object
// without conditions would count as done (cli-utils, pkg/kstatus).
func TestNewServerIsNotObserved(t *testing.T) {
	t.Parallel()
	server := readServers(t, filepath.Join(apiserver.Root(), "config", "samples", "hello.yaml"))[0].DeepCopy()
	server.SetNamespace("default")
	if err := admin.Create(t.Context(), server, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	observed, found, err := unstructured.NestedInt64(server.Object, "status", "observedGeneration")
	if err != nil || !found || observed != -1 {
		t.Errorf("status.observedGeneration = %d, %t, %v; want -1", observed, found, err)
	}
}
