// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/test/localserver"
)

// startServer serves the fixture on loopback and returns its Streamable HTTP URL.
func startServer(t *testing.T) string {
	t.Helper()
	fixture := &fixture{path: filepath.Join(t.TempDir(), "server.yaml")}
	backend := httptest.NewServer(fixture)
	t.Cleanup(backend.Close)
	text, err := os.ReadFile("testdata/server.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fixture.text = strings.ReplaceAll(string(text), "BACKEND", strings.TrimPrefix(backend.URL, "http://"))
	if err := fixture.write(); err != nil {
		t.Fatal(err)
	}

	_, port, err := net.SplitHostPort(localserver.Start(t, fixture.path, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return "http://localhost:" + port + "/mcp"
}

// fixture is the backend of the tools that do more than answer, and the
// keeper of the configuration that one of them changes.
type fixture struct {
	path, text string
	changes    atomic.Int64
}

// write renders the configuration of the current change.
func (f *fixture) write() error {
	var server config.Server
	if err := yaml.Unmarshal([]byte(f.text), &server); err != nil {
		return fmt.Errorf("failed to read the fixture: %w", err)
	}
	server.Tools[0].Title = fmt.Sprintf("Change %d", f.changes.Load())
	server.Drain = config.Drain{Settle: config.Duration(time.Millisecond), Window: config.Duration(time.Second), CallTimeout: config.Duration(time.Second)}
	data, err := server.Encode()
	if err != nil {
		return fmt.Errorf("failed to encode the fixture: %w", err)
	}
	return os.WriteFile(f.path, data, 0o600)
}

func (f *fixture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flush := func() { _ = http.NewResponseController(w).Flush() }
	switch r.URL.Path {
	case "/logging":
		w.Header().Set("Content-Type", "text/event-stream")
		for _, text := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			fmt.Fprintf(w, "data: {\"log\":{\"level\":\"info\",\"data\":%q}}\n\n", text)
			flush()
		}
		fmt.Fprint(w, "data: done\n\n")
	case "/progress":
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, done := range []int{0, 50, 100} {
			fmt.Fprintf(w, "{\"progress\":%d,\"total\":100,\"message\":\"Completed step %d of 100\"}\n", done, done)
			flush()
		}
		fmt.Fprintln(w, `{"result":"done"}`)
	case "/change":
		f.changes.Add(1)
		if err := f.write(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	default:
		http.NotFound(w, r)
	}
}
