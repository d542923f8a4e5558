// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

//nolint:thelper // The scenarios are tests, not helpers.
var sseScenarios = []scenario{
	{
		name:  "sse: a conversation",
		musts: []string{"sse-endpoints", "sse-endpoint-first", "sse-message-events", "sse-accepted", "no-buffering"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			e, messages := w.sseSession(t, "", "")
			if !strings.HasPrefix(messages, "/messages?sessionId=") {
				t.Errorf("messages go to %q", messages)
			}
			for name, want := range map[string]string{"X-Accel-Buffering": "no", "Cache-Control": "no-cache, no-transform"} {
				if got := e.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			got := w.do(t, request{path: messages, body: callBody(7, "steps", "{}")})
			if got.status != http.StatusAccepted || got.body != "" {
				t.Errorf("POST: %+v, want 202 and no body", got)
			}
			for i := range 3 {
				params, _ := e.message()["params"].(map[string]any)
				if params["progressToken"] != "p7" || params["progress"] != float64(i+1) {
					t.Errorf("message %d is %v, want progress", i, params)
				}
			}
			if got := e.message(); got["id"] != float64(7) || got["result"] == nil {
				t.Errorf("the response is %v", got)
			}
		},
	},
	{
		name:  "sse: the address for messages is relative to the prefix",
		musts: []string{"sse-endpoint-first"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{access: httpserver.Access{Prefix: "/orders"}})
			e, messages := w.sseSession(t, "/orders", "")
			w.do(t, request{path: messages, body: callBody(1, "echo", `{"message":"hi"}`)})
			if got := e.message(); got["result"] == nil {
				t.Errorf("the response is %v", got)
			}
		},
	},
	{
		name:  "sse: two sessions that use the same ids",
		musts: []string{"one-stream"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			a, toA := w.sseSession(t, "", "")
			b, toB := w.sseSession(t, "", "")
			w.do(t, request{path: toA, body: callBody(1, "echo", `{"message":"secret"}`)})
			if got := a.one(); !strings.Contains(got.data, "secret") {
				t.Errorf("A got %+v", got)
			}
			w.do(t, request{path: toB, body: callBody(1, "echo", `{"message":"other"}`)})
			if got := b.one(); strings.Contains(got.data, "secret") || !strings.Contains(got.data, "other") {
				t.Errorf("B got %+v", got)
			}
		},
	},
	{
		name:  "sse: refusals of messages",
		musts: []string{"sse-no-session", "sse-unknown-session", "json-only", "bound-to-principal", "refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			_, messages := w.sseSession(t, "", "alice")
			alice := map[string]string{"X-Who": "alice"}
			tests := []struct {
				name   string
				q      request
				status int
				body   string
			}{
				{"no session id", request{path: "/messages", body: initialized}, 400, `{"error":"missing_session_id",`},
				{"unknown session", request{path: "/messages?sessionId=abc", body: initialized}, 404, `{"error":"unknown_session",`},
				{"another principal", request{path: messages, body: initialized, header: map[string]string{"X-Who": "bob"}}, 404, `{"error":"unknown_session",`},
				{"wrong type", request{path: messages, body: initialized, header: map[string]string{"X-Who": "alice", "Content-Type": "text/plain"}}, 415, `{"error":"unsupported_media_type",`},
				{"no JSON", request{path: messages, body: "{", header: alice}, 400, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,`},
				{"method", request{path: messages, method: http.MethodGet, header: alice}, 405, `{"error":"method_not_allowed",`},
				{"method of the stream", request{path: "/sse", body: "{}", header: alice}, 405, `{"error":"method_not_allowed",`},
				{"accept", request{path: "/sse", header: map[string]string{"Accept": "application/json"}}, 406, `{"error":"not_acceptable",`},
			}
			for _, tt := range tests {
				got := w.do(t, tt.q)
				if got.status != tt.status || !strings.HasPrefix(got.body, tt.body) {
					t.Errorf("%s: %d %s, want %d %s", tt.name, got.status, got.body, tt.status, tt.body)
				}
			}
		},
	},
	{
		name:  "sse: an error of a request travels on the stream",
		musts: []string{"sse-accepted"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			e, messages := w.sseSession(t, "", "")
			if got := w.do(t, request{path: messages, body: `{"jsonrpc":"2.0","id":9,"method":"nope"}`}); got.status != http.StatusAccepted {
				t.Errorf("POST: %+v, want 202", got)
			}
			got := e.message()
			if problem, _ := got["error"].(map[string]any); got["id"] != float64(9) || problem["code"] != float64(-32601) {
				t.Errorf("the answer is %v", got)
			}
		},
	},
	{
		name:  "sse: a session ends with its stream, and its calls with it, unless the client comes back",
		musts: []string{"sse-ends"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{sessions: session.Options{Max: 10, IdleTimeout: 400 * time.Millisecond, MaxAge: time.Hour}})
			go w.sessions.Run(t.Context())
			e, messages := w.sseSession(t, "", "")
			w.do(t, request{path: messages, body: callBody(1, "wait", "{}")})
			receive(t, w.began, "the call began")
			e.hangUp()
			w.waitClosed(t, stream.ClientGone)
			if got := w.do(t, request{path: messages, body: initialized}); got.status != http.StatusServiceUnavailable || !strings.HasPrefix(got.body, `{"error":"no_stream",`) {
				t.Errorf("before the client came back: %+v, want 503", got)
			}
			receive(t, w.cancelled, "the call was cancelled")
			if got := w.do(t, request{path: messages, body: initialized}); got.status != http.StatusNotFound {
				t.Errorf("after the stream: %+v, want 404", got)
			}
		},
	},
	{
		name:  "sse: modes",
		musts: []string{"sse-mode"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{settings: func(s *transport.Settings) { s.SSEMode = "Warn" }})
			e := w.open(t, request{path: "/sse"})
			if got := e.header.Get("Deprecation"); got != "@1742947200" || time.Unix(1742947200, 0).UTC().Format(time.DateOnly) != "2025-03-26" {
				t.Errorf("Deprecation: %q", got)
			}
			settings := *w.core.Settings()
			settings.SSEMode = "Disabled"
			w.core.Configure(settings)
			for _, q := range []request{{path: "/sse"}, {path: "/messages?sessionId=x", body: "{}"}} {
				if got := w.do(t, q); got.status != http.StatusNotFound {
					t.Errorf("%s: %+v, want 404", q.path, got)
				}
			}
		},
	},
	{
		name:  "sse: list_changed, and heartbeats",
		musts: []string{"heartbeat", "sse-message-events"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{settings: func(s *transport.Settings) { s.Heartbeat = 20 * time.Millisecond }})
			e := w.open(t, request{path: "/sse"})
			if got := e.one(); got.name != "endpoint" {
				t.Fatalf("first %+v", got)
			}
			if got := e.one(); !got.comment {
				t.Errorf("got %+v, want a comment", got)
			}
			w.change(t, "three")
			for {
				if got := e.one(); !got.comment {
					if got.data != `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}` {
						t.Errorf("got %+v", got)
					}
					return
				}
			}
		},
	},
}
