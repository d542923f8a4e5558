// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"net/http"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

var verifier = auth.Principal{Key: auth.VerifierKey, Name: auth.VerifierKey, Verifier: true}

func TestWhatTheVerifierMay(t *testing.T) {
	t.Parallel()
	const listen = `"notifications":{"toolsListChanged":true}`
	tests := []struct {
		name string
		q    request
		want int
	}{
		{name: "discover", q: modern("server/discover", "", ""), want: 200},
		{name: "list", q: modern("tools/list", "", ""), want: 200},
		{name: "call", q: modernCall("echo", `{"message":"hi"}`), want: 403},
		{name: "call of an unknown tool", q: modernCall("none", `{}`), want: 403},
		{name: "listen", q: modern("subscriptions/listen", "", listen), want: 403},
		{name: "unknown method", q: modern("resources/list", "", ""), want: 403},
		{name: "initialize", q: request{path: "/mcp", body: initialize("2025-06-18")}, want: 403},
		{name: "legacy list", q: request{path: "/mcp", body: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`}, want: 403},
		{name: "batch", q: request{path: "/mcp", body: `[` + initialize("2025-03-26") + `]`}, want: 403},
		{name: "stream of a session", q: request{path: "/mcp", header: map[string]string{"Accept": "text/event-stream"}}, want: 403},
		{name: "delete", q: request{path: "/mcp", method: http.MethodDelete}, want: 403},
		{name: "sse", q: request{path: "/sse", header: map[string]string{"Accept": "text/event-stream"}}, want: 403},
		{name: "message", q: request{path: "/messages?sessionId=x", body: initialize("2024-11-05")}, want: 403},
		{name: "list with a body that is too large", q: modern("tools/list", "", `"x":"`+strings.Repeat("x", 20<<10)+`"`), want: 413},
		{name: "list under a foreign name", q: modern("tools/list", "", "").with("Host", "evil.example"), want: 403},
	}
	w := newWorld(t, worldOptions{
		auth: newFickle(verifier), access: httpserver.Access{EnforceHost: true},
		// The clients' limit must not matter.
		settings: func(s *transport.Settings) { s.MaxRequestSize = 100 },
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := w.do(t, tt.q); got.status != tt.want {
				t.Errorf("%+v, want status %d", got, tt.want)
			}
			if w.sessions.Count() != 0 || len(w.stateless.Listens()) != 0 {
				t.Error("the verifier left something behind")
			}
		})
	}
}

func TestOnlyTheVerifierIsToldTheRevision(t *testing.T) {
	t.Parallel()
	for _, who := range []auth.Principal{verifier, ordinary} {
		w := newWorld(t, worldOptions{auth: newFickle(who)})
		w.change(t, "two, access: {anyRole: [admin]}")
		got := w.do(t, modern("tools/list", "", ""))
		told := strings.Contains(got.body, `"fairlead.dev/revision":"`+w.engine.Revision()+`"`)
		sees := strings.Contains(got.body, `"name":"echo"`)
		if got.status != 200 || told != who.Verifier || sees != who.Verifier {
			t.Errorf("%s: %+v", who.Name, got)
		}
	}
}
