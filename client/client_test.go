// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/client"
)

var eras = []struct {
	name      string
	path      string
	transport client.Transport
	want      client.Transport
	version   string
}{
	{name: "sse", path: "/sse", transport: client.SSE, want: client.SSE, version: "2024-11-05"},
	{name: "streamable", path: "/mcp", transport: client.Streamable, want: client.Streamable, version: "2025-11-25"},
	{name: "stateless", path: "/mcp", transport: client.Stateless, want: client.Stateless, version: "2026-07-28"},
	{name: "auto finds stateless", path: "/mcp", transport: client.Auto, want: client.Stateless, version: "2026-07-28"},
	{name: "auto finds a session", path: "/resumable", transport: client.Auto, want: client.Streamable, version: "2025-11-25"},
	{name: "auto finds sse", path: "/sse", transport: client.Auto, want: client.SSE, version: "2024-11-05"},
}

func TestCallOverEveryTransport(t *testing.T) {
	t.Parallel()
	for _, tt := range eras {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			c := connect(t, client.Options{URL: s.url(tt.path), Transport: tt.transport})
			event, _ := next[client.Connected](t, c)
			want := client.Connected{
				At: event.At, Transport: tt.want, ProtocolVersion: tt.version, Server: "test", ServerVersion: "1.2.3",
			}
			if diff := cmp.Diff(want, event); diff != "" {
				t.Errorf("Connected (-want +got):\n%s", diff)
			}

			tools, err := c.Tools(t.Context())
			if err != nil {
				t.Fatalf("Tools: %v", err)
			}
			var names []string
			for _, tool := range tools {
				names = append(names, tool.Name)
			}
			if diff := cmp.Diff([]string{"count", "echo", "hold", "hold_read_only", "trace"}, names); diff != "" {
				t.Errorf("all pages (-want +got):\n%s", diff)
			}

			result, err := c.CallTool(t.Context(), "echo", map[string]any{"message": "hello"}, nil)
			if err != nil {
				t.Fatalf("CallTool: %v", err)
			}
			if got := text(t, result); got != "hello" {
				t.Errorf("echo = %q, want hello", got)
			}
		})
	}
}

func TestProgressArrivesInOrderBeforeTheResult(t *testing.T) {
	t.Parallel()
	for _, tt := range eras[:3] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			c := connect(t, client.Options{URL: s.url(tt.path), Transport: tt.transport})
			for range 5 {
				var got []float64
				_, err := c.CallTool(t.Context(), "count", nil, func(p client.Progress) {
					if p.Tool != "count" || p.Total != 50 {
						t.Errorf("Progress = %+v, want tool count of 50", p)
					}
					got = append(got, p.Progress)
				})
				if err != nil {
					t.Fatalf("CallTool: %v", err)
				}
				var want []float64
				for i := 1; i <= 50; i++ {
					want = append(want, float64(i))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("progress (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, client.Options{URL: s.url("/mcp")})
	result, err := c.Do(t.Context(), client.Call{Name: "trace", Trace: true})
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	want := &client.Trace{
		Method: "GET", URL: "http://orders/1", Status: 200, TotalMillis: 1.5, Header: map[string]string{"X-Token": "redacted"},
	}
	if diff := cmp.Diff(want, result.Trace); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

// TestSurvivesRestart is the promise of the package: the server process goes
// and comes back with another memory, and the same client goes on.
func TestSurvivesRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range eras[:3] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			c := connect(t, client.Options{URL: s.url(tt.path), Transport: tt.transport})
			next[client.Connected](t, c)

			s.stop()
			lost, _ := next[client.Disconnected](t, c)
			if lost.Err == nil || lost.RetryIn <= 0 {
				t.Errorf("Disconnected = %+v, want a reason and a delay", lost)
			}
			// At least one attempt fails while nobody listens.
			next[client.Disconnected](t, c)
			s.start()
			back, _ := next[client.Connected](t, c)
			if back.Resumed {
				t.Error("Resumed = true, but the session died with the server")
			}

			result, err := c.CallTool(t.Context(), "echo", map[string]any{"message": "again"}, nil)
			if err != nil {
				t.Fatalf("CallTool after the restart: %v", err)
			}
			if got := text(t, result); got != "again" {
				t.Errorf("echo = %q, want again", got)
			}

			// The new connection hears the server too.
			s.tools().RemoveTools("trace")
			next[client.ToolsChanged](t, c)
		})
	}
}

func TestCallsWaitForTheServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.stop()
	c := connect(t, client.Options{URL: s.url("/mcp"), Transport: client.Streamable})
	next[client.Disconnected](t, c)
	done := make(chan error, 1)
	go func() {
		_, err := c.CallTool(t.Context(), "echo", map[string]any{"message": "x"}, nil)
		done <- err
	}()
	s.start()
	if err := <-done; err != nil {
		t.Errorf("CallTool = %v, want success once the server is there", err)
	}
	if got := s.calls.Load(); got != 1 {
		t.Errorf("the tool ran %d times, want once", got)
	}
}

func TestWaitSaysWhyItIsNotConnected(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.stop()
	c := connect(t, client.Options{URL: s.url("/mcp")})
	next[client.Disconnected](t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := c.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Wait = %v, want the deadline and the refused connection", err)
	}
}

// TestACutCallIsNotSentAgain: the request left, so only the caller can decide.
func TestACutCallIsNotSentAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		call  client.Call
		again bool
	}{
		{name: "plain", call: client.Call{Name: "hold"}},
		{name: "asked for, but the tool may change things", call: client.Call{Name: "hold", Retry: true}},
		{name: "read-only, but not asked for", call: client.Call{Name: "hold_read_only"}},
		{name: "read-only and asked for", call: client.Call{Name: "hold_read_only", Retry: true}, again: true},
	}
	for _, era := range eras[:3] {
		for _, tt := range tests {
			t.Run(era.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				c := connect(t, client.Options{URL: s.url(era.path), Transport: era.transport})
				done := make(chan error, 1)
				go func() {
					_, err := c.Do(t.Context(), tt.call)
					done <- err
				}()
				<-s.held
				s.stop()
				s.start()
				if tt.again {
					<-s.held // It runs a second time.
					close(s.hold)
					if err := <-done; err != nil {
						t.Errorf("Do = %v, want the second answer", err)
					}
					return
				}
				if err := <-done; !errors.Is(err, client.ErrOutcomeUnknown) {
					t.Errorf("Do = %v, want ErrOutcomeUnknown", err)
				}
				if n := len(s.held); n != 0 {
					t.Errorf("the tool ran %d more times", n)
				}
				close(s.hold)
			})
		}
	}
}

// TestResumesAStreamByLastEventID: only the connection is cut, the server and
// its session live on, and nothing that was said meanwhile is lost.
func TestResumesAStreamByLastEventID(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cut := make(chan struct{})
	var gets, refused atomic.Int64
	front := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		switch gets.Add(1) {
		case 1:
			ctx, cancel := context.WithCancel(r.Context())
			go func() {
				<-cut
				cancel()
			}()
			s.pass(w, r.WithContext(ctx))
			return true
		case 2, 3:
			// A proxy without a backend, twice.
			refused.Add(1)
			w.Header().Set("Retry-After", "0")
			http.Error(w, "no backend", http.StatusBadGateway)
			return true
		}
		if r.Header.Get("Last-Event-ID") == "" {
			t.Error("the stream is opened again without Last-Event-ID")
		}
		return false
	}
	s.front.Store(&front)
	c := connect(t, client.Options{URL: s.url("/resumable"), Transport: client.Streamable})
	next[client.Connected](t, c)
	s.tools().RemoveTools("trace")
	next[client.ToolsChanged](t, c) // Gives the stream its first event id.

	close(cut)
	next[client.Disconnected](t, c)
	s.tools().RemoveTools("count")
	back, _ := next[client.Connected](t, c)
	if !back.Resumed {
		t.Error("Resumed = false, want the same session")
	}
	next[client.ToolsChanged](t, c)
	if refused.Load() != 2 {
		t.Errorf("%d refusals were outlived, want 2", refused.Load())
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	fairlead := func(status int, body string, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	tests := []struct {
		name  string
		front func(http.ResponseWriter, *http.Request) bool
		want  *client.StatusError
		text  string
	}{
		{
			name:  "no key",
			front: fairlead(http.StatusUnauthorized, `{"error":"missing_credentials","message":"give a key"}`),
			want:  &client.StatusError{Status: 401, Code: "missing_credentials", Message: "give a key"},
			text:  "401 Unauthorized: give a key",
		},
		{
			name:  "a JSON-RPC refusal",
			front: fairlead(http.StatusForbidden, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"bad origin"}}`),
			want:  &client.StatusError{Status: 403, Message: "bad origin"},
			text:  "403 Forbidden: bad origin",
		},
		{
			name:  "a redirect is not followed with the key",
			front: fairlead(http.StatusPermanentRedirect, ``, "Location", "https://elsewhere.example/mcp"),
			want:  &client.StatusError{Status: 308, Location: "https://elsewhere.example/mcp"},
			text:  "308 Permanent Redirect: the server redirects to https://elsewhere.example/mcp: use that URL",
		},
		{
			name:  "nothing there",
			front: func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true },
			want:  &client.StatusError{Status: 404, Message: "404 page not found"},
			text:  "404 Not Found: 404 page not found",
		},
	}
	for _, transport := range []client.Transport{client.Auto, client.SSE, client.Streamable, client.Stateless} {
		for _, tt := range tests {
			t.Run(string(transport)+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.front.Store(&tt.front)
				c := connect(t, client.Options{URL: s.url("/mcp"), Transport: transport, APIKey: "sesame"})
				_, err := c.Tools(t.Context())
				var got *client.StatusError
				if !errors.As(err, &got) {
					t.Fatalf("Tools = %v, want a StatusError", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if got.Error() != tt.text {
					t.Errorf("Error() = %q, want %q", got.Error(), tt.text)
				}
				closed, _ := next[client.Closed](t, c)
				if !errors.As(closed.Err, &got) {
					t.Errorf("Closed.Err = %v, want the refusal", closed.Err)
				}
			})
		}
	}
}

// TestRetryAfterLengthensTheWait also shows that 503 is not the end.
func TestRetryAfterLengthensTheWait(t *testing.T) {
	t.Parallel()
	for _, tt := range eras[:3] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			var down atomic.Bool
			down.Store(true)
			front := func(w http.ResponseWriter, _ *http.Request) bool {
				if down.Load() {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				return down.Load()
			}
			s.front.Store(&front)
			c := connect(t, client.Options{URL: s.url(tt.path), Transport: tt.transport})
			lost, _ := next[client.Disconnected](t, c)
			if lost.RetryIn < time.Second {
				t.Errorf("RetryIn = %s, want at least the second that the server asked for", lost.RetryIn)
			}
			down.Store(false)
			next[client.Connected](t, c)
		})
	}
}

func TestKeyGoesToItsOwnHostOnly(t *testing.T) {
	t.Parallel()
	other := newServer(t)
	leak := func(http.ResponseWriter, *http.Request) bool {
		t.Error("the foreign host got a request")
		return false
	}
	other.front.Store(&leak)

	s := newServer(t)
	front := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer sesame" || r.Header.Get("X-Tenant") != "a" {
			t.Errorf("headers = %v, want the key and X-Tenant", r.Header)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("event: endpoint\ndata: " + other.url("/messages") + "\n\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	s.front.Store(&front)
	c := connect(t, client.Options{
		URL: s.url("/sse"), Transport: client.SSE, APIKey: "sesame", Header: http.Header{"x-tenant": {"a"}},
	})
	if err := c.Wait(t.Context()); err == nil {
		t.Error("Wait = nil, want a refusal of the foreign endpoint")
	}
}

func TestPinnedEra(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, client.Options{URL: s.url("/resumable"), Transport: client.Stateless})
	if err := c.Wait(t.Context()); !errors.Is(err, client.ErrEra) {
		t.Errorf("Wait = %v, want ErrEra", err)
	}
}

func TestProtocolErrorsAreTyped(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := connect(t, client.Options{URL: s.url("/mcp")})
	_, err := c.CallTool(t.Context(), "nope", nil, nil)
	var rpc *jsonrpc.Error
	if !errors.As(err, &rpc) || rpc.Code != jsonrpc.CodeInvalidParams {
		t.Errorf("CallTool = %v, want a JSON-RPC error of invalid params", err)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	mcp.AddTool(s.tools(), &mcp.Tool{Name: "say", Description: "Log."},
		func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			err := r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "warning", Logger: "part", Data: map[string]any{"a": 1}}) //nolint:staticcheck // SA1019: it is what is tested.
			return &mcp.CallToolResult{Content: []mcp.Content{}}, nil, err
		})
	for _, tt := range eras[:2] {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, client.Options{URL: s.url(tt.path), Transport: tt.transport, LogLevel: "info"})
			if _, err := c.CallTool(t.Context(), "say", nil, nil); err != nil {
				t.Fatalf("CallTool: %v", err)
			}
			got, _ := next[client.Log](t, c)
			want := client.Log{At: got.At, Level: "warning", Logger: "part", Data: []byte(`{"a":1}`)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	for _, tt := range eras[:3] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			c := connect(t, client.Options{URL: s.url(tt.path), Transport: tt.transport})
			done := make(chan error, 1)
			go func() {
				_, err := c.CallTool(t.Context(), "hold", nil, nil)
				done <- err
			}()
			<-s.held
			c.Close()
			if err := <-done; err == nil {
				t.Error("the running call succeeded")
			}
			closed, _ := next[client.Closed](t, c)
			if closed.Err != nil {
				t.Errorf("Closed.Err = %v, want nil", closed.Err)
			}
			if _, err := c.CallTool(t.Context(), "echo", nil, nil); !errors.Is(err, client.ErrClosed) {
				t.Errorf("CallTool = %v, want ErrClosed", err)
			}
			close(s.hold)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		o    client.Options
		want string
	}{
		{name: "no URL", want: `the URL "" is not an address such as http://127.0.0.1:8080/mcp`},
		{name: "a name", o: client.Options{URL: "orders"}, want: `the URL "orders" is not an address such as http://127.0.0.1:8080/mcp`},
		{name: "another scheme", o: client.Options{URL: "ftp://a/mcp"}, want: `the URL "ftp://a/mcp" is not an address such as http://127.0.0.1:8080/mcp`},
		{name: "a user in it", o: client.Options{URL: "http://me:secret@a/mcp"}, want: `the URL of "a" carries a user: give credentials as a key or a header`},
		{name: "transport", o: client.Options{URL: "http://a", Transport: "smoke"}, want: `unknown transport "smoke": use auto, sse, streamable or stateless`},
		{name: "a key with a line break", o: client.Options{URL: "http://a", APIKey: "one\ntwo"}, want: "the API key has a line break or another control character in it: no server gets such a key"},
		{name: "level", o: client.Options{URL: "http://a", LogLevel: "loud"}, want: `unknown log level "loud": use one of debug, info, notice, warning, error, critical, alert, emergency`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := client.Connect(t.Context(), tt.o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("Connect = %v, want %s", err, tt.want)
			}
		})
	}
}
