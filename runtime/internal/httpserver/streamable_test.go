// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

func inSession(id string) map[string]string { return map[string]string{"Mcp-Session-Id": id} }

//nolint:thelper // The scenarios are tests, not helpers.
var streamableScenarios = []scenario{
	{
		name:  "streamable: a conversation",
		musts: []string{"http-one-endpoint", "http-202", "http-answer", "http-session-id", "http-terminated", "refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			if !regexp.MustCompile(`^[\x21-\x7e]{26,128}$`).MatchString(id) {
				t.Errorf("the session id is %q", id)
			}
			got := w.do(t, request{path: "/mcp", body: callBody(1, "echo", `{"message":"hi"}`), header: inSession(id)})
			want := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hi"}]}}`
			if got.status != 200 || got.header.Get("Content-Type") != "application/json" || compact(got.body) != want {
				t.Errorf("a call: %+v", got)
			}
			for name, body := range map[string]string{
				"a notification": `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}`,
				"a response":     `{"jsonrpc":"2.0","id":5,"result":{}}`,
			} {
				if got := w.do(t, request{path: "/mcp", body: body, header: inSession(id)}); got.status != 202 || got.body != "" {
					t.Errorf("%s: %+v, want 202 and no body", name, got)
				}
			}
			if got := w.do(t, request{method: http.MethodDelete, path: "/mcp", header: inSession(id)}); got.status != 204 {
				t.Errorf("DELETE: %+v", got)
			}
			for _, q := range []request{
				{path: "/mcp", body: initialized, header: inSession(id)},
				{path: "/mcp", header: inSession(id)},
				{path: "/mcp", method: http.MethodDelete, header: inSession(id)},
			} {
				if got := w.do(t, q); got.status != 404 || !strings.HasPrefix(got.body, `{"error":"unknown_session",`) {
					t.Errorf("%s after the end: %+v, want 404", q.method, got)
				}
			}
		},
	},
	{
		name:  "streamable: progress makes a stream of the answer, which ends after the response",
		musts: []string{"http-answer", "http-stream-ends", "no-buffering"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(3, "steps", "{}"), header: inSession(id)})
			e.primed()
			for range 3 {
				if got := e.message(); got["method"] != "notifications/progress" {
					t.Errorf("got %v, want progress", got)
				}
			}
			if got := e.message(); got["id"] != float64(3) || got["result"] == nil {
				t.Errorf("got %v, want the response", got)
			}
			e.end()
			w.waitClosed(t, stream.Completed)
			if got := e.header.Get("X-Accel-Buffering"); got != "no" {
				t.Errorf("X-Accel-Buffering: %q", got)
			}
		},
	},
	{
		name:  "streamable: a slow call gets a head before its response",
		musts: []string{"http-answer"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			// open returns with the head, before the call ends.
			e := w.open(t, request{path: "/mcp", body: callBody(3, "wait", "{}"), header: inSession(id)})
			e.primed()
			w.finish <- struct{}{}
			if got := e.message(); got["id"] != float64(3) {
				t.Errorf("got %v, want the response", got)
			}
			e.end()
		},
	},
	{
		name:  "streamable: a client that takes one form only",
		musts: []string{"http-answer", "http-accept"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(1, "echo", "{}"), header: map[string]string{"Mcp-Session-Id": id, "Accept": "text/event-stream"}})
			e.primed()
			if got := e.message(); got["id"] != float64(1) {
				t.Errorf("got %v, want the response", got)
			}
			e.end()
			got := w.do(t, request{path: "/mcp", body: callBody(2, "steps", "{}"), header: map[string]string{"Mcp-Session-Id": id, "Accept": "application/json"}})
			if got.header.Get("Content-Type") != "application/json" || !strings.Contains(got.body, `"id":2`) {
				t.Errorf("JSON only: %+v", got)
			}
			for accept, want := range map[string]int{"text/html": 406, "application/json;q=0": 406, "*/*": 200, "-Accept": 200} {
				header := map[string]string{"Mcp-Session-Id": id, "Accept": accept}
				if strings.HasPrefix(accept, "-") {
					header = map[string]string{"Mcp-Session-Id": id, accept: ""}
				}
				if got := w.do(t, request{path: "/mcp", body: callBody(4, "echo", "{}"), header: header}); got.status != want {
					t.Errorf("Accept %q: %+v, want %d", accept, got, want)
				}
			}
			if got := w.do(t, request{path: "/mcp", header: map[string]string{"Mcp-Session-Id": id, "Accept": "application/json"}}); got.status != 406 {
				t.Errorf("GET for JSON: %+v, want 406", got)
			}
		},
	},
	{
		name:  "streamable: refusals",
		musts: []string{"http-4xx", "http-no-session", "http-version", "http-not-modern", "refusal-body", "bound-to-principal", "json-only"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			with := func(name, value string) map[string]string {
				return map[string]string{"Mcp-Session-Id": id, name: value}
			}
			tests := []struct {
				name   string
				q      request
				status int
				body   string
			}{
				{"no session", request{path: "/mcp", body: callBody(1, "echo", "{}")}, 400, `{"error":"missing_session_id",`},
				{"a notification without a session", request{path: "/mcp", body: initialized}, 400, `{"error":"missing_session_id",`},
				{"GET without a session", request{path: "/mcp", header: map[string]string{"Accept": "text/event-stream"}}, 400, `{"error":"missing_session_id",`},
				{"DELETE without a session", request{path: "/mcp", method: http.MethodDelete}, 400, `{"error":"missing_session_id",`},
				{"unknown session", request{path: "/mcp", body: initialized, header: inSession("abc")}, 404, `{"error":"unknown_session",`},
				{"another principal", request{path: "/mcp", body: initialized, header: with("X-Who", "mallory")}, 404, `{"error":"unknown_session",`},
				{"DELETE by another principal", request{path: "/mcp", method: http.MethodDelete, header: with("X-Who", "mallory")}, 404, `{"error":"unknown_session",`},
				{"unsupported version", request{path: "/mcp", body: callBody(1, "echo", "{}"), header: with("MCP-Protocol-Version", "1999-01-01")}, 400, `{"error":"unsupported_version",`},
				{"unsupported version of GET", request{path: "/mcp", header: with("MCP-Protocol-Version", "garbage")}, 400, `{"error":"unsupported_version",`},
				{"no JSON", request{path: "/mcp", body: "{", header: inSession(id)}, 400, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,`},
				{"no message", request{path: "/mcp", body: `{"jsonrpc":"2.0"}`, header: inSession(id)}, 400, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,`},
				{"wrong type", request{path: "/mcp", body: "{}", header: with("Content-Type", "text/plain")}, 415, `{"error":"unsupported_media_type",`},
				{"no type", request{path: "/mcp", body: "{}", header: with("-Content-Type", "")}, 415, `{"error":"unsupported_media_type",`},
				{"method", request{path: "/mcp", method: http.MethodPut}, 405, `{"error":"method_not_allowed",`},
				{"a batch of a revision without them", request{path: "/mcp", body: "[" + initialized + "]", header: inSession(id)}, 400, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,`},
				{"a batch without a session", request{path: "/mcp", body: "[" + initialized + "]"}, 400, `{"error":"missing_session_id",`},
			}
			for _, tt := range tests {
				got := w.do(t, tt.q)
				if got.status != tt.status || !strings.HasPrefix(got.body, tt.body) {
					t.Errorf("%s: %d %s, want %d %s", tt.name, got.status, got.body, tt.status, tt.body)
				}
				if regexp.MustCompile(`-3202\d`).MatchString(got.body) {
					t.Errorf("%s: %s looks like an error of 2026-07-28", tt.name, got.body)
				}
			}
			if got := w.do(t, request{path: "/mcp", body: callBody(1, "nope", "{}"), header: inSession(id)}); got.status != 200 || !strings.Contains(got.body, `"code":-32602`) {
				t.Errorf("an unknown tool: %+v, want an error as the response", got)
			}
		},
	},
	{
		name:  "streamable: a disconnection does not cancel",
		musts: []string{"http-disconnect"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(1, "wait", "{}"), header: inSession(id)})
			receive(t, w.began, "the call began")
			e.hangUp()
			w.waitClosed(t, stream.ClientGone)
			select {
			case w.finish <- struct{}{}: // The call still waits for it.
			case <-w.cancelled:
				t.Fatal("the call was cancelled")
			}
			if got := w.do(t, request{path: "/mcp", body: callBody(2, "echo", "{}"), header: inSession(id)}); got.status != 200 {
				t.Errorf("the next call: %+v", got)
			}
		},
	},
	{
		name:  "streamable: a notification cancels, and the answer ends without a response",
		musts: []string{"http-disconnect"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(1, "wait", "{}"), header: inSession(id)})
			w.do(t, request{path: "/mcp", header: inSession(id), body: `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`})
			receive(t, w.cancelled, "the call was cancelled")
			e.primed()
			e.end()
		},
	},
	{
		name:  "streamable: the stream of GET",
		musts: []string{"http-get", "http-newest-get", "one-stream", "no-buffering"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			get := request{path: "/mcp", header: map[string]string{"Mcp-Session-Id": id, "Accept": "text/event-stream", "Last-Event-ID": "1"}}
			// What changed while nobody listened is told to who listens first.
			w.change(t, "three")
			first := w.open(t, get)
			first.primed()
			if got := first.message(); got["method"] != "notifications/tools/list_changed" {
				t.Errorf("got %v", got)
			}
			second := w.open(t, get)
			second.primed()
			first.end()
			w.waitClosed(t, stream.Replaced)
			if got := w.do(t, request{path: "/mcp", body: callBody(1, "echo", "{}"), header: inSession(id)}); got.status != 200 {
				t.Errorf("a call beside the stream: %+v", got)
			}
			for i := range 2 { // What the first stream was told may have been lost with it.
				if i == 1 {
					w.change(t, "fourth")
				}
				if got := second.one(); got.data != `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}` {
					t.Errorf("got %+v: no response may come here", got)
				}
			}
		},
	},
	{
		name:  "streamable: batches of 2025-03-26",
		musts: []string{"http-batch"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-03-26", "")
			batch := "[" + callBody(1, "echo", `{"message":"a"}`) + "," + initialized + "," + callBody(2, "echo", `{"message":"b"}`) + `,{"jsonrpc":"2.0","id":3,"method":"nope"}]`
			got := w.do(t, request{path: "/mcp", body: batch, header: inSession(id)})
			var answers []struct {
				ID     int
				Result json.RawMessage
				Error  *struct{ Code int }
			}
			if err := json.Unmarshal([]byte(got.body), &answers); err != nil || len(answers) != 3 {
				t.Fatalf("a batch: %+v, %v", got, err)
			}
			for _, a := range answers {
				if (a.ID == 3) != (a.Error != nil && a.Error.Code == -32601) || (a.ID == 3) == (a.Result != nil) {
					t.Errorf("answer %+v", a)
				}
			}
			if got := w.do(t, request{path: "/mcp", body: "[" + initialized + "]", header: inSession(id)}); got.status != 202 || got.body != "" {
				t.Errorf("a batch of notifications: %+v, want 202", got)
			}
			e := w.open(t, request{path: "/mcp", header: inSession(id), body: "[" + callBody(4, "steps", "{}") + "," + callBody(5, "echo", "{}") + "]"})
			seen := map[any]bool{}
			for range 5 {
				seen[e.message()["id"]] = true
			}
			if !seen[float64(4)] || !seen[float64(5)] {
				t.Errorf("responses to %v on the stream, want 4 and 5", seen)
			}
			e.end()
			if got := w.do(t, request{path: "/mcp", body: "[]", header: inSession(id)}); got.status != 400 {
				t.Errorf("an empty batch: %+v, want 400", got)
			}
		},
	},
}
