// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// check is one line of a scenario's checks.json.
type check struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	Description  string `json:"description"`
	ErrorMessage string `json:"errorMessage"`
}

func TestRequirements(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		table map[string]string
	}{
		{name: "2025-11-25", table: legacy},
		{name: "2026-07-28", table: modern},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			results := runSuite(t, startServer(t), tt.name)
			for scenario, checks := range results {
				why, known := tt.table[scenario]
				switch {
				case !known:
					t.Errorf("scenario %s is not in the table: add it as built, or with the reason why it cannot pass", scenario)
				case why == built:
					requirePass(t, scenario, checks)
				}
			}
			for scenario, why := range tt.table {
				if _, ran := results[scenario]; !ran && !strings.HasPrefix(scenario, "tasks-") {
					t.Errorf("scenario %s (%q) is in the table, but the suite did not run it", scenario, why)
				}
			}
		})
	}
}

func requirePass(t *testing.T, scenario string, checks []check) {
	t.Helper()
	passed := 0
	for _, c := range checks {
		if _, ok := exempt[c.ID]; ok {
			continue
		}
		switch c.Status {
		case "SUCCESS":
			passed++
		case "INFO", "SKIPPED":
		default:
			t.Errorf("%s: %s %s: %s (%s)", scenario, c.Status, c.ID, c.ErrorMessage, c.Description)
		}
	}
	if passed == 0 {
		t.Errorf("%s: no check succeeded", scenario)
	}
}

// The suite names a folder of results server-<scenario>-<time>.
var resultDir = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z$`)

// runSuite runs every server scenario of a revision and returns the checks of each.
func runSuite(t *testing.T, url, revision string) map[string][]check {
	t.Helper()
	dir := t.TempDir()
	bin, err := filepath.Abs("../clients/node_modules/.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "conformance")); err != nil {
		t.Fatalf("the conformance suite is not installed: run npm ci in test/clients (make test does): %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "node"), filepath.Join(bin, "conformance"),
		"server", "--url", url, "--requirements", revision, "-o", dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		// Scenarios that are not built yet fail by design: the checks decide.
		t.Logf("the suite ended with %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("the suite left no results (%v):\n%s", err, out.String())
	}
	results := map[string][]check{}
	for _, entry := range entries {
		match := resultDir.FindStringSubmatch(entry.Name())
		if len(match) != 2 || strings.HasPrefix(match[1], "tasks-") {
			continue // The tasks extension is not offered.
		}
		data, err := os.ReadFile(filepath.Join(dir, entry.Name(), "checks.json"))
		if err != nil {
			t.Fatal(err)
		}
		var checks []check
		if err := json.Unmarshal(data, &checks); err != nil {
			t.Fatalf("failed to read the checks of %s: %v", match[1], err)
		}
		results[match[1]] = checks
	}
	return results
}
