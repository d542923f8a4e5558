// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/internal/telemetry"
)

// failing is a configuration with a tool whose backend is away and one whose
// template does not take every argument, for a caller with a key.
const failing = `
contract: 1
name: failing
tools:
- {name: away, description: Fails., http: {url: "http://127.0.0.1:1/"}}
- name: picky
  description: Converts.
  inputSchema: {type: object, properties: {count: {type: string}}}
  static: {content: [{text: "${int(arguments.count)}"}]}
auth: {anonymousAccess: Denied, apiKeys: {secretRef: {name: keys}}}
logging: {level: Debug}
transports: {sse: {mode: Warn}}
`

const key = "fl_0123456789abcdefghijklmnop"

// journal keeps the lines of a log.
type journal struct {
	grew  chan struct{} // holds a value after a line was added
	mu    sync.Mutex
	lines bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case j.grew <- struct{}{}:
	default:
	}
	return j.lines.Write(b)
}

// find waits for a line with a message about a tool.
func (j *journal) find(t *testing.T, msg, tool string) map[string]any {
	t.Helper()
	for late := time.After(patience); ; {
		j.mu.Lock()
		text := j.lines.String()
		j.mu.Unlock()
		for line := range strings.Lines(text) {
			var got map[string]any
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatalf("not a JSON line: %v: %s", err, line)
			}
			for _, name := range []string{"requestId", "session", "principal"} {
				if strings.Count(line, `"`+name+`":`) > 1 {
					t.Fatalf("%s is given twice: %s", name, line)
				}
			}
			if got["msg"] == msg && (tool == "" || got["tool"] == tool) {
				return got
			}
		}
		select {
		case <-j.grew:
		case <-late:
			t.Fatalf("there is no line %q for %q in %s", msg, tool, text)
		}
	}
}

// named sends the key and an id with every request, and notes session ids.
type named struct {
	mu      sync.Mutex
	session string
}

func (n *named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("X-Request-Id", "the-request")
	id := r.Header.Get("Mcp-Session-Id") + r.URL.Query().Get("sessionId")
	n.mu.Lock()
	if id != "" {
		n.session = id
	}
	n.mu.Unlock()
	return plain.RoundTrip(r)
}

// TestLinesNameTheirRequest runs tools that fail over each transport. The call
// of HTTP+SSE outlives its request.
func TestLinesNameTheirRequest(t *testing.T) {
	t.Parallel()
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			keys := filepath.Join(dir, "secrets", "keys")
			if err := os.MkdirAll(keys, 0o750); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(keys, "alice"), key)
			j := journal{grew: make(chan struct{}, 1)}
			r := &running{
				file: filepath.Join(dir, "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16),
				logger: slog.New(slog.NewJSONHandler(&j, &slog.HandlerOptions{Level: slog.LevelDebug})),
			}
			write(t, r.file, failing)
			r.run(t)
			sent := &named{}
			wire := f.transport(r.url)
			switch wire := wire.(type) {
			case *mcp.SSEClientTransport:
				wire.HTTPClient = &http.Client{Transport: sent}
			case *mcp.StreamableClientTransport:
				wire.HTTPClient = &http.Client{Transport: sent}
			}
			session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).
				Connect(t.Context(), wire, &mcp.ClientSessionOptions{ProtocolVersion: f.version})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { session.Close() })
			for tool, arguments := range map[string]map[string]any{"away": {}, "picky": {"count": "seven"}} {
				result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
				if err != nil || !result.IsError {
					t.Fatalf("%s: %+v, %v, want a tool error", tool, result, err)
				}
			}
			sent.mu.Lock()
			id := sent.session
			sent.mu.Unlock()
			if (id == "") != (f.name == "stateless") {
				t.Fatalf("the session is %q", id)
			}
			for tool, level := range map[string]string{"away": "WARN", "picky": "DEBUG"} {
				got := j.find(t, "Tool failed", tool)
				hash, _ := got["session"].(string)
				if got["level"] != level || got["requestId"] != "the-request" || got["principal"] != "alice" || hash != telemetry.HashSession(id) {
					t.Errorf("%s: %v, want %s, the request, alice and the session %q", tool, got, level, telemetry.HashSession(id))
				}
			}
			if got := j.find(t, "Answered a request", ""); got["requestId"] != "the-request" || got["principal"] != "alice" {
				t.Errorf("%v, want the request and alice", got)
			}
			if f.name == "HTTP+SSE" {
				session.Close()
				got := j.find(t, "A client used the deprecated HTTP+SSE transport", "")
				if got["session"] != telemetry.HashSession(id) || got["requestId"] != "the-request" {
					t.Errorf("%v, want the request and the session %q", got, telemetry.HashSession(id))
				}
			}
			j.mu.Lock()
			defer j.mu.Unlock()
			if text := j.lines.String(); id != "" && strings.Contains(text, id) || strings.Contains(text, key) {
				t.Error("the log holds a session id or a key")
			}
		})
	}
}
