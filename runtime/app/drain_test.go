// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// fake is a stream that notes when it was closed.
type fake struct {
	began, busyUntil time.Time
	left             time.Duration
}

func (f *fake) Busy() bool { return time.Now().Before(f.busyUntil) }

func (f *fake) Leave(reason stream.CloseReason) {
	if reason != stream.Drain {
		panic(reason)
	}
	f.left = time.Since(f.began)
}

func TestCloseEvenly(t *testing.T) {
	t.Parallel()
	const window, callTimeout = 30 * time.Second, 40 * time.Second
	tests := []struct {
		name  string
		total int
		busy  map[int]time.Duration
		// slack is how far from its place in the window a stream may close.
		slack time.Duration
		want  map[int]time.Duration
		took  time.Duration
	}{
		{name: "none"},
		{name: "one", total: 1, slack: 250 * time.Millisecond, took: window},
		{name: "ten", total: 10, slack: 250 * time.Millisecond, took: window},
		{name: "ten thousand", total: 10_000, slack: 10 * time.Millisecond, took: window},
		{
			name: "a busy one waits for its call", total: 10, slack: 3250 * time.Millisecond, took: 35 * time.Second,
			busy: map[int]time.Duration{2: 35 * time.Second}, want: map[int]time.Duration{2: 35 * time.Second},
		},
		{
			name: "a busy one is cut after the call timeout", total: 10, slack: 3250 * time.Millisecond, took: callTimeout,
			busy: map[int]time.Duration{0: time.Hour}, want: map[int]time.Duration{0: callTimeout},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var all []leaver
				for i := range tt.total {
					all = append(all, &fake{began: began, busyUntil: began.Add(tt.busy[i])})
				}
				closeEvenly(t.Context(), slices.Clone(all), window, callTimeout)
				if took := time.Since(began); took < tt.took || took > tt.took+250*time.Millisecond {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				for i, l := range all {
					want := window * time.Duration(i+1) / time.Duration(tt.total)
					slack := tt.slack
					if w, ok := tt.want[i]; ok {
						want, slack = w, 250*time.Millisecond
					}
					if left := l.(*fake).left; (left - want).Abs() > slack {
						t.Errorf("stream %d closed at %v, want %v ± %v", i, left, want, slack)
					}
				}
			})
		})
	}
}

func TestCloseEvenlyStopsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		closeEvenly(ctx, []leaver{&fake{began: began}}, time.Minute, time.Minute)
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v after the second signal at 1s", took)
		}
	})
}

// backend is a tool's backend that answers when it is told to.
type backend struct {
	*httptest.Server
	began  chan struct{}
	finish chan struct{}
	// streams has it say much before: the answer to a client's POST is a stream that
	// outlives its handler then.
	streams bool
}

func newBackend(t *testing.T, streams bool) *backend {
	t.Helper()
	b := &backend{began: make(chan struct{}, 16), finish: make(chan struct{}), streams: streams}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before, after := "", ""
		if streams {
			w.Header().Set("Content-Type", "text/event-stream")
			before, after = "data: ", "\n\n"
			for range events {
				_, _ = io.WriteString(w, before+strings.Repeat("x", 1<<10)+after)
			}
			_ = http.NewResponseController(w).Flush()
		}
		b.began <- struct{}{}
		select {
		case <-b.finish:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, before+"finished"+after)
	}))
	t.Cleanup(b.Close)
	return b
}

// events are so many that they do not stay with net/http.
const events = 60

func (b *backend) configuration() string {
	response := ""
	if b.streams {
		response = ", response: {stream: SSE}"
	}
	return strings.Replace(hello, "  static: {content: [{text: \"${arguments.message}\"}]}", "  http: {url: \""+b.URL+"/\""+response+"}", 1)
}

// call calls the tool, and returns when the backend waits and the client has all that
// came before.
func (b *backend) call(t *testing.T, f face, url string) <-chan called {
	t.Helper()
	told := make(chan struct{}) // Closed with the last progress: others may have given way to it.
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			if r.Params.Progress == events {
				close(told)
			}
		},
	})
	session, err := client.Connect(t.Context(), f.transport(url), &mcp.ClientSessionOptions{ProtocolVersion: f.version})
	if err != nil {
		t.Fatalf("Connect = %v", err)
	}
	t.Cleanup(func() { session.Close() })
	answers := make(chan called, 1)
	params := &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "x"}}
	params.SetProgressToken("p")
	go func() {
		result, err := session.CallTool(t.Context(), params)
		answers <- called{result, err}
	}()
	<-b.began
	if b.streams {
		<-told
	}
	return answers
}

// called is what a call has returned.
type called struct {
	result *mcp.CallToolResult
	err    error
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := plain.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

// eachCall runs a test for each way in which a client calls, of tools that stream too.
func eachCall(t *testing.T, run func(t *testing.T, b *backend, f face)) {
	t.Helper()
	for _, f := range faces() {
		for _, streams := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, streams %v", f.name, streams), func(t *testing.T) {
				t.Parallel()
				run(t, newBackend(t, streams), f)
			})
		}
	}
}

func TestLeavingFinishesCallsOnEveryTransport(t *testing.T) {
	t.Parallel()
	eachCall(t, func(t *testing.T, b *backend, f face) {
		t.Helper()
		r := prepare(t, b.configuration())
		// The official client gives up with its listening stream, which closes then.
		r.drain = &Drain{Settle: time.Millisecond, Window: 20 * time.Millisecond, CallTimeout: patience}
		r.run(t)
		if status, body := get(t, r.admin+"/readyz"); status != 200 {
			t.Errorf("/readyz: %d %s", status, body)
		}
		answers := b.call(t, f, r.url)
		r.cancel()
		r.untilLeaving(t)
		close(b.finish)
		got := <-answers
		if got.err != nil || !strings.HasSuffix(got.result.Content[0].(*mcp.TextContent).Text, "finished") {
			t.Errorf("the call that ran: %+v, %v", got.result, got.err)
		}
		if err := r.end(t); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// Before anything is refused, clients are led away from the connections that they keep.
func TestSettlingEndsConnections(t *testing.T) {
	t.Parallel()
	r := inFolder(t, configuration("one"))
	r.drain = &Drain{Settle: 2 * time.Second, Window: time.Millisecond, CallTimeout: time.Millisecond}
	r.run(t)
	if answer := exchange(t, http.MethodPost, r.url+"/mcp", initialize); answer.StatusCode != http.StatusOK || answer.Close {
		t.Fatalf("before: %d, close %t; want an answer on a connection that stays", answer.StatusCode, answer.Close)
	}
	r.cancel()
	for {
		answer := exchange(t, http.MethodPost, r.url+"/mcp", initialize)
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("got %d before a connection was ended", answer.StatusCode)
		}
		if answer.Close {
			break
		}
	}
	if err := r.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// untilLeaving waits until new streams are refused.
func (r *running) untilLeaving(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/sse", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := plain.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		cancel()
		if response.StatusCode == http.StatusServiceUnavailable {
			if status, body := get(t, r.admin+"/readyz"); status != 503 {
				t.Errorf("/readyz while leaving: %d %s", status, body)
			}
			return
		}
	}
	t.Fatal("the runtime does not leave")
}

func TestCallsThatDoNotEndAreCut(t *testing.T) {
	t.Parallel()
	eachCall(t, func(t *testing.T, b *backend, f face) {
		t.Helper()
		r := start(t, b.configuration())
		answers := b.call(t, f, r.url)
		began := time.Now()
		r.cancel()
		if err := r.end(t); err != nil {
			t.Errorf("Run = %v", err)
		}
		// The call timeout and the endgame, on a busy machine.
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("leaving took %v", took)
		}
		if got := <-answers; got.err == nil {
			t.Error("the call was answered")
		}
	})
}
