// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/clients"
	"fairlead.dev/fairlead/test/localserver"
)

const cutServer = `
contract: 1
name: cut
auth: {anonymousAccess: Allowed}
drain: {settle: 1ms, window: 1s, callTimeout: 1s}
tools:
- {name: greet, description: Greets., static: {content: [{text: "Hello!"}]}}
- {name: report, description: Reports., http: {method: GET, url: "%s/report", network: Private, response: {stream: SSE}}}
`

// reporter is a backend that reports once, and goes on when told.
func reporter(t *testing.T) *httptest.Server {
	t.Helper()
	resume := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/go", func(http.ResponseWriter, *http.Request) { resume <- struct{}{} })
	mux.HandleFunc("/report", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		say := func(data string) {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
			_ = http.NewResponseController(w).Flush()
		}
		say(`{"progress":1}`)
		select {
		case <-resume:
		case <-r.Context().Done():
			return
		}
		say(`{"progress":2}`)
		say(`{"progress":3}`)
		say(`"done"`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// TestTypeScriptClientsThatAreCut: their connections break, and they go on by
// themselves, with all that was said meanwhile.
func TestTypeScriptClientsThatAreCut(t *testing.T) {
	t.Parallel()
	backend := reporter(t)
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, cutServer, backend.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(localserver.Start(t, file, ""))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, kind, tool, url, want string
		progress                    []int
	}{
		{name: "HTTP+SSE between two calls", kind: "sse", tool: "greet", want: "Hello!"},
		{name: "Streamable HTTP between two calls", kind: "streamable", tool: "greet", want: "Hello!"},
		{name: "Streamable HTTP during a call", kind: "streamable", tool: "report", url: backend.URL + "/go", want: `"done"`, progress: []int{1, 2, 3, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			got, err := clients.Cut(ctx, ".", tt.kind, host, port, tt.tool, tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if got.Text != tt.want || !slices.Equal(got.Progress, tt.progress) {
				t.Errorf("got %+v, want %q with progress %v", got, tt.want, tt.progress)
			}
		})
	}
}
