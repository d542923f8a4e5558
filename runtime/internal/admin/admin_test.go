// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/runtime/internal/admin"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	serving := admin.Status{
		Revision: "5f2c5f2c5f2c5f2c", Tools: 7, Sessions: 3, Streams: 2, InFlight: 1,
		StartedAt: time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC),
	}
	draining, broken := serving, serving
	draining.Draining = true
	broken.ConfigError = `tools[0].http.url: has "no" host`
	broken.KeyIDs, broken.Version, broken.Contracts = []string{"0a1b2c3d"}, "v1", []int{1, 2}
	broken.Problems = []admin.Problem{{Code: admin.SecretMissing, Secret: "orders-api", Key: "token", Message: "create it"}}
	// A Secret that is missing hurts its tools only.
	serving.Problems = broken.Problems
	for _, tt := range []struct {
		name, method, path string
		status             admin.Status
		wantCode           int
		want               string
	}{
		{name: "healthy", path: "/healthz", wantCode: 200, want: "ok\n"},
		{name: "healthy while draining", path: "/healthz", status: draining, wantCode: 200, want: "ok\n"},
		{name: "ready", path: "/readyz", status: serving, wantCode: 200, want: "ok\n"},
		{name: "ready on an old revision", path: "/readyz", status: broken, wantCode: 200, want: "ok\n"},
		{name: "not ready before the first configuration", path: "/readyz", wantCode: 503, want: "no configuration is served yet\n"},
		{name: "not ready while draining", path: "/readyz", status: draining, wantCode: 503, want: "draining\n"},
		{
			name: "status", path: "/status", status: broken, wantCode: 200,
			want: `{"revision":"5f2c5f2c5f2c5f2c","configError":"tools[0].http.url: has \"no\" host","tools":7,"sessions":3,"streams":2,"inFlight":1,"draining":false,"startedAt":"2026-11-21T09:30:00Z",` +
				`"keyIDs":["0a1b2c3d"],"version":"v1","contracts":[1,2],"problems":[{"code":"SecretMissing","secret":"orders-api","key":"token","message":"create it"}]}` + "\n",
		},
		{name: "head", method: http.MethodHead, path: "/readyz", status: serving, wantCode: 200, want: "ok\n"},
		{name: "post", method: http.MethodPost, path: "/status", wantCode: 405, want: "use GET\n"},
		{name: "delete", method: http.MethodDelete, path: "/metrics", wantCode: 405, want: "use GET\n"},
		{name: "elsewhere", path: "/mcp", wantCode: 404, want: "404 page not found\n"},
		{name: "below", path: "/status/x", wantCode: 404, want: "404 page not found\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := admin.Handler(admin.Options{Status: func() admin.Status { return tt.status }, Gatherer: prometheus.NewRegistry()})
			w := httptest.NewRecorder()
			if tt.method == "" {
				tt.method = http.MethodGet
			}
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader("a body")))
			if w.Code != tt.wantCode || w.Body.String() != tt.want {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.wantCode, tt.want)
			}
			if tt.wantCode == 405 && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow = %q", w.Header().Get("Allow"))
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("nosniff is missing")
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_test_total", Help: "For this test."})
	reg.MustRegister(counter)
	counter.Inc()
	h := admin.Handler(admin.Options{Status: func() admin.Status { return admin.Status{} }, Gatherer: reg})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "fairlead_test_total 1\n") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
