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
	conditionConstant = regexp.MustCompile(`(?m)^\tCondition\w+ += "(\w+)"$`)
	reasonConstant    = regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`)
	reasonRow         = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$")
	alertName         = regexp.MustCompile(`(?m)^ {2}- alert: (\w+)$`)
)

// TestRunbooks: each condition, each reason and each alert has its place, and
// no page is about something that is not.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	source := page(t, "api/v1alpha1/conditions.go")
	index := page(t, "docs/runbooks/README.md")
	wanted := map[string]bool{"README": true}
	explained := map[string]string{}
	for _, m := range conditionConstant.FindAllStringSubmatch(source, -1) {
		wanted[m[1]] = true
		for _, row := range reasonRow.FindAllStringSubmatch(page(t, "docs/runbooks/"+m[1]+".md"), -1) {
			// What UpgradePending says is about the new pod template alone.
			if before := explained[row[1]]; before != "" && before != row[0] && m[1] != "UpgradePending" {
				t.Errorf("docs/runbooks/%s.md says of the reason %s what another page does not:\n%s\n%s", m[1], row[1], row[0], before)
			}
			explained[row[1]] = row[0]
		}
	}
	reasons := map[string]bool{}
	for _, m := range reasonConstant.FindAllStringSubmatch(source, -1) {
		reasons[m[1]] = true
		if explained[m[1]] == "" {
			t.Errorf("no page of docs/runbooks has a line for the reason %s", m[1])
		}
	}
	for reason := range explained {
		if !reasons[reason] {
			t.Errorf("docs/runbooks explains the reason %s, which no condition has", reason)
		}
	}
	alerts := alertName.FindAllStringSubmatch(page(t, "charts/fairlead/files/alerts.yaml"), -1)
	for _, m := range alerts {
		wanted[m[1]] = true
	}
	if len(reasons) < 20 || len(alerts) < 5 {
		t.Fatalf("only %d reasons and %d alerts were found", len(reasons), len(alerts))
	}
	entries, err := os.ReadDir(filepath.Join(root, "docs", "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".md")
		pages = append(pages, name)
		if !wanted[name] {
			t.Errorf("docs/runbooks/%s is about no condition and no alert", entry.Name())
		}
		if name != "README" && !strings.Contains(index, "("+entry.Name()+")") {
			t.Errorf("docs/runbooks/README.md does not list %s", entry.Name())
		}
	}
	for name := range wanted {
		if !slices.Contains(pages, name) {
			t.Errorf("docs/runbooks has no %s.md", name)
			continue
		}
		if text := page(t, "docs/runbooks/"+name+".md"); name != "README" && (!strings.Contains(text, "## Look\n\n```sh\nkubectl ") || len(text) < 300) {
			t.Errorf("docs/runbooks/%s.md does not say what to look at", name)
		}
	}
}

var labelValue = regexp.MustCompile(`\b(reason|outcome|condition)(?:=|!=|=~|!~)\\?"([A-Za-z_|]+)\\?"`)

// TestAlertsNameValuesThatExist: a reason or an outcome that an alert or the
// dashboard asks for is one that a program says.
func TestAlertsNameValuesThatExist(t *testing.T) {
	t.Parallel()
	said := page(t, "api/v1alpha1/conditions.go") + strings.Join(sources(t, "runtime"), "\n")
	found := 0
	for _, path := range []string{"charts/fairlead/files/alerts.yaml", "charts/fairlead/files/dashboard.json"} {
		for _, m := range labelValue.FindAllStringSubmatch(page(t, path), -1) {
			for value := range strings.SplitSeq(m[2], "|") {
				found++
				if !strings.Contains(said, `"`+value+`"`) {
					t.Errorf("%s asks for %s %q, which nothing says", path, m[1], value)
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d values were found", found)
	}
}
