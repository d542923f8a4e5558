// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/e2e/traffic"
	"fairlead.dev/fairlead/test/localserver"
)

// configuration is a server whose tool tells its change, and one that asks the
// backend.
func configuration(change int, backend string) string {
	return fmt.Sprintf(`contract: 1
name: traffic
auth: {anonymousAccess: Allowed}
tools:
- name: change_%d
  description: Tells which change this is.
  static: {content: [{text: "%d"}]}
- name: work
  description: Gives the id back.
  inputSchema: {type: object, properties: {id: {type: string}}, required: [id]}
  http: {url: "%s/jobs/{id}"}
`, change, change, backend)
}

// start serves the configuration and returns its address and how to replace it.
func start(t *testing.T, backend string) (string, func(change int)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.yaml")
	write := func(change int) {
		next := file + ".next"
		if err := os.WriteFile(next, []byte(configuration(change, backend)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	return "http://" + localserver.Start(t, file, t.TempDir()), write
}

func TestListenerHearsEveryChange(t *testing.T) {
	t.Parallel()
	base, change := start(t, "http://127.0.0.1:9")
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := traffic.Listen(ctx, traffic.NewTarget(base, ""), "test", map[traffic.Kind]int{traffic.SSE: 3, traffic.Streamable: 2})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		change(n)
		waiting, enough := context.WithTimeout(ctx, 30*time.Second)
		heard, cut := listener.Await(waiting, n)
		enough()
		if heard != 5 || cut != 0 {
			t.Fatalf("change %d: %d of 5 streams heard of it, %d were cut", n, heard, cut)
		}
	}
	cancel()
	listener.Wait()
	data, err := listener.Report()
	if err != nil {
		t.Fatal(err)
	}
	var streams []traffic.Stream
	if err := json.Unmarshal(data, &streams); err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		if s.Cut != "" || s.Failure != "" || len(s.Heard) != 3 {
			t.Errorf("got %+v, want three changes and no cut", s)
		}
	}
}

// TestListenerNoticesACut: a stream that ends is told, not opened again.
func TestListenerNoticesACut(t *testing.T) {
	t.Parallel()
	base, _ := start(t, "http://127.0.0.1:9")
	proxy := localserver.NewProxy(t, strings.TrimPrefix(base, "http://"))
	listener, err := traffic.Listen(t.Context(), traffic.NewTarget(proxy.Address(), ""), "test", map[traffic.Kind]int{traffic.SSE: 2})
	if err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	waiting, enough := context.WithTimeout(t.Context(), 30*time.Second)
	defer enough()
	if _, cut := listener.Await(waiting, 1); cut == 0 {
		t.Error("no cut was noticed")
	}
	listener.Wait()
}

func TestCallerCountsAnswers(t *testing.T) {
	t.Parallel()
	backend := &traffic.Backend{}
	web := httptest.NewServer(backend.Handler())
	defer web.Close()
	base, _ := start(t, web.URL)
	caller := &traffic.Caller{Target: traffic.NewTarget(base, ""), Name: "test", Tool: "work"}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	caller.Run(ctx, map[traffic.Kind]int{traffic.SSE: 1, traffic.Streamable: 1, traffic.Stateless: 1})
	report := caller.Report()
	if c := report.Counts; c.Answered < 3 || c != (traffic.Counts{Sent: c.Sent, Answered: c.Sent}) {
		t.Errorf("got %+v, want only answers: %+v", c, report.Notes)
	}
	for id, want := range map[string]int{"test-stateless-0-0": http.StatusOK, "test-stateless-9-0": http.StatusNotFound} {
		response, err := web.Client().Get(web.URL + "/seen/" + id)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("got %d for %s, want %d", response.StatusCode, id, want)
		}
	}
}

// TestCallerTellsLossFromRefusal: what was sent and not answered is lost; what
// was turned away or never sent is not.
func TestCallerTellsLossFromRefusal(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	partial := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte(": heartbeat\n\n"))
	}
	full := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "full", http.StatusServiceUnavailable) }
	other := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`))
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"hung up", hangUp, "lost"},
		{"stream without an answer", partial, "lost"},
		{"overload", full, "refused"},
		{"another result", other, "failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(test.handler)
			defer web.Close()
			caller := &traffic.Caller{Target: traffic.NewTarget(web.URL, ""), Tool: "work"}
			if got, why := caller.Once(t.Context(), "an-id"); got != test.want {
				t.Errorf("got %s (%s), want %s", got, why, test.want)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		web := httptest.NewServer(http.HandlerFunc(full))
		web.Close()
		caller := &traffic.Caller{Target: traffic.NewTarget(web.URL, ""), Tool: "work"}
		if got, why := caller.Once(t.Context(), "an-id"); got != "unreached" {
			t.Errorf("got %s (%s), want unreached", got, why)
		}
	})
}
