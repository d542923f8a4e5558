// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package changes_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/changes"
)

func spec(t *testing.T, text string) *fairleadv1alpha1.MCPServerSpec {
	t.Helper()
	s := &fairleadv1alpha1.MCPServerSpec{}
	if err := yaml.UnmarshalStrict([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

const base = `
auth: {anonymousAccess: Allowed}
limits: {maxInFlightCalls: 10}
browser: {allowedOrigins: [https://a.example]}
tools:
- name: one
  description: First.
  inputSchema: {type: object, properties: {id: {type: string}}, required: [id]}
  http: {url: "http://a.b.svc/", headersFrom: [{name: A, secretKeyRef: {name: s, key: k}}]}
- name: two
  static: {content: [{text: a}, {text: b}]}
- name: three
  static: {content: [{text: a}]}
`

func TestBetween(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("abcdefghi ", 10)
	tests := []struct {
		name    string
		replace []string
		want    string
		fields  []string
	}{
		{name: "equal", want: "nothing"},
		{
			name: "a field", replace: []string{"maxInFlightCalls: 10", "maxInFlightCalls: 20"},
			want: "limits.maxInFlightCalls", fields: []string{"limits.maxInFlightCalls: 10 -> 20"},
		},
		{
			name: "a whole object", replace: []string{"limits: {maxInFlightCalls: 10}\n", ""},
			want: "limits", fields: []string{`limits: {"maxInFlightCalls":10} -> (unset)`},
		},
		{
			name: "a list of words", replace: []string{"[https://a.example]", "[https://a.example, https://b.example]"},
			want: "browser.allowedOrigins", fields: []string{`browser.allowedOrigins: ["https://a.example"] -> ["https://a.example","https://b.example"]`},
		},
		{
			name: "a tool's description", replace: []string{"First.", "The <first>."},
			want: "~one", fields: []string{`one: description: "First." -> "The <first>."`},
		},
		{
			name: "an item of a list", replace: []string{"{text: b}", "{text: c}"},
			want: "~two", fields: []string{`two: static.content[1].text: "b" -> "c"`},
		},
		{
			name: "a named item of a list", replace: []string{"key: k", "key: other"},
			want: "~one", fields: []string{`one: http.headersFrom[A].secretKeyRef.key: "k" -> "other"`},
		},
		{
			name: "a tool is switched off", replace: []string{"- name: two\n", "- name: two\n  state: Disabled\n"},
			want: "-two", fields: []string{`two: state: (unset) -> "Disabled"`},
		},
		{
			name: "tools come and go", replace: []string{"name: two", "name: second"},
			want: "+second -two",
		},
		{
			name:    "only the order of tools",
			replace: []string{"- name: two\n  static: {content: [{text: a}, {text: b}]}\n- name: three\n  static: {content: [{text: a}]}\n", "- name: three\n  static: {content: [{text: a}]}\n- name: two\n  static: {content: [{text: a}, {text: b}]}\n"},
			want:    "order of tools",
		},
		{
			name: "long texts are cut to what differs", replace: []string{"First.", long + "end"},
			want: "~one", fields: []string{`one: description: "First." -> "abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefgh…`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			after := strings.NewReplacer(tt.replace...).Replace(base)
			got, err := changes.Between(spec(t, base), spec(t, after))
			if err != nil {
				t.Fatal(err)
			}
			if got.Summary() != tt.want || got.Empty() != (tt.want == "nothing") {
				t.Errorf("Summary() = %q, want %q (empty: %v)", got.Summary(), tt.want, got.Empty())
			}
			if diff := cmp.Diff(tt.fields, lines(got)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func lines(s changes.Spec) []string {
	var all []string
	for _, f := range s.Fields {
		all = append(all, f.String())
	}
	for _, tool := range s.Changed {
		for _, f := range tool.Fields {
			all = append(all, tool.Name+": "+f.String())
		}
	}
	return all
}

func TestLongValuesAreCutAroundTheDifference(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 10)
	got := changes.Field{Path: "description", Old: long + "old", New: long + "new" + long}.String()
	if !strings.Contains(got, `old" -> …`) || !strings.Contains(got, "new0123") || len([]rune(got)) > 160 {
		t.Errorf("String() = %s", got)
	}
}
