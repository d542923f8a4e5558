// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the folder of the repository, seen from this package.
const root = "../.."

// document is one .md file of the repository.
type document struct {
	// path is relative to root.
	path string
	text string
}

// documents returns every .md file that git lists or is about to.
func documents(t *testing.T) []document {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md")
	command.Dir = root
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []document
	for path := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, path))
		if os.IsNotExist(err) {
			continue // Deleted and not committed yet.
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, document{path: path, text: string(data)})
	}
	if len(all) < 5 {
		t.Fatalf("git lists %d documents", len(all))
	}
	return all
}

// page is one document by its path.
func page(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// guides are the documents that users read. Decision records tell of what was
// or of what others do.
func guides(t *testing.T) []document {
	t.Helper()
	var all []document
	for _, d := range documents(t) {
		if !strings.HasPrefix(d.path, "docs/adr/") {
			all = append(all, d)
		}
	}
	return all
}

// fence is a fenced block of a document.
type fence struct {
	language string
	text     string
	// line is where it begins, from 1.
	line int
}

var fenceMark = regexp.MustCompile("^\\s*(`{3,}|~{3,})\\s*(\\S*)")

// fences returns the fenced blocks, and the text without them.
func fences(text string) (blocks []fence, prose string) {
	var (
		out   strings.Builder
		mark  string
		block *fence
	)
	for i, line := range strings.SplitAfter(text, "\n") {
		m := fenceMark.FindStringSubmatch(line)
		switch {
		case block == nil && m != nil:
			mark, block = m[1], &fence{language: strings.ToLower(m[2]), line: i + 1}
		case block != nil && m != nil && m[2] == "" && strings.HasPrefix(m[1], mark):
			blocks = append(blocks, *block)
			block = nil
		case block != nil:
			block.text += line
		default:
			out.WriteString(line)
		}
	}
	if block != nil {
		blocks = append(blocks, *block)
	}
	return blocks, out.String()
}

var (
	codeSpan  = regexp.MustCompile("`([^`]+)`")
	spanTicks = regexp.MustCompile("`[^`]*`")
)

// snippets are the commands of a document: its code spans, and the lines of its
// shell blocks, continued lines joined.
func snippets(text string) []string {
	blocks, prose := fences(text)
	var all []string
	for _, m := range codeSpan.FindAllStringSubmatch(prose, -1) {
		all = append(all, strings.Join(strings.Fields(m[1]), " "))
	}
	for _, b := range blocks {
		if b.language != "sh" && b.language != "bash" && b.language != "console" && b.language != "" {
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// spans are the code spans of a document's prose.
func spans(text string) []string {
	_, prose := fences(text)
	var all []string
	for _, m := range codeSpan.FindAllStringSubmatch(prose, -1) {
		all = append(all, m[1])
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: relative links lead to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		_, prose := fences(d.text)
		for _, m := range link.FindAllStringSubmatch(spanTicks.ReplaceAllString(prose, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			target, anchor, _ := strings.Cut(m[1], "#")
			path := d.path
			if target != "" {
				path = filepath.Join(filepath.Dir(d.path), target)
			}
			info, err := os.Stat(filepath.Join(root, path))
			if err != nil {
				t.Errorf("%s links to %s: %v", d.path, m[1], err)
				continue
			}
			if anchor != "" && (info.IsDir() || !anchors(page(t, path))[anchor]) {
				t.Errorf("%s links to %s: %s has no such heading", d.path, m[1], path)
			}
		}
	}
}

var (
	heading   = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the ids that GitHub gives to headings.
func anchors(text string) map[string]bool {
	_, prose := fences(text)
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		found[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return found
}
