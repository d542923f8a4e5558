// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// fickle takes everybody for the principal of now, or for nobody.
type fickle struct {
	now   atomic.Pointer[auth.Principal]
	asked chan struct{}
	// left, if it was set, counts the times that it still knows anybody.
	left  atomic.Int32
	tired atomic.Bool
}

func newFickle(p auth.Principal) *fickle {
	f := &fickle{asked: make(chan struct{}, 1024)}
	f.now.Store(&p)
	return f
}

func (f *fickle) Authenticate(*http.Request) (auth.Principal, error) {
	f.asked <- struct{}{}
	p := f.now.Load()
	if p == nil || f.tired.Load() && f.left.Add(-1) < 0 {
		return auth.Principal{}, &auth.Error{Status: http.StatusUnauthorized, Code: auth.CodeInvalid, Message: "no", Challenge: `Bearer realm="fairlead"`}
	}
	return *p, nil
}

var (
	admin    = auth.Principal{Key: "apikey:a", Name: "a", Roles: []string{"admin"}}
	ordinary = auth.Principal{Key: "apikey:a", Name: "a"}
	other    = auth.Principal{Key: "apikey:b", Name: "b", Roles: []string{"admin"}}
)

// Who may send a body slowly must not outlive a credential by that.
func TestCredentialsAreCheckedAgainAfterTheBody(t *testing.T) {
	t.Parallel()
	wires := map[string]func(*testing.T, *world) request{
		"stateless": func(*testing.T, *world) request { return modernCall("echo", `{"message":"hi"}`) },
		"streamable": func(t *testing.T, w *world) request {
			t.Helper()
			id := w.streamableSession(t, "2025-06-18", "")
			return request{path: "/mcp", body: callBody(1, "echo", `{"message":"hi"}`), header: map[string]string{"Mcp-Session-Id": id}}
		},
		"sse": func(t *testing.T, w *world) request {
			t.Helper()
			_, messages := w.sseSession(t, "", "")
			return request{path: messages, body: callBody(1, "echo", `{"message":"hi"}`)}
		},
	}
	changes := []struct {
		name string
		to   *auth.Principal
		want map[string]int
	}{
		{name: "nothing", to: &admin, want: map[string]int{"stateless": 200, "streamable": 200, "sse": 202}},
		{name: "the key is gone", to: nil, want: map[string]int{"stateless": 401, "streamable": 401, "sse": 401}},
		{name: "the key is another's", to: &other, want: map[string]int{"stateless": 401, "streamable": 401, "sse": 401}},
	}
	for wire, prepare := range wires {
		for _, tt := range changes {
			t.Run(wire+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				f := newFickle(admin)
				w := newWorld(t, worldOptions{auth: f})
				if status, body := w.held(t, f, prepare(t, w), tt.to); status != tt.want[wire] {
					t.Errorf("status %d, want %d: %s", status, tt.want[wire], body)
				}
			})
		}
		t.Run(wire+"/a role is gone", func(t *testing.T) {
			t.Parallel()
			f := newFickle(admin)
			w := newWorld(t, worldOptions{auth: f})
			w.change(t, "two, access: {anyRole: [admin]}")
			q := prepare(t, w)
			for _, to := range []*auth.Principal{&admin, &ordinary} {
				f.now.Store(&admin)
				status, body := w.held(t, f, q, to)
				if wire == "sse" {
					continue // The answer is on the stream.
				}
				if got := status == 200 && strings.Contains(body, `"content"`); got != (to == &admin) {
					t.Errorf("roles %v: %d %s", to.Roles, status, body)
				}
			}
		})
	}
}

// held sends a request and keeps its body back until the caller has changed.
func (w *world) held(t *testing.T, f *fickle, q request, to *auth.Principal) (status int, body string) {
	t.Helper()
	for len(f.asked) > 0 {
		<-f.asked
	}
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\n", q.path, len(q.body))
	for name, value := range q.header {
		fmt.Fprintf(&head, "%s: %s\r\n", name, value)
	}
	conn := w.dial(t, head.String()+"\r\n"+q.body[:20])
	receive(t, f.asked, "the credentials are checked")
	f.now.Store(to)
	if _, err := io.WriteString(conn, q.body[20:]); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if challenge := response.Header.Get("WWW-Authenticate"); (response.StatusCode == http.StatusUnauthorized) != (challenge != "") {
		t.Errorf("status %d with the challenge %q", response.StatusCode, challenge)
	}
	return response.StatusCode, string(got)
}

// A revocation ends what is registered. What is registered just after it must
// find out by itself.
func TestCredentialsAreCheckedAgainOnceTheyCanBeRevoked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		q     request
		valid int32 // times that the credentials are valid
	}{
		{name: "listen", q: modern("subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`), valid: 2},
		{name: "sse", q: request{path: "/sse", header: map[string]string{"Accept": "text/event-stream"}}, valid: 1},
		{name: "initialize", q: request{path: "/mcp", body: initialize("2025-06-18")}, valid: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFickle(admin)
			f.left.Store(tt.valid)
			f.tired.Store(true)
			w := newWorld(t, worldOptions{auth: f})
			if got := w.do(t, tt.q); got.status != 401 || !strings.HasPrefix(got.body, `{"error":"invalid_credentials",`) {
				t.Errorf("%+v, want a refusal", got)
			}
			if w.sessions.Count() != 0 || len(w.stateless.Listens()) != 0 || len(w.began) != 0 {
				t.Errorf("%d sessions, %d streams and %d calls, want none", w.sessions.Count(), len(w.stateless.Listens()), len(w.began))
			}
		})
	}
}

// What is accepted is found by a revocation, and what comes after it is refused:
// a call that runs on with revoked rights would be neither.
func TestARevocationAndAcceptanceTakeTurns(t *testing.T) {
	t.Parallel()
	wires := map[string]func(*testing.T, *world) request{
		"stateless": func(*testing.T, *world) request { return modernCall("wait", "{}") },
		"streamable": func(t *testing.T, w *world) request {
			t.Helper()
			id := w.streamableSession(t, "2025-06-18", "")
			return request{path: "/mcp", body: callBody(1, "wait", "{}"), header: map[string]string{"Mcp-Session-Id": id}}
		},
		"sse": func(t *testing.T, w *world) request {
			t.Helper()
			_, messages := w.sseSession(t, "", "")
			return request{path: messages, body: callBody(1, "wait", "{}")}
		},
	}
	for wire, prepare := range wires {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			f := newFickle(admin)
			w := newWorld(t, worldOptions{auth: f})
			q := prepare(t, w)
			// The credentials are valid when the request comes; the revocation begins
			// before its message is accepted.
			inside, proceed := make(chan struct{}), make(chan struct{})
			go w.core.Exclude(func() {
				close(inside)
				<-proceed
				f.now.Store(nil)
			})
			receive(t, inside, "the swap has begun")
			for len(f.asked) > 0 {
				<-f.asked
			}
			answers := make(chan answer, 1)
			go func() { answers <- w.do(t, q) }()
			receive(t, f.asked, "the credentials are checked")
			close(proceed)
			if got := <-answers; got.status != http.StatusUnauthorized {
				t.Errorf("%+v, want 401", got)
			}
			if len(w.began) > 0 {
				t.Error("the call ran")
			}
		})
	}
}

// A request that has passed every check when its session ends must not begin.
func TestAnEndedSessionBeginsNoCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.streamableSession(t, "2025-06-18", "")
	s := w.sessions.All()[0]
	s.Close(stream.Revoked)
	_, err := w.engine.Accept(t.Context(), engine.Input{
		Message: []byte(callBody(1, "wait", "{}")), Era: engine.EraStreamable, Principal: auth.Anonymous(), Session: s.State,
	})
	if err == nil || !strings.Contains(err.Error(), "the session has ended") {
		t.Errorf("Accept = %v, want that the session has ended", err)
	}
}

// No session knows of a stateless call, whose caller may be revoked all the same.
func TestRevokeEndsStatelessCalls(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, accept string
		status       int
	}{
		{name: "that answers with a stream", accept: "text/event-stream", status: 200},
		{name: "that answers with JSON", accept: "application/json", status: 204},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			answers := map[string]chan answer{}
			for _, who := range []string{"alice", "bob"} {
				answers[who] = make(chan answer, 1)
				go func() { answers[who] <- w.do(t, modernCall("wait", "{}").with("X-Who", who).with("Accept", tt.accept)) }()
				receive(t, w.began, "the call of "+who+" runs")
			}
			w.stateless.Revoke([]string{"apikey:alice", "apikey:carol"})
			receive(t, w.cancelled, "the call is cancelled")
			if got := <-answers["alice"]; got.status != tt.status || got.body != "" {
				t.Errorf("the revoked call: %+v, want status %d without a result", got, tt.status)
			}
			w.finish <- struct{}{}
			if got := <-answers["bob"]; got.status != 200 || !strings.Contains(got.body, "waited") {
				t.Errorf("the other call: %+v, want its result", got)
			}
		})
	}
}
