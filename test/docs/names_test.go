// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	makeTarget = regexp.MustCompile(`(?:^|[^a-z-])make ([a-z][a-z0-9-]*)`)
	targetLine = regexp.MustCompile(`(?m)^([a-zA-Z0-9_-]+):`)
)

// TestMakeTargets: what documents tell to make exists.
func TestMakeTargets(t *testing.T) {
	t.Parallel()
	targets := map[string]bool{}
	for _, m := range targetLine.FindAllStringSubmatch(page(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, d := range documents(t) {
		for _, snippet := range snippets(d.text) {
			for _, m := range makeTarget.FindAllStringSubmatch(snippet, -1) {
				if !targets[m[1]] {
					t.Errorf("%s says `make %s`: the Makefile has no such target", d.path, m[1])
				}
			}
		}
	}
}

var (
	pluginCall = regexp.MustCompile(`(?:kubectl[ -]fairlead|\./kubectl-fairlead)(?: +([a-z]+)(.*))?$`)
	flagWord   = regexp.MustCompile(`^(--[a-z][a-z-]*|-[a-zA-Z])(?:=.*)?$`)
)

// TestPluginCommands: each command of kubectl fairlead that documents name
// exists and has the flags that stand behind it.
func TestPluginCommands(t *testing.T) {
	t.Parallel()
	help := map[string]string{}
	called := 0
	for _, d := range guides(t) {
		for _, snippet := range snippets(d.text) {
			// Only the part before a pipe or a comment is the plugin's.
			snippet, _, _ = strings.Cut(snippet, " | ")
			snippet, _, _ = strings.Cut(snippet, " #")
			m := pluginCall.FindStringSubmatch(snippet)
			if len(m) == 0 || m[1] == "" {
				continue
			}
			called++
			if _, known := help[m[1]]; !known {
				help[m[1]] = helpOf(t, m[1])
			}
			if help[m[1]] == "" {
				t.Errorf("%s says `%s`: there is no command %q", d.path, snippet, m[1])
				continue
			}
			for word := range strings.FieldsSeq(m[2]) {
				if f := flagWord.FindStringSubmatch(word); len(f) > 0 && !hasFlag(help[m[1]], f[1]) {
					t.Errorf("%s says `%s`: %s has no flag %s", d.path, snippet, m[1], f[1])
				}
			}
		}
	}
	if called < 10 {
		t.Errorf("only %d commands were found", called)
	}
}

// helpOf is the help of a command of the plugin; empty if there is none.
func helpOf(t *testing.T, command string) string {
	t.Helper()
	out, err := runPlugin(t, command, "--help")
	if err != nil || !strings.Contains(out, "kubectl fairlead "+command) {
		return ""
	}
	return out
}

func hasFlag(help, flag string) bool {
	return regexp.MustCompile(`(?m)^\s+(?:-[a-zA-Z], )?` + regexp.QuoteMeta(flag) + `\b`).MatchString(help)
}

var flagSource = regexp.MustCompile(`\.(?:String|StringSlice|Bool|Int|Int32|Text|Duration)Var\([^,]+, "([a-z-]+)"`)

// foreignFlags belong to other programs.
var foreignFlags = []string{"--server-side", "--header", "--previous", "--force-conflicts"}

// TestLoneFlags: a flag that is named by itself is one of our programs'.
func TestLoneFlags(t *testing.T) {
	t.Parallel()
	var help strings.Builder
	for _, command := range []string{"lint", "render", "serve", "tools", "call", "watch", "diff", "history", "rollback", "refresh"} {
		help.WriteString(helpOf(t, command))
	}
	// The other two programs declare their flags in one file each.
	declared := map[string]bool{}
	for _, path := range []string{"runtime/main.go", "controllers/manager/options.go"} {
		for _, m := range flagSource.FindAllStringSubmatch(page(t, path), -1) {
			declared[m[1]] = true
		}
	}
	if !declared["secrets-dir"] || !declared["runtime-image"] {
		t.Fatalf("flags of the runtime or the operator were not found: %v", declared)
	}
	for _, d := range guides(t) {
		for _, span := range spans(d.text) {
			word, _, _ := strings.Cut(span, " ")
			m := flagWord.FindStringSubmatch(word)
			if len(m) == 0 || slices.Contains(foreignFlags, m[1]) {
				continue
			}
			name := strings.TrimLeft(m[1], "-")
			if !hasFlag(help.String(), m[1]) && !declared[name] {
				t.Errorf("%s names the flag `%s`, which no program here has", d.path, m[1])
			}
		}
	}
}

var (
	metricName   = regexp.MustCompile(`\bfairlead_[a-z_]*[a-z]`)
	metricSource = regexp.MustCompile(`"(fairlead_[a-z_]+)"`)
)

// TestMetrics: each metric that documents name is registered somewhere.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registered := map[string]bool{}
	for _, source := range sources(t, "runtime", "controllers") {
		for _, m := range metricSource.FindAllStringSubmatch(source, -1) {
			registered[m[1]] = true
		}
	}
	if len(registered) < 10 {
		t.Fatalf("only %d metrics were found", len(registered))
	}
	for _, d := range guides(t) {
		for _, name := range metricName.FindAllString(d.text, -1) {
			family := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				family = strings.TrimSuffix(family, suffix)
			}
			if !registered[name] && !registered[family] {
				t.Errorf("%s names the metric %s, which nothing registers", d.path, name)
			}
		}
	}
}

// sources are the Go files below folders, tests left out.
func sources(t *testing.T, folders ...string) []string {
	t.Helper()
	var all []string
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			all = append(all, string(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

var fieldPath = regexp.MustCompile(`^(?:spec\.)?((?:auth|autoscaling|limits|transports|browser|exposure|networkPolicy|service|rollout|drain|logging|pod)\.[A-Za-z.]+)(?:: .*)?$`)

// TestFields: each field that documents name by its path exists.
func TestFields(t *testing.T) {
	t.Parallel()
	reference := page(t, "docs/reference/mcpserver.md")
	for _, d := range guides(t) {
		for _, span := range spans(d.text) {
			m := fieldPath.FindStringSubmatch(span)
			if len(m) > 0 && !strings.Contains(reference, "`spec."+m[1]+"`") {
				t.Errorf("%s names the field `%s`, which an MCPServer does not have", d.path, span)
			}
		}
	}
}
