// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		data     string
		want     []string
		problems []string
	}{
		{name: "nothing", data: ""},
		{name: "only comments", data: "# nothing here\n---\n# and here\n"},
		{name: "two documents", data: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n", want: []string{"Secret a", "ConfigMap shop/b"}},
		{name: "JSON", data: `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}`, want: []string{"Secret a"}},
		{name: "a list", data: "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n", want: []string{"Secret a", "Secret b"}},
		{name: "one bad document of two", data: "a: [\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", want: []string{"Secret a"}, problems: []string{"f.yaml: document 1: yaml: line 1: did not find expected node content"}},
		{name: "the third document, after comments and an empty one", data: "# a\n---\n---\n# b\nkind: Secret\napiVersion: v1\nmetadata: {name: a}\n--- # c\n\nkind: Secret\nkind: Secret\n", want: []string{"Secret a"}, problems: []string{`f.yaml: document 3: yaml: unmarshal errors:` + "\n" + `  line 11: key "kind" already set in map`}},
		{name: "a key twice", data: "apiVersion: v1\nkind: Secret\nkind: Secret\n", problems: []string{`f.yaml: document 1: yaml: unmarshal errors:` + "\n" + `  line 3: key "kind" already set in map`}},
		{name: "no object", data: "hello: world\n", problems: []string{"f.yaml: document 1: this is not a Kubernetes object: it needs apiVersion and kind"}},
		{name: "a word", data: "hello\n", problems: []string{"f.yaml: document 1: this is not a Kubernetes object: it needs apiVersion and kind"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects, problems := manifest.Parse("f.yaml", []byte(tt.data))
			var got, bad []string
			for _, o := range objects {
				got = append(got, o.String())
			}
			for _, p := range problems {
				bad = append(bad, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, bad); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", "b.json": `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"b"}}`, "c.txt": "no",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := t.TempDir()
	objects, problems := manifest.Read([]string{dir, "-", filepath.Join(dir, "no.yaml"), empty}, strings.NewReader("apiVersion: v1\nkind: Secret\nmetadata: {name: c}\n"))
	var got []string
	for _, o := range objects {
		got = append(got, o.File+" "+o.GetName())
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "a.yaml") + " a", filepath.Join(dir, "b.json") + " b", "- c"}, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	want := []manifest.Problem{
		{File: filepath.Join(dir, "no.yaml"), Message: "no such file or directory", Unreadable: true},
		{File: empty, Message: "the folder holds no .yaml, .yml or .json file", Unreadable: true},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		data    string
		want    map[string]map[string][]byte
		problem string
	}{
		{name: "a Secret", data: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {x: aGk=}\nstringData: {two: yo}\n", want: map[string]map[string][]byte{"a": {"x": []byte("hi"), "two": []byte("yo")}}},
		{name: "a ConfigMap", data: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: hi}\nbinaryData: {two: aGk=}\n", want: map[string]map[string][]byte{"a": {"x": []byte("hi"), "two": []byte("hi")}}},
		{name: "another kind of that name", data: "apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: a}\n", want: map[string]map[string][]byte{}},
		{name: "a key that leaves its folder", data: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {../x: yo}\n", want: map[string]map[string][]byte{}, problem: `f: Secret a: the key "../x" is not one of Kubernetes`},
		{name: "a name that leaves its folder", data: "apiVersion: v1\nkind: Secret\nmetadata: {name: ..}\n", want: map[string]map[string][]byte{}, problem: `f: Secret ..: the name ".." is not one of Kubernetes`},
		{name: "an unknown field", data: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringdata: {x: yo}\n", want: map[string]map[string][]byte{}, problem: `f: Secret a: unknown field "stringdata"`},
		{name: "one name twice", data: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", want: map[string]map[string][]byte{"a": {}}, problem: "f: ConfigMap a: another Secret or ConfigMap in the file has this name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects, _ := manifest.Parse("f", []byte(tt.data))
			got, problems := manifest.Folders(objects)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("folders (-want +got):\n%s", diff)
			}
			var bad []string
			for _, p := range problems {
				bad = append(bad, p.String())
			}
			if got := strings.Join(bad, "\n"); got != tt.problem {
				t.Errorf("problems = %q, want %q", got, tt.problem)
			}
		})
	}
}
