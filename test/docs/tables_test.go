// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/exposure"
	"fairlead.dev/fairlead/runtime/config"
)

// rowsAfter returns the cells of the first table behind a marker.
func rowsAfter(t *testing.T, text, marker string) [][]string {
	t.Helper()
	_, after, ok := strings.Cut(text, marker)
	if !ok {
		t.Fatalf("%q was not found", marker)
	}
	var table [][]string
	for line := range strings.Lines(after) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if len(table) > 0 {
				break
			}
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		table = append(table, cells)
	}
	if len(table) < 3 {
		t.Fatalf("no table follows %q", marker)
	}
	return table[2:]
}

// coded returns the code spans of one column, sorted.
func coded(table [][]string, column int) []string {
	var all []string
	for _, row := range table {
		for _, m := range codeSpan.FindAllStringSubmatch(row[column], -1) {
			all = append(all, m[1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// constants returns the values of a file's string constants with a prefix.
func constants(t *testing.T, path, prefix string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, value)
		}
		return true
	})
	if len(all) == 0 {
		t.Fatalf("%s has no constants %s...", path, prefix)
	}
	slices.Sort(all)
	return all
}

// TestConditions: the guide has a row for every condition, and no other. The
// reasons are the runbooks' alone.
func TestConditions(t *testing.T) {
	t.Parallel()
	want := constants(t, "api/v1alpha1/conditions.go", "Condition")
	got := coded(rowsAfter(t, page(t, "docs/guides/operations.md"), "## Read the status"), 0)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of conditions (-api +guide):\n%s", diff)
	}
}

var refusalCode = regexp.MustCompile(`\bCode: *"([a-z_]+)"`)

// TestRefusals: the guides have a row for every refusal, and no other.
func TestRefusals(t *testing.T) {
	t.Parallel()
	want := constants(t, "runtime/internal/auth/auth.go", "Code")
	want = append(want, constants(t, "runtime/internal/limit/limit.go", "ReasonStreams")...)
	for _, source := range sources(t, "runtime/internal/transport", "runtime/internal/peer", "runtime/internal/httpserver") {
		for _, m := range refusalCode.FindAllStringSubmatch(source, -1) {
			want = append(want, m[1])
		}
	}
	slices.Sort(want)
	got := coded(rowsAfter(t, page(t, "docs/guides/operations.md"), "## Refusals"), 1)
	got = append(got, coded(rowsAfter(t, page(t, "docs/guides/access.md"), "## What a refusal looks like"), 1)...)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" {
		t.Errorf("the tables of refusals (-code +guides):\n%s", diff)
	}
}

// TestLimits: the defaults of the guide are those of the contract.
func TestLimits(t *testing.T) {
	t.Parallel()
	d := (&config.Server{}).WithDefaults()
	size := func(n int64) string { return fmt.Sprintf("%dMi", n>>20) }
	number := func(n int) string {
		if n >= 1000 {
			return fmt.Sprintf("%d,%03d", n/1000, n%1000)
		}
		return strconv.Itoa(n)
	}
	short := func(v config.Duration) string {
		text := time.Duration(v).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
	want := map[string]string{
		"`limits.connections.perReplica`, open streams": number(d.Limits.Connections.PerReplica),
		"`limits.sessions.max`":                         number(d.Limits.Sessions.Max),
		"`limits.sessions.idleTimeout`, `maxAge`":       short(d.Limits.Sessions.IdleTimeout) + ", " + short(d.Limits.Sessions.MaxAge),
		"`limits.maxInFlightCalls`":                     number(d.Limits.MaxInFlightCalls),
		"`limits.maxInFlightPerPrincipal`":              number(d.Limits.MaxInFlightPerPrincipal),
		"`limits.maxRequestSize`":                       size(d.Limits.MaxRequestSize),
		"`limits.maxResponseSize`":                      size(d.Limits.MaxResponseSize),
	}
	got := map[string]string{}
	for _, row := range rowsAfter(t, page(t, "docs/guides/operations.md"), "## Limits") {
		if strings.HasPrefix(row[0], "`") {
			got[row[0]] = row[1]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of limits (-contract +guide):\n%s", diff)
	}
}

// TestExposure: the guide's tables of profiles are what the code writes; -update
// writes them.
func TestExposure(t *testing.T) {
	t.Parallel()
	const path = "docs/guides/exposure.md"
	text := page(t, path)
	want := between(t, between(t, text, "controllers", controllerTable()), "profiles", profileTable())
	if *update {
		if err := os.WriteFile(filepath.Join(root, path), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, page(t, path)); diff != "" {
		t.Errorf("%s is not what the code writes: run go test ./test/docs -update (-code +guide):\n%s", path, diff)
	}
}

// between replaces what stands between the marks of a generated part.
func between(t *testing.T, text, name, content string) string {
	t.Helper()
	begin := "<!-- begin " + name + ": written by go test ./test/docs -update -->\n"
	end := "<!-- end " + name + " -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("the marks of %q were not found", name)
	}
	return before + begin + content + end + after
}

// profiles are those that have settings, as the API lists them.
var profiles = []fairleadv1alpha1.ExposureProfile{
	fairleadv1alpha1.ProfileIngressNginx, fairleadv1alpha1.ProfileNginxInc, fairleadv1alpha1.ProfileTraefik, fairleadv1alpha1.ProfileHAProxy,
}

// controllerTable says which controller leads to which profile; the names are
// those that the implementations' own manifests give.
func controllerTable() string {
	var out strings.Builder
	out.WriteString("| `spec.controller` of the IngressClass | profile |\n| --- | --- |\n")
	for _, controller := range []string{
		"k8s.io/ingress-nginx", "nginx.org/ingress-controller", "traefik.io/ingress-controller",
		"haproxy.org/ingress-controller", "haproxy.org/ingress-controller/NAME",
	} {
		fmt.Fprintf(&out, "| `%s` | `%s` |\n", controller, exposure.Detect(controller))
	}
	return out.String()
}

func profileTable() string {
	var out strings.Builder
	out.WriteString("| profile | on the | annotation | value |\n| --- | --- | --- | --- |\n")
	for _, profile := range profiles {
		settings := exposure.For(profile, exposure.Route{ServiceName: "orders-mcp", Path: "/orders", TLS: true})
		for _, part := range []struct {
			object      string
			annotations map[string]string
		}{{"Ingress", settings.Ingress}, {"Service", settings.Service}} {
			for _, key := range slices.Sorted(maps.Keys(part.annotations)) {
				fmt.Fprintf(&out, "| `%s` | %s | `%s` | `%s` |\n", profile, part.object, key, part.annotations[key])
			}
		}
	}
	return out.String()
}

// TestProfilesAreComplete: no profile of the API is missing in the table.
func TestProfilesAreComplete(t *testing.T) {
	t.Parallel()
	var got []string
	for _, p := range append(slices.Clone(profiles), fairleadv1alpha1.ProfileAuto, fairleadv1alpha1.ProfileNone) {
		got = append(got, string(p))
	}
	slices.Sort(got)
	want := constants(t, "api/v1alpha1/exposure_types.go", "Profile")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("profiles (-api +table):\n%s", diff)
	}
}
