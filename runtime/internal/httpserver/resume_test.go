// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"net/http"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// resumed is a GET that goes on after an event.
func resumed(session, last string) request {
	return request{path: "/mcp", header: map[string]string{"Mcp-Session-Id": session, "Accept": "text/event-stream", "Last-Event-ID": last}}
}

//nolint:thelper // The scenarios are tests, not helpers.
var resumeScenarios = []scenario{
	{
		name:  "resume: an answer whose stream was lost goes on until the response",
		musts: []string{"resume-prime", "resume-replay", "resume-ids", "http-disconnect", "http-stream-ends"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(1, "report", "{}"), header: inSession(id)})
			prime := e.primed()
			w.finish <- struct{}{}
			first := e.one()
			if first.id == prime || !strings.Contains(first.data, `"progress":1`) {
				t.Fatalf("got %+v, want progress with an id of its own", first)
			}
			e.hangUp()
			w.waitClosed(t, stream.ClientGone)
			// Said while nobody listens.
			w.finish <- struct{}{}
			again := w.open(t, resumed(id, prime))
			if got := again.one(); got != first {
				t.Errorf("got %+v, want %+v again", got, first)
			}
			second := again.one()
			if !strings.Contains(second.data, `"progress":2`) {
				t.Errorf("got %+v, want the second progress", second)
			}
			// And live.
			w.finish <- struct{}{}
			if got := again.one(); !strings.Contains(got.data, `"progress":3`) {
				t.Errorf("got %+v, want the third progress", got)
			}
			w.finish <- struct{}{}
			if got := again.one(); !strings.Contains(got.data, `"result"`) {
				t.Errorf("got %+v, want the response", got)
			}
			again.end()
			// The response itself may have been lost too.
			last := w.open(t, resumed(id, second.id))
			for _, want := range []string{`"progress":3`, `"result"`} {
				if got := last.one(); !strings.Contains(got.data, want) {
					t.Errorf("got %+v, want %s", got, want)
				}
			}
			last.end()
		},
	},
	{
		name:  "resume: the newest connection takes the answer over",
		musts: []string{"resume-replay"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(1, "wait", "{}"), header: inSession(id)})
			prime := e.primed()
			// The client has lost a stream of which the server still thinks that it
			// is read, twice.
			second := w.open(t, resumed(id, prime))
			third := w.open(t, resumed(id, prime))
			second.end()
			w.finish <- struct{}{}
			if got := third.message(); got["id"] != float64(1) || got["result"] == nil {
				t.Errorf("got %v, want the response", got)
			}
			third.end()
			e.end()
		},
	},
	{
		name:  "resume: nothing is left",
		musts: []string{"resume-nothing", "resume-own"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id, other := w.streamableSession(t, "2025-11-25", ""), w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/mcp", body: callBody(1, "steps", "{}"), header: inSession(id)})
			e.primed()
			var last event
			for got := range e.next {
				last = got
			}
			if !strings.Contains(last.data, `"result"`) {
				t.Fatalf("the last event is %+v", last)
			}
			for name, q := range map[string]request{
				"after the response": resumed(id, last.id),
				"another session":    resumed(other, last.id),
				"an unknown stream":  resumed(id, "p99-0"),
			} {
				if got := w.do(t, q); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST, DELETE" || !strings.HasPrefix(got.body, `{"error":"nothing_to_resume",`) {
					t.Errorf("%s: %+v, want 405", name, got)
				}
			}
			mallory := resumed(id, last.id)
			mallory.header["X-Who"] = "mallory"
			if got := w.do(t, mallory); got.status != http.StatusNotFound {
				t.Errorf("another principal: %+v, want 404", got)
			}
		},
	},
	{
		name:  "resume: an answer never gets messages of another",
		musts: []string{"resume-own", "one-stream", "resume-ids"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			listening := w.open(t, request{path: "/mcp", header: map[string]string{"Mcp-Session-Id": id, "Accept": "text/event-stream"}})
			a := w.open(t, request{path: "/mcp", body: callBody(1, "report", "{}"), header: inSession(id)})
			b := w.open(t, request{path: "/mcp", body: callBody(2, "steps", "{}"), header: inSession(id)})
			ids := map[string]bool{listening.primed(): true}
			prime := a.primed()
			ids[prime] = true
			for got := range b.next {
				ids[got.id] = true
			}
			if len(ids) != 1+1+1+4 {
				t.Errorf("ids %v, want 7 that differ", ids)
			}
			a.hangUp()
			w.waitClosed(t, stream.Completed)
			w.waitClosed(t, stream.ClientGone)
			for range 4 {
				w.finish <- struct{}{}
			}
			again := w.open(t, resumed(id, prime))
			for got := range again.next {
				if !strings.Contains(got.data, `"p1"`) && !strings.Contains(got.data, `"id":1`) {
					t.Errorf("got %+v, which is not of the first call", got)
				}
			}
			w.change(t, "three")
			if got := listening.message(); got["method"] != "notifications/tools/list_changed" {
				t.Errorf("the listening stream got %v", got)
			}
		},
	},
	{
		name:  "resume: older revisions get ids, but no event without a message",
		musts: []string{"resume-prime"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			for _, version := range []string{engine.Version20250326, engine.Version20250618} {
				id := w.streamableSession(t, version, "")
				e := w.open(t, request{path: "/mcp", body: callBody(1, "steps", "{}"), header: inSession(id)})
				if got := e.one(); got.id == "" || !strings.Contains(got.data, `"progress":1`) {
					t.Errorf("%s: the first event is %+v, want progress with an id", version, got)
				}
			}
		},
	},
	{
		name:  "resume: a listening stream that is closed for a drain says when to come back, and one that resumes misses no change",
		musts: []string{"resume-retry", "resume-changes", "http-get"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			s, _ := w.sessions.Get(id, "anonymous")
			listen := func(last string) *events {
				e := w.open(t, resumed(id, last))
				e.primed()
				return e
			}
			first := listen("")
			w.change(t, "three")
			told := first.one()
			s.Leave(stream.Drain)
			if got := first.one(); got.retry != "1000" || got.data != "" {
				t.Errorf("the last event is %+v, want a time to wait", got)
			}
			first.end()
			w.waitClosed(t, stream.Drain)
			// Changed while nobody listens.
			w.change(t, "four")
			second := listen(told.id)
			if got := second.message(); got["method"] != "notifications/tools/list_changed" {
				t.Errorf("got %v, want the change from meanwhile", got)
			}
			second.hangUp()
			w.waitClosed(t, stream.ClientGone)
			// The client saw nothing of the second stream.
			third := listen(told.id)
			seen := third.one()
			if !strings.Contains(seen.data, "list_changed") {
				t.Errorf("got %+v, want the change that was lost", seen)
			}
			third.hangUp()
			w.waitClosed(t, stream.ClientGone)
			// Now it has seen all.
			fourth := listen(seen.id)
			s.Leave(stream.Drain)
			if got := fourth.one(); got.retry == "" {
				t.Errorf("got %+v, want nothing but the end", got)
			}
		},
	},
	{
		name:  "resume: a client of HTTP+SSE comes back with the id of its session",
		musts: []string{"resume-sse", "sse-endpoint-first"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			e, messages := w.sseSession(t, "", "alice")
			alice := map[string]string{"X-Who": "alice"}
			w.do(t, request{path: messages, body: callBody(1, "wait", "{}"), header: alice})
			receive(t, w.began, "the call began")
			e.hangUp()
			w.waitClosed(t, stream.ClientGone)
			w.finish <- struct{}{}
			back := func(who string) (*events, string) {
				last := strings.TrimPrefix(messages, "/messages?sessionId=")
				e := w.open(t, request{path: "/sse", header: map[string]string{"Accept": "text/event-stream", "X-Who": who, "Last-Event-ID": last}})
				first := e.one()
				if first.name != "endpoint" || first.data != "messages?sessionId="+first.id {
					t.Fatalf("the first event is %+v, want the endpoint under its id", first)
				}
				return e, "/" + first.data
			}
			again, to := back("alice")
			if to != messages {
				t.Errorf("messages go to %q, want %q as before", to, messages)
			}
			if got := again.message(); got["id"] != float64(1) || got["result"] == nil {
				t.Errorf("got %v, want the response from meanwhile", got)
			}
			w.do(t, request{path: to, body: callBody(2, "echo", "{}"), header: alice})
			if got := again.message(); got["id"] != float64(2) || got["result"] == nil {
				t.Errorf("got %v, want the response", got)
			}
			if _, to := back("mallory"); to == messages {
				t.Error("another principal took the session over")
			}
		},
	},
	{
		name:  "resume: a client of HTTP+SSE comes back with its protocol version only",
		musts: []string{"resume-sse"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			open := func(version string) (*events, string) {
				e := w.open(t, request{path: "/sse", header: map[string]string{"Accept": "text/event-stream", "MCP-Protocol-Version": version}})
				return e, "/" + e.one().data
			}
			// The TypeScript SDK sends no Last-Event-ID, and does not initialize again.
			e, to := open("2025-11-25")
			w.do(t, request{path: to, body: callBody(1, "echo", `{"message":"hi"}`)})
			if got := e.message(); got["result"] == nil {
				t.Errorf("got %v, want a result", got)
			}
			w.do(t, request{path: to, body: initialize("2024-11-05")})
			if got := e.message(); got["result"] == nil {
				t.Errorf("initialize: %v", got)
			}
			w.do(t, request{path: to, body: initialize("2024-11-05")})
			if got := e.message(); got["error"] == nil {
				t.Errorf("a second initialize: %v, want an error", got)
			}
			e, to = open("1999-01-01")
			w.do(t, request{path: to, body: callBody(1, "echo", "{}")})
			got, _ := e.message()["error"].(map[string]any)
			if text, _ := got["message"].(string); !strings.Contains(text, "initialize comes first") {
				t.Errorf("got %v, want to be told to initialize", got)
			}
		},
	},
}
