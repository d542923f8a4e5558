// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/admission"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
	"fairlead.dev/fairlead/test/apiserver"
)

// admin talks to a real API server, which is asked for its verdict only.
var admin client.Client

func TestMain(m *testing.M) {
	apiserver.Main(m, func(server *apiserver.Server) (_ func() error, err error) {
		admin, err = client.New(server.Config, client.Options{})
		return nil, err
	})
}

// server is a manifest with one tool and the rest of spec.
func server(tool, rest string) string {
	return "apiVersion: fairlead.dev/v1alpha1\nkind: MCPServer\nmetadata: {name: demo, namespace: default}\nspec:\n  tools:\n  - " +
		strings.ReplaceAll(tool, "\n", "\n  ") + "\n  " + strings.ReplaceAll(rest, "\n", "\n  ") + "\n"
}

const (
	good = `{name: echo, description: Say it., static: {content: [{text: hello}]}}`
	open = `auth: {anonymousAccess: Allowed}`
)

// cases name the exact problems. Where admits is set, the API server takes the
// object and only the operator refuses it.
var cases = []struct {
	name     string
	manifest string
	admits   bool
	want     []string
}{
	{name: "right", manifest: server(good, open), admits: true},
	{name: "unknown field", manifest: server(good, open+"\nreplica: 2"), want: []string{
		"spec.replica: unknown field",
	}},
	{name: "wrong case of a field", manifest: server(good, open+"\nToolS: []"), want: []string{
		"spec.ToolS: unknown field",
	}},
	{name: "no auth", manifest: server(good, "title: Demo"), want: []string{
		"spec.auth: Required value",
	}},
	{name: "nobody may come in", manifest: server(good, "auth: {}"), want: []string{
		"spec.auth: Invalid value: auth must name at least one way in: set auth.apiKeys, or auth.anonymousAccess: Allowed to let everybody in",
	}},
	{name: "an enum", manifest: server(good, "auth: {anonymousAccess: Sometimes}"), want: []string{
		`spec.auth.anonymousAccess: Unsupported value: "Sometimes": supported values: "Allowed", "Denied"`,
	}},
	{name: "a type", manifest: server(good, open+"\nreplicas: two"), want: []string{
		`spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"`,
	}},
	{name: "a bound", manifest: server(good, open+"\nreplicas: 1001"), want: []string{
		"spec.replicas: Invalid value: 1001: spec.replicas in body should be less than or equal to 1000",
	}},
	{name: "a duration", manifest: server(good, open+"\ndrain: {window: 2h}"), want: []string{
		`spec.drain.window: Invalid value: "2h": must be a duration from 1s to 1h, such as 30s`,
	}},
	{name: "two tools of one name", manifest: server(good+"\n- "+good, open), want: nil},
	{name: "two backends", manifest: server(`{name: a, description: d, static: {content: [{text: t}]}, http: {url: "http://a.b.svc/"}}`, open), want: []string{
		"spec.tools[0]: Invalid value: exactly one of the fields in [http static] must be set",
	}},
	{name: "a name", manifest: strings.Replace(server(good, open), "name: demo", "name: 9demo", 1), want: []string{
		"Invalid value: metadata.name must be at most 48 characters of a-z, 0-9 and '-', begin with a letter and end with a letter or digit: children are named <name>-mcp and the Service name must be a DNS label",
	}},
	{name: "several at once", manifest: server(`{name: "a b", description: ""}`, "auth: {defaultAccess: Maybe}"), want: []string{
		`spec.auth.defaultAccess: Unsupported value: "Maybe": supported values: "Allowed", "Denied"`,
		`spec.tools[0].description: Invalid value: "": spec.tools[0].description in body should be at least 1 chars long`,
		`spec.tools[0].name: Invalid value: "a b": spec.tools[0].name in body should match '^[A-Za-z0-9_.-]+$'`,
	}},
	{name: "an unknown name in a template", admits: true, manifest: server(`{name: a, description: d, static: {content: [{text: "${argument.x}"}]}}`, open), want: []string{
		"spec.tools[0].static.content[0].text: column 3: undeclared reference to 'argument' (did you mean 'arguments'?)",
	}},
	{name: "a backend on the node", admits: true, manifest: server(`{name: a, description: d, http: {url: "http://127.0.0.1/"}}`, open), want: nil},
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	judge, err := admission.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects, bad := manifest.Parse("a.yaml", []byte(tt.manifest))
			if len(bad) > 0 || len(objects) != 1 {
				t.Fatalf("Parse = %v, %v", objects, bad)
			}
			verdict := judge.Server(t.Context(), objects[0], resources.Defaults{})
			var got []string
			for _, p := range verdict.Problems {
				if p.File != "a.yaml" || p.Object != objects[0].String() {
					t.Errorf("a problem of %s %s, want a.yaml %s", p.File, p.Object, objects[0])
				}
				got = append(got, strings.TrimPrefix(p.Path+": "+p.Message, ": "))
			}
			if tt.want != nil || tt.name == "right" {
				slices.Sort(got)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
			} else if len(got) == 0 {
				t.Error("no problem was found")
			}
			compare(t, &objects[0].Unstructured, tt.admits, got)
		})
	}
}

// compare asks the API server for its verdict on the same object.
func compare(t *testing.T, object *unstructured.Unstructured, admits bool, got []string) {
	t.Helper()
	err := admin.Create(t.Context(), object.DeepCopy(), client.DryRunAll, client.FieldValidation("Strict"))
	if admits {
		if err != nil {
			t.Errorf("the API server refuses what only the operator should: %v", err)
		}
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("the API server says %v, want a refusal", err)
	}
	var want []string
	if details := status.Status().Details; details != nil {
		for _, cause := range details.Causes {
			want = append(want, strings.TrimPrefix(strings.TrimPrefix(cause.Field+": "+cause.Message, "<nil>: "), ": "))
		}
	}
	if len(want) == 0 { // The decoder's refusal, of unknown fields.
		for _, g := range got {
			path := strings.TrimSuffix(g, ": unknown field")
			if !strings.Contains(err.Error(), fmt.Sprintf("unknown field %q", path)) {
				t.Errorf("the API server says %v, which has nothing of %q", err, g)
			}
		}
		return
	}
	// It adds a note that rules were not run, and says the same again for the
	// scale subresource.
	want = slices.DeleteFunc(want, func(s string) bool {
		return strings.Contains(s, "some validation rules were not checked") || strings.HasPrefix(s, ".spec.replicas: ")
	})
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the API server differs (-API server +lint):\n%s", diff)
	}
}

func TestAnotherVersion(t *testing.T) {
	t.Parallel()
	judge, err := admission.New()
	if err != nil {
		t.Fatal(err)
	}
	objects, _ := manifest.Parse("a.yaml", []byte("apiVersion: fairlead.dev/v9\nkind: MCPServer\nmetadata: {name: a}\n"))
	verdict := judge.Server(t.Context(), objects[0], resources.Defaults{})
	want := []manifest.Problem{{File: "a.yaml", Object: "MCPServer a", Path: "apiVersion", Message: "fairlead.dev/v9 is unknown: use fairlead.dev/v1alpha1"}}
	if diff := cmp.Diff(want, verdict.Problems); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
