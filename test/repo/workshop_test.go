// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var (
	targetLine = regexp.MustCompile(`(?m)^([a-zA-Z0-9_-]+):([^=\n].*)?$`)
	phonyLine  = regexp.MustCompile(`(?m)^\.PHONY: (.+)$`)
	scriptName = regexp.MustCompile(`(?:^|\s)((?:hack|test)/[a-z0-9/-]+\.sh|\.ci/run)\b`)
	folderFlag = regexp.MustCompile(`go -C ([a-z/-]+)`)
	makeCall   = regexp.MustCompile("(?:^|[^a-z-])make ([a-z][a-z0-9-]*)")
)

// targets returns the targets of the Makefile with their help.
func targets(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range targetLine.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		_, help, _ := strings.Cut(m[2], "## ")
		found[m[1]] = help
	}
	return found
}

func TestEveryTargetHasHelp(t *testing.T) {
	t.Parallel()
	found := targets(t)
	var phony []string
	for _, m := range phonyLine.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		phony = append(phony, strings.Fields(m[1])...)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		help := found[name]
		if !strings.HasSuffix(help, ".") {
			t.Errorf("target %q needs a sentence of help after ##, has %q", name, help)
		}
		if !slices.Contains(phony, name) {
			t.Errorf("target %q is not .PHONY", name)
		}
	}
	shown := output(t, "make", "help")
	for name, help := range found {
		if !strings.Contains(shown, help) {
			t.Errorf("make help does not show %q", name)
		}
	}
}

func TestScriptsThatAreCalledExist(t *testing.T) {
	t.Parallel()
	callers := append(files(t, ".sh", "Makefile"), ".ci/run")
	for _, caller := range callers {
		content := read(t, caller)
		for _, m := range scriptName.FindAllStringSubmatch(content, -1) {
			info, err := os.Stat(filepath.Join(root(), m[1]))
			if err != nil {
				t.Errorf("%s calls %s: %v", caller, m[1], err)
			} else if info.Mode()&0o111 == 0 {
				t.Errorf("%s calls %s, which is not executable", caller, m[1])
			}
		}
		for _, m := range folderFlag.FindAllStringSubmatch(content, -1) {
			if _, err := os.Stat(filepath.Join(root(), m[1], "go.mod")); err != nil {
				t.Errorf("%s runs Go in %s, which is no module: %v", caller, m[1], err)
			}
		}
	}
}

func TestTextsNameTargetsThatExist(t *testing.T) {
	t.Parallel()
	found := targets(t)
	quoted := regexp.MustCompile("(?s)`[^`]+`|```.+?```")
	for _, path := range append(files(t, ".md", ".sh"), ".ci/run") {
		content := read(t, path)
		if strings.HasSuffix(path, ".md") {
			// Prose may make sense of anything; code may not.
			content = strings.Join(quoted.FindAllString(content, -1), "\n")
		}
		for line := range strings.Lines(content) {
			if m := makeCall.FindStringSubmatch(line); m != nil && !strings.HasSuffix(path, ".md") && strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			} else if m != nil {
				if _, ok := found[m[1]]; !ok {
					t.Errorf("%s says %q, and the Makefile has no such target", path, "make "+m[1])
				}
			}
		}
	}
}

func TestLinksInDocumentsLead(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s#]+)(?:#[^)\s]*)?\)`)
	for _, path := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root(), filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
	}
}

func TestProjectFileNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	var project struct {
		Domain, Repo, Version string
		Layout                []string
		Resources             []struct {
			Domain, Kind, Path, Version string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "PROJECT")), &project); err != nil {
		t.Fatal(err)
	}
	if project.Repo != modulePath || !slices.Equal(project.Layout, []string{"go.kubebuilder.io/v3"}) || len(project.Resources) == 0 {
		t.Fatalf("PROJECT is %+v", project)
	}
	for _, r := range project.Resources {
		folder, ok := strings.CutPrefix(r.Path, modulePath+"/")
		if !ok {
			t.Errorf("%s has its types in %s, outside of the module", r.Kind, r.Path)
		}
		crd := read(t, "config/crd/"+r.Domain+"_"+strings.ToLower(r.Kind)+"s.yaml")
		for _, want := range []string{"kind: " + r.Kind + "\n", "group: " + r.Domain + "\n", "name: " + r.Version + "\n"} {
			if !strings.Contains(crd, want) {
				t.Errorf("the CRD of %s lacks %q", r.Kind, want)
			}
		}
		if _, err := os.Stat(filepath.Join(root(), folder)); err != nil {
			t.Error(err)
		}
	}
}

// TestDirectDependenciesAreExplained holds that each module the product chose is named, with the reason, in a
// decision record.
func TestDirectDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	var records strings.Builder
	for _, path := range files(t, ".md") {
		if strings.HasPrefix(path, "docs/adr/") {
			records.WriteString(read(t, path))
		}
	}
	required := regexp.MustCompile(`(?m)^\s(?:require )?([a-z0-9.-]+\.[a-z]+/?\S*) v\S+$`)
	for _, m := range required.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		if !strings.Contains(records.String(), m[1]) {
			t.Errorf("docs/adr says nowhere why %s is a direct dependency", m[1])
		}
	}
}
