// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// effectOf builds twice and looks at what became of the pods.
func effectOf(before, after *resources.Objects) resources.Effect {
	sameTemplate := cmp.Equal(before.Deployment.Spec.Template, after.Deployment.Spec.Template)
	switch {
	case sameTemplate && cmp.Equal(before.ConfigMap, after.ConfigMap):
		return resources.ObjectsOnly
	case sameTemplate && before.ConfigMap.Name == after.ConfigMap.Name:
		return resources.Live
	default:
		return resources.Rolls
	}
}

var pathStep = regexp.MustCompile(`\[\]|[^.\[\]]+`)

// edited sets the first instance of a schema's path to another value; false if
// there is none.
func edited(object any, steps []string, value any) (any, bool) {
	if len(steps) == 0 {
		return value, true
	}
	if steps[0] == "[]" {
		items, _ := object.([]any)
		for i := range items {
			if item, ok := edited(items[i], steps[1:], value); ok {
				items[i] = item
				return items, true
			}
		}
		return object, false
	}
	fields, _ := object.(map[string]any)
	child, found := fields[steps[0]]
	if !found {
		return object, false
	}
	next, ok := edited(child, steps[1:], value)
	if ok {
		fields[steps[0]] = next
	}
	return object, ok
}

// withEdit returns a server that sets the path, and the same with another value.
func withEdit(t *testing.T, path string, value any) (before, after *fairleadv1alpha1.MCPServer) {
	t.Helper()
	for _, name := range []string{"everything", "autoscaling"} {
		server := readServer(t, "testdata/"+name+"/server.yaml")
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(server)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := edited(content, pathStep.FindAllString(path, -1), value); !ok {
			continue
		}
		data, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		other := &fairleadv1alpha1.MCPServer{}
		if err := yaml.UnmarshalStrict(data, other); err != nil {
			t.Fatal(err)
		}
		if name == "autoscaling" && path == "spec.autoscaling.managedBy" {
			other.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{ManagedBy: other.Spec.Autoscaling.ManagedBy} // It stands alone.
		}
		return server, other
	}
	t.Fatalf("no server of testdata sets %s", path)
	return nil, nil
}

// TestFields holds the table against what is built: a live field leaves the pod
// template byte for byte alone, one that concerns other objects only also the
// configuration. Every field has its edit.
func TestFields(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/fields.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		t.Fatal(err)
	}
	for _, field := range resources.Fields() {
		value, ok := values[field.Path]
		delete(values, field.Path)
		t.Run(field.Path, func(t *testing.T) {
			t.Parallel()
			if !ok {
				t.Fatal("testdata/fields.yaml has no other value for it")
			}
			before, after := withEdit(t, field.Path, value)
			if cmp.Equal(before.Spec, after.Spec) {
				t.Fatal("testdata/fields.yaml has the same value for it")
			}
			if got := effectOf(build(t, before), build(t, after)); got != field.Effect {
				t.Errorf("another value is %q, the table says %q %s", got, field.Effect, field.OnlyIf)
			}
			change, err := resources.Compare(before, after, defaults)
			if err != nil {
				t.Fatal(err)
			}
			if len(change.Fields) == 0 || change.Rolls != (field.Effect == resources.Rolls) {
				t.Errorf("Compare() = %+v", change)
			}
			for _, changed := range change.Fields {
				// A change of the manager takes the other fields with it.
				if changed.Effect != field.Effect {
					t.Errorf("Compare() says that %s is %q, want %q", changed.Path, changed.Effect, field.Effect)
				}
			}
		})
	}
	for path := range values {
		t.Errorf("testdata/fields.yaml has %s, which is no field", path)
	}
}

// Every field of the CRD is in the table, itself or by the field that it is a
// part of, and the table has no other.
func TestFieldsAreThoseOfTheCRD(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../config/crd/fairlead.dev_mcpservers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatal(err)
	}
	var table []string
	for _, field := range resources.Fields() {
		if field.Effect == "" {
			t.Errorf("%s has no effect", field.Path)
		}
		table = append(table, field.Path)
	}
	var leaves []string
	var walk func(path string, s *apiextensionsv1.JSONSchemaProps)
	walk = func(path string, s *apiextensionsv1.JSONSchemaProps) {
		if slices.Contains(table, path) || len(s.Properties) == 0 && s.Items == nil {
			leaves = append(leaves, path)
			return
		}
		if s.Items != nil {
			walk(path+"[]", s.Items.Schema)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			child := s.Properties[name]
			walk(path+"."+name, &child)
		}
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	walk("spec", &spec)
	slices.Sort(table)
	slices.Sort(leaves)
	if diff := cmp.Diff(leaves, table); diff != "" {
		t.Errorf("fields (-CRD +table):\n%s", diff)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	type spec = fairleadv1alpha1.MCPServerSpec
	tests := []struct {
		name string
		edit func(*spec)
		want resources.Change
	}{
		{"nothing", func(*spec) {}, resources.Change{}},
		{"the same schema in another order of keys", func(s *spec) {
			s.Tools[0].InputSchema.Raw = []byte(`{"required":["id"],"properties":{"verbose":{"type":"boolean"},"id":{"pattern":"^[0-9]+$","type":"string"}},"type":"object"}`)
		}, resources.Change{}},
		{"a tool changed, one added, one removed", func(s *spec) {
			s.Tools[0].Description = "Another."
			s.Tools[1].Name = "new"
		}, resources.Change{
			Fields: []resources.FieldChange{
				{Path: "spec.tools[get_order].description", Effect: resources.Live},
				{Path: "spec.tools[new]", Effect: resources.Live},
				{Path: "spec.tools[refund]", Effect: resources.Live},
			},
			Tools: resources.ToolsChange{Added: []string{"new"}, Removed: []string{"refund"}, Changed: []string{"get_order"}},
		}},
		{"another order", func(s *spec) { slices.Reverse(s.Tools) }, resources.Change{
			Fields: []resources.FieldChange{{Path: "spec.tools", Effect: resources.Live}},
		}},
		{"a tool with its Secret removed", func(s *spec) { s.Tools = s.Tools[:1] }, resources.Change{
			Fields: []resources.FieldChange{{Path: "spec.tools[refund]", Effect: resources.Rolls}},
			Tools:  resources.ToolsChange{Removed: []string{"refund"}},
			Rolls:  true, Why: []string{`Secret "second.example.com" is named no longer`},
		}},
		{"a header with a new Secret", func(s *spec) {
			s.Tools[0].HTTP.HeadersFrom = append(s.Tools[0].HTTP.HeadersFrom, fairleadv1alpha1.HeaderFromSecret{
				Name: "X-New", SecretKeyRef: fairleadv1alpha1.SecretKeyRef{Name: "new", Key: "key"},
			})
		}, resources.Change{
			Fields: []resources.FieldChange{{Path: "spec.tools[get_order].http.headersFrom[X-New]", Effect: resources.Rolls}},
			Tools:  resources.ToolsChange{Changed: []string{"get_order"}},
			Rolls:  true, Why: []string{`new Secret "new"`},
		}},
		{"a header from the Secret that is always mounted", func(s *spec) {
			s.Tools[0].HTTP.HeadersFrom = append(s.Tools[0].HTTP.HeadersFrom, fairleadv1alpha1.HeaderFromSecret{
				Name: "X-New", SecretKeyRef: fairleadv1alpha1.SecretKeyRef{Name: "orders-mcp-credentials", Key: "key"},
			})
		}, resources.Change{
			Fields: []resources.FieldChange{{Path: "spec.tools[get_order].http.headersFrom[X-New]", Effect: resources.Live}},
			Tools:  resources.ToolsChange{Changed: []string{"get_order"}},
		}},
		{"pods", func(s *spec) {
			s.Pod = &fairleadv1alpha1.Pod{Image: "other:1"}
			s.Drain = &fairleadv1alpha1.Drain{Window: new(fairleadv1alpha1.Duration("2m")), CallTimeout: new(fairleadv1alpha1.Duration("10s"))}
			s.Replicas = new(int32(5))
		}, resources.Change{
			Fields: []resources.FieldChange{
				{Path: "spec.replicas", Effect: resources.ObjectsOnly},
				{Path: "spec.drain.window", Effect: resources.Rolls},
				{Path: "spec.drain.callTimeout", Effect: resources.Rolls},
				{Path: "spec.pod.image", Effect: resources.Rolls},
			},
			Rolls: true, Why: []string{"spec.pod.image", "leaving takes up to 2m0s instead of 30s"},
		}},
		{"closed", func(s *spec) {
			s.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{}
			s.Drain = &fairleadv1alpha1.Drain{Window: new(fairleadv1alpha1.Duration("1s"))}
		}, resources.Change{Fields: []resources.FieldChange{{Path: "spec.drain.window", Effect: resources.Live}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before, after := readServer(t, "testdata/orders/server.yaml"), readServer(t, "testdata/orders/server.yaml")
			tt.edit(&after.Spec)
			got, err := resources.Compare(before, after, defaults)
			if err != nil {
				t.Fatal(err)
			}
			got.Objects = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Compare() (-want +got):\n%s", diff)
			}
			if rolls := effectOf(build(t, before), build(t, after)) == resources.Rolls; rolls != got.Rolls {
				t.Errorf("Compare() says that it rolls: %t, but it is %t", got.Rolls, rolls)
			}
		})
	}
}

func TestCompareObjects(t *testing.T) {
	t.Parallel()
	before, after := readServer(t, "testdata/autoscaling/server.yaml"), readServer(t, "testdata/autoscaling/server.yaml")
	after.Spec.Autoscaling = nil
	after.Spec.Tools[0].Description = "Another."
	after.Spec.Exposure = &fairleadv1alpha1.Exposure{Ingress: &fairleadv1alpha1.IngressExposure{Hosts: []string{"a.example"}}}
	change, err := resources.Compare(before, after, defaults)
	if err != nil {
		t.Fatal(err)
	}
	want := []resources.ObjectChange{
		{Kind: "ConfigMap", Name: build(t, after).ConfigMap.Name, Action: resources.Changed},
		{Kind: "Deployment", Name: "autoscaling-mcp", Action: resources.Changed},
		{Kind: "Ingress", Name: "autoscaling-mcp", Action: resources.Created},
		{Kind: "HorizontalPodAutoscaler", Name: "autoscaling-mcp", Action: resources.Removed},
	}
	if diff := cmp.Diff(want, change.Objects); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// An empty list in the place of none closes the network: it must not look like
// no change.
func TestCompareEmptyLists(t *testing.T) {
	t.Parallel()
	before, after := readServer(t, "testdata/network-closed/server.yaml"), readServer(t, "testdata/network-closed/server.yaml")
	after.Spec.NetworkPolicy = nil
	change, err := resources.Compare(before, after, defaults)
	if err != nil || len(change.Fields) != 2 || len(change.Objects) != 1 {
		t.Errorf("Compare() = %+v, %v", change, err)
	}
}

// Mending what did not compile is when a comparison is wanted most.
func TestCompareWithABrokenSpec(t *testing.T) {
	t.Parallel()
	good, bad := readServer(t, "testdata/orders/server.yaml"), readServer(t, "testdata/orders/server.yaml")
	bad.Spec.Tools[0].HTTP.URL = "https://{"
	change, err := resources.Compare(bad, good, defaults)
	if err != nil || change.Old == nil || len(change.Fields) != 1 {
		t.Errorf("Compare(bad, good) = %+v, %v", change, err)
	}
	if _, err := resources.Compare(good, bad, defaults); err == nil || !strings.Contains(err.Error(), "spec.tools[0].http.url") {
		t.Errorf("Compare(good, bad) = %v", err)
	}
}
