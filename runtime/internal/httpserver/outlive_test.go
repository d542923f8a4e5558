// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// outlives reports whether calls outlive their handlers on the way that is under test.
func outlives() bool { return current.outlive && !current.plain }

// reporting are calls of "report" in each era that answers a POST with a stream.
func reporting(t *testing.T, w *world) map[string]request {
	t.Helper()
	modern := modernCall("report", "{}")
	modern.body = strings.Replace(modern.body, `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)
	id := w.streamableSession(t, "2025-06-18", "")
	return map[string]request{
		"stateless":  modern,
		"streamable": {path: "/mcp", body: callBody(1, "report", "{}"), header: inSession(id)},
	}
}

// quiet reports whether no request is being answered.
func (w *world) quiet(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return w.handler.Quiet(ctx) == nil
}

// A call that streams goes on when its handler has returned, and so does all that was
// taken for it.
func TestACallOutlivesItsHandler(t *testing.T) {
	t.Parallel()
	if !outlives() {
		return
	}
	for _, wire := range []string{"stateless", "streamable"} {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			budget, returned := limit.NewBytes(1<<20), make(chan struct{}, 1024)
			w := newWorld(t, worldOptions{budget: budget, returned: returned})
			q := reporting(t, w)[wire]
			for len(returned) > 0 {
				<-returned
			}
			e := w.open(t, q)
			w.finish <- struct{}{}
			if got := e.message(); got["method"] != "notifications/progress" {
				t.Errorf("got %v, want progress", got)
			}
			receive(t, returned, "the handler returns")
			calls, _ := w.limits.Usage()
			if w.quiet(t) || calls != 1 || budget.Held() < int64(len(q.body)) {
				t.Errorf("while the call goes on: quiet %v, %d calls, %d bytes held of a body of %d", w.quiet(t), calls, budget.Held(), len(q.body))
			}
			session := w.sessions.All()[0]
			if inUse := wire == "streamable"; session.InUse() != inUse {
				t.Errorf("the session is in use: %v, want %v", !inUse, inUse)
			}
			for range 3 {
				w.finish <- struct{}{}
			}
			for _, want := range []string{`"progress":2`, `"progress":3`, `"reported"`} {
				if got := e.one(); !strings.Contains(got.data, want) {
					t.Errorf("got %+v, want %s", got, want)
				}
			}
			e.end()
			w.waitClosed(t, stream.Completed)
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			if err := w.handler.Quiet(ctx); err != nil {
				t.Error("the request is still being answered")
			}
			if calls, _ := w.limits.Usage(); calls != 0 || budget.Held() != 0 {
				t.Errorf("after the end: %d calls, %d bytes held", calls, budget.Held())
			}
			if session.InUse() {
				t.Error("the session is still in use")
			}
		})
	}
}

// Whoever hangs up cancels in the stateless era only, and a revocation in both.
func TestACallThatOutlivesItsHandlerIsCancelled(t *testing.T) {
	t.Parallel()
	if !outlives() {
		return
	}
	tests := []struct {
		name, wire string
		act        func(w *world, e *events)
		cancelled  bool
	}{
		{name: "a stateless client hangs up", wire: "stateless", act: func(_ *world, e *events) { e.hangUp() }, cancelled: true},
		{name: "a client with a session hangs up", wire: "streamable", act: func(_ *world, e *events) { e.hangUp() }},
		{name: "a stateless caller is revoked", wire: "stateless", act: func(w *world, _ *events) { w.stateless.Revoke([]string{"anonymous"}) }, cancelled: true},
		{name: "a session is revoked", wire: "streamable", act: func(w *world, _ *events) {
			for _, s := range w.sessions.All() {
				s.Close(stream.Revoked)
			}
		}, cancelled: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			returned := make(chan struct{}, 1024)
			w := newWorld(t, worldOptions{returned: returned})
			q := reporting(t, w)[tt.wire]
			q.body = strings.ReplaceAll(q.body, "report", "wait")
			if q.header["Mcp-Name"] != "" {
				q = q.with("Mcp-Name", "wait")
			}
			for len(returned) > 0 {
				<-returned
			}
			e := w.open(t, q)
			receive(t, w.began, "the call runs")
			receive(t, returned, "the handler returns")
			tt.act(w, e)
			if tt.cancelled {
				receive(t, w.cancelled, "the call is cancelled")
				return
			}
			w.waitClosed(t, stream.ClientGone)
			w.finish <- struct{}{}
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			if err := w.handler.Quiet(ctx); err != nil || len(w.cancelled) > 0 {
				t.Errorf("the call was cancelled, or goes on: %v", err)
			}
		})
	}
}

// crashing is an observer with a bug.
type crashing struct{}

func (crashing) ToolCall(string, string, time.Duration) { panic("a bug") }
func (crashing) Client(string, string)                  {}
func (crashing) Refused(string, string)                 {}

// A panic ends one call, wherever that runs.
func TestAPanicOfACallIsContained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{observer: crashing{}})
	if got := w.do(t, modernCall("echo", "{}")); got.status != http.StatusInternalServerError || !strings.HasPrefix(got.body, `{"error":"internal_error",`) {
		t.Errorf("before there is a stream: %+v", got)
	}
	for wire, q := range reporting(t, w) {
		response := w.send(t, t.Context(), q.with("X-Wire", wire))
		for range 4 {
			w.finish <- struct{}{}
		}
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%s: the stream ended as if it were whole: %s", wire, body)
		}
		_ = response.Body.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if err := w.handler.Quiet(ctx); err != nil {
		t.Error("a request is still being answered")
	}
}

// A connection serves the next call also after it was taken over for an answer.
func TestOneConnectionForManyAnswers(t *testing.T) {
	t.Parallel()
	const calls = 100
	w := newWorld(t, worldOptions{})
	id := w.streamableSession(t, "2025-11-25", "")
	own := &http.Client{Transport: &http.Transport{}}
	defer own.CloseIdleConnections()
	dialed := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused {
			dialed++
		}
	}})
	for i := range calls {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/mcp", strings.NewReader(callBody(i, []string{"steps", "echo"}[i%2], "{}")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{
			"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Session-Id": {id},
			"Origin": {w.url}, "X-Request-Id": {fmt.Sprint("request-", i)},
		}
		response, err := own.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || !strings.Contains(string(body), fmt.Sprintf(`"id":%d,"result"`, i)) {
			t.Errorf("call %d: %s, %v", i, body, err)
		}
		if got := response.Header; got.Get("X-Request-Id") != fmt.Sprint("request-", i) || got.Get("Access-Control-Allow-Origin") != w.url {
			t.Errorf("call %d: header %v", i, got)
		}
	}
	if dialed != 1 {
		t.Errorf("%d connections for %d calls, want 1", dialed, calls)
	}
}

// What a client sends before it has its answer is served after that, however it is
// split.
func TestRequestsAheadOfTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	id := w.streamableSession(t, "2025-06-18", "")
	post := func(n int, name string) string {
		body := callBody(n, name, "{}")
		return fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nMcp-Session-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body)
	}
	all := post(1, "report") + post(2, "steps") + post(3, "echo")
	for _, first := range []int{len(post(1, "report")), len(post(1, "report")) + 1, len(all) - 10, len(all)} {
		conn := w.dial(t, all[:first])
		w.finish <- struct{}{}
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, all[first:]); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.finish <- struct{}{}
		}
		for n := 1; ; n++ {
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || !strings.Contains(string(body), fmt.Sprintf(`"id":%d,"result"`, n)) {
				t.Errorf("%d bytes at first, answer %d: %s, %v", first, n, body, err)
			}
			if n == 3 {
				break
			}
			if response, err = http.ReadResponse(reader, nil); err != nil {
				t.Fatalf("%d bytes at first, answer %d: %v", first, n+1, err)
			}
		}
	}
}

// cutting is a Router whose replicas break off all that they answer.
type cutting struct{}

func (cutting) Route(w http.ResponseWriter, _ *http.Request, _ string, _ []byte) bool {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// A body is let go also if its answer breaks off on the way from another replica.
func TestABodyThatWasForwardedIsReleased(t *testing.T) {
	t.Parallel()
	budget := limit.NewBytes(1 << 20)
	w := newWorld(t, worldOptions{budget: budget})
	w.handler.Router = cutting{}
	q := request{path: "/mcp", body: callBody(1, "echo", "{}"), header: inSession("elsewhere")}
	response := w.send(t, t.Context(), q)
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("the answer ended as if it were whole: %s", body)
	}
	_ = response.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if err := w.handler.Quiet(ctx); err != nil || budget.Held() != 0 {
		t.Errorf("%d bytes are still held, %v", budget.Held(), err)
	}
}
