// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	// fileLines and functionLines bound hand-written Go outside of tests; the linter's funlen counts the same way.
	fileLines     = 400
	functionLines = 60
)

func TestHeaders(t *testing.T) {
	t.Parallel()
	const first, second = "Copyright The Fairlead Authors.", "SPDX-License-Identifier: Apache-2.0"
	header := read(t, "hack/boilerplate.go.txt")
	if want := "// " + first + "\n// " + second + "\n"; header != want {
		t.Fatalf("hack/boilerplate.go.txt is %q, want %q", header, want)
	}
	sources := files(t, ".go")
	if !slices.Contains(sources, "test/repo/sources_test.go") {
		t.Fatalf("git lists %d Go files, without this one", len(sources))
	}
	for _, path := range sources {
		content := read(t, path)
		if generated(content) {
			if !strings.Contains(content, header) {
				t.Errorf("%s is generated without the licence header", path)
			}
			continue
		}
		if !strings.HasPrefix(content, header+"\n") {
			t.Errorf("%s does not begin with the two lines of hack/boilerplate.go.txt and an empty one", path)
		}
	}
	for _, path := range append(files(t, ".sh", "Makefile", "Dockerfile"), ".ci/run") {
		if !strings.Contains(head(read(t, path), 4), "# "+first+"\n# "+second+"\n") {
			t.Errorf("%s lacks the licence header in its first lines", path)
		}
	}
}

// head returns the first n lines.
func head(content string, n int) string {
	lines := strings.SplitAfterN(content, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, path := range files(t, ".go") {
		content := read(t, path)
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/testdata/") || generated(content) {
			continue
		}
		if n := strings.Count(content, "\n"); n > fileLines {
			t.Errorf("%s has %d lines, more than %d: split it by concern", path, n, fileLines)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("failed to parse: %v", err)
			continue
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				if n := length(set, file, f, strings.Split(content, "\n")); n > functionLines {
					t.Errorf("%s: %s has %d lines, more than %d", set.Position(f.Pos()), f.Name.Name, n, functionLines)
				}
			}
		}
	}
}

// length counts the lines between the first and the last of a function, without those that hold only a comment.
func length(set *token.FileSet, file *ast.File, f *ast.FuncDecl, lines []string) int {
	n := set.Position(f.End()).Line - set.Position(f.Pos()).Line - 1
	for _, group := range file.Comments {
		if group.Pos() < f.Body.Pos() || group.End() > f.End() {
			continue
		}
		for _, c := range group.List {
			start, end := set.Position(c.Pos()).Line, set.Position(c.End()).Line
			if strings.HasPrefix(strings.TrimSpace(lines[start-1]), c.Text[:2]) {
				n -= end - start + 1
			}
		}
	}
	return n
}

func TestLengthLeavesCommentsOut(t *testing.T) {
	t.Parallel()
	source := "package p\n\nfunc f() {\n\t// One.\n\ta() // two\n\t/* three\n\tfour */\n\tb()\n}\n"
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := file.Decls[0].(*ast.FuncDecl)
	if !ok {
		t.Fatal("no function")
	}
	if got := length(set, file, f, strings.Split(source, "\n")); got != 2 {
		t.Errorf("%d lines, want 2", got)
	}
}

// The texts that no file may hold, except this one.
var unwanted = []struct {
	what    string
	pattern *regexp.Regexp
	// only limits the rule to files that end so; empty: all files.
	only string
}{
	{what: "unfinished work", pattern: regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)},
	{what: "a conflict of a merge", pattern: regexp.MustCompile(`(?m)^(<{7} |>{7} )`)},
	{what: "a test that may be left out", pattern: regexp.MustCompile(`\b[tb]b?\.Skip(f|Now)?\(`), only: "_test.go"},
	{what: "a path of somebody's machine", pattern: regexp.MustCompile(`/(home|Users)/[a-z]+/`)},
	{what: "a carriage return", pattern: regexp.MustCompile("\r\n"), only: ".go"},
	{what: "a line that ends in a blank", pattern: regexp.MustCompile(`(?m)[ \t]+$`), only: ".go"},
	{what: "a line that ends in a blank", pattern: regexp.MustCompile(`(?m)[ \t]+$`), only: ".yaml"},
	{what: "a line that ends in a blank", pattern: regexp.MustCompile(`(?m)[ \t]+$`), only: ".sh"},
	{what: "a tab", pattern: regexp.MustCompile("\t"), only: ".yaml"},
	{what: "an address that depends on who locked it", pattern: regexp.MustCompile(`"resolved": "https?://`), only: "package-lock.json"},
}

func TestNothingUnwanted(t *testing.T) {
	t.Parallel()
	for _, path := range files(t) {
		if kept(path) {
			continue
		}
		content := read(t, path)
		for _, rule := range unwanted {
			if !strings.HasSuffix(path, rule.only) {
				continue
			}
			if at := rule.pattern.FindStringIndex(content); at != nil {
				t.Errorf("%s:%d: %s: %q", path, 1+strings.Count(content[:at[0]], "\n"), rule.what, content[at[0]:at[1]])
			}
		}
		if where := checkout(); where != "" && strings.Contains(content, where) {
			t.Errorf("%s names %s, where this checkout happens to be", path, where)
		}
	}
}

// kept says whether a file is kept byte for byte as somebody else wrote it, or is this one.
func kept(path string) bool {
	return path == "LICENSE" || path == "test/repo/sources_test.go" || strings.HasSuffix(path, ".sum") || strings.Contains(path, "/testdata/")
}

// checkout returns the folder around this checkout with a slash at its end, or nothing if it is one that any
// machine may have.
func checkout() string {
	above := filepath.Dir(root())
	if slices.Contains([]string{"/", "/tmp", "/src", "/usr/src", "/opt", "/srv", "/go", "/root", os.TempDir()}, above) {
		return ""
	}
	return above + "/"
}

func TestUnwantedTextsAreFound(t *testing.T) {
	t.Parallel()
	samples := []string{
		"// TODO: later", "<<<<<<< HEAD", "\tt.Skip(\"no network\")", "/home/me/src", "a\r\n", "a \nb", "a:  \n", "a\t\n", "\ta: b",
		`"resolved": "https://registry.example/a.tgz"`,
	}
	if len(samples) != len(unwanted) {
		t.Fatalf("%d samples for %d rules", len(samples), len(unwanted))
	}
	for i, rule := range unwanted {
		if !rule.pattern.MatchString(samples[i]) {
			t.Errorf("%s is not found in %q", rule.what, samples[i])
		}
	}
}
