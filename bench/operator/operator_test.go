// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// gate is how many servers the exact counts are checked with.
const gate = 200

// TestCounts holds what depends on no machine: the requests for a new server, at
// rest, for edits that change nothing, and after a restart.
//
// Not parallel: it counts how often the controller runs.
func TestCounts(t *testing.T) { //nolint:paralleltest // See above.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	b, err := newBench(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, namespace := range []string{fleet, small} {
		if err := b.namespace(namespace); err != nil {
			t.Fatal(err)
		}
	}
	op, err := b.startOperator(workers, nil)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := b.fill(op, fleet, gate)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := asExpected(counts, gate); wrong != "" {
		t.Errorf("O1: requests for %d new servers: %s", gate, wrong)
	}
	requests, looks, err := b.rest(op, fleet, gate, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if requests != 0 || looks < gate {
		t.Errorf("O2: %d requests at rest, and %d looks at %d servers: %v", requests, looks, gate, op.requests.in(fleet))
	}
	requests, looks, err = b.edits(op, fleet)
	if err != nil {
		t.Fatal(err)
	}
	if requests != 0 || looks != 0 {
		t.Errorf("O3: %d requests and %d looks for labels and annotations", requests, looks)
	}
	requests, looks, err = b.statuses(op, fleet)
	if err != nil {
		t.Fatal(err)
	}
	if requests != 0 || looks > bursts {
		t.Errorf("O3: %d requests and %d looks for %d bursts of what says nothing", requests, looks, bursts)
	}
	if err := op.stop(); err != nil {
		t.Error(err)
	}
	op, got, err := b.restart(fleet, small, 0, gate)
	if err != nil {
		t.Fatal(err)
	}
	if got.requests != 0 {
		t.Errorf("O8: %d requests after a restart: %v", got.requests, op.requests.in(fleet))
	}
	if err := op.stop(); err != nil {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, path, contentType, namespace, did string }{
		{http.MethodGet, "/api/v1/namespaces/shop/services/orders-mcp", "", "shop", "get services"},
		{http.MethodGet, "/api/v1/namespaces/shop/pods", "", "shop", "list pods"},
		{http.MethodPost, "/apis/events.k8s.io/v1/namespaces/shop/events", "", "shop", "create events"},
		{http.MethodPatch, "/apis/apps/v1/namespaces/shop/deployments/a", "application/apply-patch+yaml", "shop", "apply deployments"},
		{http.MethodPatch, "/apis/fairlead.dev/v1alpha1/namespaces/shop/mcpservers/a/status", "application/merge-patch+json", "shop", "patch mcpservers/status"},
		{http.MethodDelete, "/api/v1/namespaces/shop/configmaps/a", "", "shop", "delete configmaps"},
	} {
		req := httptest.NewRequest(tt.method, tt.path, http.NoBody)
		req.Header.Set("Content-Type", tt.contentType)
		if namespace, did := describe(req); namespace != tt.namespace || did != tt.did {
			t.Errorf("%s %s: %q in %q, want %q in %q", tt.method, tt.path, did, namespace, tt.did, tt.namespace)
		}
	}
}

func TestAsExpected(t *testing.T) {
	t.Parallel()
	counts := maps.Clone(forOneServer)
	if got := asExpected(counts, 1); got != "" {
		t.Error(got)
	}
	counts["list pods"] = 1
	delete(counts, "apply services")
	if got, want := asExpected(counts, 1), "apply services: 0, want 2; list pods: 1, want 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	counts := maps.Clone(forOneServer)
	if got, want := summary(counts, 1), "8 applies, 1 create, 7 metadata gets, 2 status patches"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	missed := render(&out, []row{{"O1", "what", "≤ 1", "1", true}, {"O2", "x", "2", "1", false}})
	want := []string{
		"| goal | what | measured | bar      |",
		"| ---- | ---- | -------- | -------- |",
		"| O1   | what | ≤ 1      | 1        |",
		"| O2   | x    | 2        | 1 MISSED |",
	}
	if diff := cmp.Diff(want, slices.Collect(strings.Lines(out.String())), cmp.Transformer("trim", func(lines []string) []string {
		trimmed := make([]string, len(lines))
		for i, line := range lines {
			trimmed[i] = strings.TrimSpace(line)
		}
		return trimmed
	})); diff != "" || !missed {
		t.Errorf("missed %v, -want +got:\n%s", missed, diff)
	}
}
