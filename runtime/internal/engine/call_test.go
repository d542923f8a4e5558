// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// legacyCall is tools/call in a session.
func legacyCall(id, name, rest string) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"` + name + `"` + rest + `}}`)
}

func TestListPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := loadServer(t)
	s.Tools = nil
	for i := range 2*catalog.PageSize + 1 {
		text := "x"
		s.Tools = append(s.Tools, config.Tool{
			Name: fmt.Sprintf("tool_%03d", i), Description: "One of many.",
			Static: &config.Static{Content: []config.Content{{Text: &text}}},
		})
	}
	w.swap(Revision{Catalog: w.build(t, s, nil), Policy: auth.Policy{AllowByDefault: true}})
	session := openSession(t, w.Engine, Version20251125)
	var sizes []int
	seen := map[string]bool{}
	params := "{}"
	for {
		call, err := w.Accept(t.Context(), Input{Era: EraStreamable, Session: session, Message: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":` + params + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		sink := newRecorder()
		call.Run(t.Context(), sink)
		var page struct {
			Result struct {
				Tools      []struct{ Name string }
				NextCursor *string
			}
		}
		if err := json.Unmarshal(sink.take()[0].Data, &page); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Result.Tools))
		for _, tool := range page.Result.Tools {
			seen[tool.Name] = true
		}
		if page.Result.NextCursor == nil {
			break
		}
		params = `{"cursor":"` + *page.Result.NextCursor + `"}`
	}
	if diff := cmp.Diff([]int{catalog.PageSize, catalog.PageSize, 1}, sizes); diff != "" {
		t.Errorf("page sizes (-want +got):\n%s", diff)
	}
	if len(seen) != len(s.Tools) {
		t.Errorf("%d different tools, want %d", len(seen), len(s.Tools))
	}
	// The cursor of one revision is none of the next.
	w.swap(Revision{Catalog: w.build(t, loadServer(t), nil), Policy: auth.Policy{AllowByDefault: true}})
	_, err := w.Accept(t.Context(), Input{Era: EraStreamable, Session: session, Message: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":` + params + `}`)})
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindInvalidParams {
		t.Errorf("old cursor: error = %v, want invalid params", err)
	}
}

// TestCancelRace lets cancellation and completion meet: a call is answered once
// or not at all, and leaves nothing behind.
func TestCancelRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session := openSession(t, w.Engine, Version20251125)
	sinks := make([]*recorder, 300)
	var wg sync.WaitGroup
	for i := range sinks {
		sinks[i] = newRecorder()
		id := fmt.Sprint(i)
		call, err := w.Accept(t.Context(), Input{Era: EraStreamable, Session: session, Message: legacyCall(id, "steps", `,"_meta":{"progressToken":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { call.Run(t.Context(), sinks[i]) })
		wg.Go(func() {
			c, err := w.Accept(t.Context(), Input{Era: EraStreamable, Session: session, Message: []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)})
			if err != nil {
				t.Error(err)
				return
			}
			c.Run(t.Context(), sinks[i])
		})
	}
	wg.Wait()
	for i, sink := range sinks {
		messages := sink.take()
		for j, m := range messages {
			if m.Response && j != len(messages)-1 {
				t.Errorf("call %d: %d messages after its response", i, len(messages)-1-j)
			}
		}
	}
	if session.Running() != 0 || session.running != nil {
		t.Errorf("Running() = %d after all calls", session.Running())
	}
}

// TestCancelBeforeRun holds it for calls of a tool and for answers that are known
// already.
func TestCancelBeforeRun(t *testing.T) {
	t.Parallel()
	for name, message := range map[string][]byte{
		"tool":      legacyCall("1", "wait", ""),
		"immediate": []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			session := openSession(t, w.Engine, Version20251125)
			call, err := w.Accept(t.Context(), Input{Era: EraStreamable, Session: session, Message: message})
			if err != nil {
				t.Fatal(err)
			}
			session.End("the session ends")
			sink := newRecorder()
			call.Run(t.Context(), sink)
			call.Run(t.Context(), sink)
			call.Release()
			if sent := lines(sink.take()); sent != "" {
				t.Errorf("sent %s", sent)
			}
			if session.Running() != 0 {
				t.Errorf("Running() = %d", session.Running())
			}
		})
	}
}

// TestContextEnds holds that a stateless call whose stream is closed stops and
// sends nothing more.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	call := acceptModern(t, w, "wait", "")
	ctx, cancel := context.WithCancel(t.Context())
	sink := newRecorder()
	done := make(chan struct{})
	go func() { call.Run(ctx, sink); close(done) }()
	<-w.waiting
	cancel()
	<-done
	if sent := lines(sink.take()); sent != "" {
		t.Errorf("sent %s", sent)
	}
	if diff := cmp.Diff([]string{"call wait cancelled"}, w.observer.all()); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

func acceptModern(tb testing.TB, w *world, name, rest string) *Call {
	tb.Helper()
	call, err := w.Accept(tb.Context(), Input{
		Era: EraStateless, Version: Version20260728, Hints: Hints{Method: "tools/call", Name: name}, Principal: auth.Anonymous(),
		Message: []byte(modern("1", "tools/call", `"name":"`+name+`"`+rest)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return call
}

// blockedSink lets nothing through until opened.
type blockedSink struct {
	recorder
	open    chan struct{}
	waiting chan struct{}
}

func (s *blockedSink) Send(ctx context.Context, m Message) error {
	select {
	case s.waiting <- struct{}{}:
	default:
	}
	select {
	case <-s.open:
		return s.recorder.Send(ctx, m)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestResponseWaitsForProgress holds that a response does not pass progress that
// another goroutine of its tool is still sending, and that none follows.
func TestResponseWaitsForProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &blockedSink{recorder: recorder{first: make(chan struct{}, 1)}, open: make(chan struct{}), waiting: make(chan struct{}, 1)}
		late := make(chan error, 2)
		w := newWorld(t, nil)
		call := &Call{
			engine: w.Engine, request: true, id: []byte("1"), version: Version20251125, progressToken: []byte("1"),
			tool: &catalog.Tool{Name: "racy"}, state: w.state.Load(),
			executor: executorFunc(func(ctx context.Context, _ tool.Call, sink tool.Sink) (tool.Result, error) {
				go func() { late <- sink.Progress(context.WithoutCancel(ctx), tool.Progress{Progress: 1}) }()
				<-s.waiting
				go func() { late <- sink.Progress(context.WithoutCancel(ctx), tool.Progress{Progress: 2}) }()
				return tool.Text("done"), nil
			}),
		}
		done := make(chan struct{})
		go func() { call.Run(t.Context(), s); close(done) }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("answered before its progress was sent")
		default:
		}
		close(s.open)
		<-done
		for range 2 {
			if err := <-late; err != nil {
				t.Errorf("late progress: %v", err)
			}
		}
		want := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}` + "\n" +
			`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}` + "\n"
		if diff := cmp.Diff(want, lines(s.take())); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config limit.Config
		want   Kind
	}{
		{name: "one caller has too many", config: limit.Config{Calls: 10, CallsPerPrincipal: 1}, want: KindTooMany},
		{name: "all have too many", config: limit.Config{Calls: 1, CallsPerPrincipal: 10}, want: KindOverloaded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limits := limit.New(tt.config)
			w := newWorld(t, func(o *Options) { o.Limits = limits })
			session := openSession(t, w.Engine, Version20251125)
			in := func(id, name, rest string) Input {
				return Input{Era: EraStreamable, Session: session, Principal: auth.Principal{Key: "apikey:a", Name: "a"}, Message: legacyCall(id, name, rest)}
			}
			first, err := w.Accept(t.Context(), in("1", "wait", ""))
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Accept(t.Context(), in("2", "total", ""))
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.want || e.RetryAfter != time.Second || e.Code != codeBusy || string(e.ID) != "2" {
				t.Errorf("second call: error = %+v, want kind %s", e, tt.want)
			}
			// What the engine answers itself needs no place.
			wrong, err := w.Accept(t.Context(), in("3", "echo", ""))
			if err != nil {
				t.Errorf("call with invalid arguments: %v", err)
			} else {
				wrong.Release()
			}
			for _, name := range []string{"echo", "missing"} {
				// No place, no memory: not even to learn what is wrong.
				_, err = w.Accept(t.Context(), in("4", name, `,"arguments":{"x":[`+strings.Repeat("[],", maxUnreserved)+`1e999]}`))
				want := tt.want
				if name == "missing" {
					want = KindInvalidParams
				}
				if !errors.As(err, &e) || e.Kind != want {
					t.Errorf("large call of %s: error = %v, want kind %s", name, err, want)
				}
			}
			first.Release()
			// A refusal for the arguments leaves no place taken.
			_, err = w.Accept(t.Context(), in("5", "echo", `,"arguments":{"x":[`+strings.Repeat("[],", 100_000)+`0]}`))
			if !errors.As(err, &e) || e.Kind != KindInvalidParams || !strings.Contains(e.Message, "more than 100000 values") {
				t.Errorf("call with too many values: error = %v", err)
			}
			again, err := w.Accept(t.Context(), in("2", "total", ""))
			if err != nil {
				t.Fatal(err)
			}
			again.Run(t.Context(), newRecorder())
			if calls, _ := limits.Usage(); calls != 0 || session.Running() != 0 {
				t.Errorf("%d reservations and %d running requests are left", calls, session.Running())
			}
		})
	}
}

func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	sink := newRecorder()
	acceptModern(t, w, "panics", "").Run(t.Context(), sink)
	if got := lines(sink.take()); !strings.Contains(got, `"text":"internal error"`) || strings.Contains(got, "secret") {
		t.Errorf("sent %s", got)
	}
	if logs := w.logs.String(); !strings.Contains(logs, "level=ERROR") || !strings.Contains(logs, "helper_test.go") {
		t.Errorf("log has no stack: %s", logs)
	}
	if diff := cmp.Diff([]string{"call panics panic"}, w.observer.all()); diff != "" {
		t.Errorf("observed (-want +got):\n%s", diff)
	}
}

func TestTrace(t *testing.T) {
	t.Parallel()
	const trace = `,"_meta":{"fairlead.dev/trace":true}`
	const want = `"fairlead.dev/trace":{"method":"GET","url":"http://orders/1","status":503,"connectMillis":0,"firstByteMillis":0,"totalMillis":0,"bytes":0}`
	for _, allowed := range []bool{true, false} {
		w := newWorld(t, func(o *Options) { o.AllowTrace = allowed })
		session := openSession(t, w.Engine, Version20241105)
		for _, asked := range []bool{true, false} {
			rest := ""
			if asked {
				rest = trace
			}
			call, err := w.Accept(t.Context(), Input{Era: EraSSE, Session: session, Message: legacyCall("1", "fails", rest)})
			if err != nil {
				t.Fatal(err)
			}
			sink := newRecorder()
			call.Run(t.Context(), sink)
			got := lines(sink.take())
			if strings.Contains(got, want) != (allowed && asked) {
				t.Errorf("allowed %t, asked %t: %s", allowed, asked, got)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
		}
	}
	w := newWorld(t, func(o *Options) { o.AllowTrace = true })
	call, err := w.Accept(t.Context(), Input{
		Era: EraStateless, Version: Version20260728, Hints: Hints{Method: "tools/call", Name: "fails"},
		Message: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fails","_meta":{"fairlead.dev/trace":true,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	sink := newRecorder()
	call.Run(t.Context(), sink)
	if got := lines(sink.take()); !strings.Contains(got, want) || !json.Valid([]byte(got)) {
		t.Errorf("stateless: %s", got)
	}
}

// TestSessionIsSmall holds what a session at rest costs.
func TestSessionIsSmall(t *testing.T) {
	t.Parallel()
	if size := reflect.TypeFor[Session]().Size(); size > 128 {
		t.Errorf("a session has %d bytes, want at most 128", size)
	}
}
