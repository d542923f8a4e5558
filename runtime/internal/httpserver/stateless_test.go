// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// with is q with a header changed.
func (q request) with(name, value string) request {
	q.header = maps.Clone(q.header)
	q.header[name] = value
	return q
}

// repeating is q with a header sent several times.
func (q request) repeating(name string, values ...string) request {
	q.repeated = http.Header{name: values}
	return q
}

func (q request) without(name string) request {
	q.header = maps.Clone(q.header)
	delete(q.header, name)
	return q
}

func modernCall(name, arguments string) request {
	return modern("tools/call", name, `"name":"`+name+`","arguments":`+arguments)
}

//nolint:thelper // The scenarios are tests, not helpers.
var statelessScenarios = []scenario{
	{
		name:  "stateless: JSON or a stream",
		musts: []string{"modern-json-or-stream", "modern-no-session", "modern-dual", "no-buffering"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			got := w.do(t, modernCall("echo", `{"message":"hi"}`).with("Mcp-Session-Id", "abc").with("Last-Event-ID", "7"))
			if got.status != 200 || got.header.Get("Content-Type") != "application/json" || !strings.Contains(got.body, `"resultType":"complete"`) {
				t.Errorf("a call: %+v", got)
			}
			if id := got.header.Get("Mcp-Session-Id"); id != "" || w.sessions.Count() != 0 {
				t.Errorf("a session %q was opened", id)
			}
			q := modern("tools/call", "steps", `"name":"steps"`)
			q.body = strings.Replace(q.body, `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)
			e := w.open(t, q)
			for range 3 {
				if got := e.message(); got["method"] != "notifications/progress" {
					t.Errorf("got %v, want progress", got)
				}
			}
			if got := e.message(); got["result"] == nil {
				t.Errorf("got %v, want the response", got)
			}
			e.end()
			if got := w.do(t, request{path: "/mcp", body: initialize("2026-07-28")}); got.header.Get("Mcp-Session-Id") == "" || !strings.Contains(got.body, `"protocolVersion":"2025-11-25"`) {
				t.Errorf("initialize: %+v, want a legacy session", got)
			}
		},
	},
	{
		name:  "stateless: refusals",
		musts: []string{"modern-mismatch", "modern-version", "modern-meta", "modern-method", "modern-405", "modern-202", "refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			echo := modernCall("echo", "{}")
			without := func(member string) request {
				q := echo
				q.body = strings.Replace(q.body, member, `"x":{}`, 1)
				return q
			}
			future := echo.with("MCP-Protocol-Version", "2099-01-01")
			future.body = strings.Replace(future.body, "2026-07-28", "2099-01-01", 1)
			noMeta := echo
			noMeta.body = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`
			tests := []struct {
				name   string
				q      request
				status int
				body   string
			}{
				{"no version header", echo.without("MCP-Protocol-Version"), 400, `"code":-32020`},
				{"version header", echo.with("MCP-Protocol-Version", "2025-11-25"), 400, `"code":-32020`},
				{"no method header", echo.without("Mcp-Method"), 400, `"code":-32020`},
				{"method header", echo.with("Mcp-Method", "tools/list"), 400, `"code":-32020`},
				{"no name header", echo.without("Mcp-Name"), 400, `"code":-32020`},
				{"name header", echo.with("Mcp-Name", "steps"), 400, `"code":-32020`},
				{"version", future, 400, `"code":-32022`},
				{"no _meta", noMeta, 400, `"code":-32602`},
				{"no capabilities", without(`"io.modelcontextprotocol/clientCapabilities":{}`), 400, `"code":-32602`},
				{"unknown method", modern("ping", "", ""), 404, `"code":-32601`},
				{"removed method", modern("resources/subscribe", "", ""), 404, `"code":-32601`},
				{"unknown tool", modernCall("nope", "{}"), 400, `"code":-32602`},
				{"no JSON", request{path: "/mcp", header: echo.header, body: "{"}, 400, `"code":-32700`},
				{"a batch", request{path: "/mcp", header: echo.header, body: "[" + echo.body + "]"}, 400, `"code":`},
				{"GET", request{path: "/mcp", header: echo.header}, 405, `{"error":"method_not_allowed",`},
				{"DELETE", request{path: "/mcp", method: http.MethodDelete, header: echo.header}, 405, `{"error":"method_not_allowed",`},
				{"a notification", request{path: "/mcp", header: echo.header, body: `{"jsonrpc":"2.0","method":"notifications/x","params":{` + meta + `}}`}, 202, ""},
				{"neither form", echo.with("Accept", "text/html"), 406, `{"error":"not_acceptable",`},
			}
			for _, tt := range tests {
				got := w.do(t, tt.q)
				if got.status != tt.status || !strings.Contains(got.body, tt.body) || tt.status == 202 && got.body != "" {
					t.Errorf("%s: %d %s, want %d with %s", tt.name, got.status, got.body, tt.status, tt.body)
				}
			}
		},
	},
	{
		name:  "stateless: no header twice",
		musts: []string{"modern-mismatch"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			echo := modernCall("echo", `{"message":"hi"}`)
			legacy := request{path: "/mcp", body: initialize("2025-11-25"), header: map[string]string{}}
			session := w.streamableSession(t, "2025-11-25", "")
			get := request{path: "/mcp", header: map[string]string{"Accept": "text/event-stream", "Mcp-Session-Id": session}}
			end := get
			end.method = http.MethodDelete
			for _, tt := range []struct {
				name   string
				q      request
				header string
				values []string
				body   string
			}{
				{"method", echo, "Mcp-Method", []string{"tools/call", "tools/list"}, `"id":1,"error":{"code":-32020`},
				{"method, the same", echo, "Mcp-Method", []string{"tools/call", "tools/call"}, `"code":-32020`},
				{"method, one empty", echo, "Mcp-Method", []string{"tools/call", ""}, `"code":-32020`},
				{"name", echo, "Mcp-Name", []string{"echo", "steps"}, `"code":-32020`},
				{"param", echo, "Mcp-Param-Region", []string{"eu", "us"}, `"code":-32020`},
				{"param of no tool", echo, "Mcp-Param-Nothing", []string{"eu", "us"}, `"code":-32020`},
				{"version", echo, "Mcp-Protocol-Version", []string{"2026-07-28", "2025-11-25"}, `"code":-32020`},
				{"version, the other way", echo, "Mcp-Protocol-Version", []string{"2025-11-25", "2026-07-28"}, `"code":-32020`},
				{"legacy version", legacy, "Mcp-Protocol-Version", []string{"2025-11-25", "2026-07-28"}, `{"error":"header_mismatch",`},
				{"legacy version, the same", legacy, "Mcp-Protocol-Version", []string{"2025-11-25", "2025-11-25"}, `{"error":"header_mismatch",`},
				{"legacy stream", get, "Mcp-Protocol-Version", []string{"2025-11-25", "2025-06-18"}, `{"error":"header_mismatch",`},
				{"legacy end", end, "Mcp-Protocol-Version", []string{"2025-11-25", "2025-06-18"}, `{"error":"header_mismatch",`},
			} {
				got := w.do(t, tt.q.repeating(tt.header, tt.values...))
				if got.status != http.StatusBadRequest || !strings.Contains(got.body, tt.body) {
					t.Errorf("%s: %d %s, want 400 with %s", tt.name, got.status, got.body, tt.body)
				}
				if strings.HasPrefix(tt.body, `"`) && !strings.Contains(got.body, http.CanonicalHeaderKey(tt.header)+" ") {
					t.Errorf("%s: %s does not name the header %s", tt.name, got.body, tt.header)
				}
			}
			if w.sessions.Count() != 1 {
				t.Errorf("%d sessions, want the one that was opened", w.sessions.Count())
			}
		},
	},
	{
		name:  "stateless: closing the response cancels",
		musts: []string{"modern-cancel"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			e := w.open(t, modernCall("wait", "{}"))
			receive(t, w.began, "the call began")
			e.hangUp()
			receive(t, w.cancelled, "the call was cancelled")
		},
	},
	{
		name:  "stateless: subscriptions/listen",
		musts: []string{"modern-listen", "modern-listen-late", "modern-listen-end", "one-stream"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			e := w.open(t, modern("subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`))
			other := w.open(t, modern("subscriptions/listen", "", `"notifications":{}`))
			for _, e := range []*events{e, other} {
				if got := e.message(); got["method"] != "notifications/subscriptions/acknowledged" {
					t.Errorf("first %v", got)
				}
			}
			w.change(t, "three")
			got := e.message()
			params, _ := got["params"].(map[string]any)
			tags, _ := params["_meta"].(map[string]any)
			if got["method"] != "notifications/tools/list_changed" || tags["io.modelcontextprotocol/subscriptionId"] != float64(1) {
				t.Errorf("got %v", got)
			}
			// Who opens a stream now may have listed the tools from before.
			late := w.open(t, modern("subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`))
			for _, want := range []string{"notifications/subscriptions/acknowledged", "notifications/tools/list_changed"} {
				if got := late.message(); got["method"] != want {
					t.Errorf("after a change: %v, want %s", got, want)
				}
			}
			for _, l := range w.stateless.Listens() {
				l.Leave(stream.Drain)
			}
			for _, e := range []*events{e, other, late} {
				if got := e.message(); got["id"] != float64(1) || got["result"] == nil {
					t.Errorf("last %v, want the result", got)
				}
				e.end()
			}
		},
	},
}
