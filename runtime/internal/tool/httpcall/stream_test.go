// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/httpcall"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	after := func(f float64) float64 { return math.Nextafter(f, math.Inf(1)) }
	for _, tt := range []struct {
		name        string
		stream      string
		contentType string
		body        string
		structured  bool
		want        []tool.Progress
		logs        []tool.Log
		result      string
		object      string
	}{
		{
			name: "texts", stream: "SSE", contentType: "text/event-stream", body: "data: one\n\n: ping\n\ndata: two\ndata: lines\n\n",
			want:   []tool.Progress{{Progress: 1, Message: []byte("one")}, {Progress: 2, Message: []byte("two\nlines")}},
			result: "two\nlines",
		},
		{
			name: "progress of its own", stream: "SSE", contentType: "text/event-stream; charset=utf-8", structured: true,
			body: "data: {\"progress\": 10, \"total\": 100, \"message\": \"ten\"}\n\ndata: {\"progress\":50.5}\n\ndata: {\"message\":\"m\"}\n\ndata: { \"answer\": 42 }\n\n",
			want: []tool.Progress{
				{Progress: 10, Total: 100, Message: []byte("ten")},
				{Progress: 50.5},
				{Progress: after(50.5), Message: []byte("m")},
				{Progress: after(after(50.5)), Message: []byte(`{ "answer": 42 }`)},
			},
			result: `{"answer":42}`, object: `{"answer":42}`,
		},
		{
			name: "the end mark of model servers", stream: "SSE", contentType: "text/event-stream",
			body: "data: a\n\ndata: [DONE]\n\ndata: b\n\n", want: []tool.Progress{{Progress: 1, Message: []byte("a")}}, result: "a",
		},
		{
			name: "log entries", stream: "NDJSON", contentType: "application/x-ndjson",
			body: `{"log":{"level":"warning","logger":"scan","data":{ "left": 3 }}}` + "\n" + `{"log":{"level":"loud","data":"x"}}` + "\n" +
				`{"log":{"level":"info"}}` + "\n" + `{"log":{"data":1},"more":2}` + "\n" + `{"log":{"data":null}}` + "\n",
			logs: []tool.Log{
				{Level: "warning", Logger: "scan", Data: []byte(`{"left":3}`)},
				{Level: "info", Data: []byte(`"x"`)},
				{Level: "info", Data: []byte(`null`)},
			},
			want: []tool.Progress{
				{Progress: 1, Message: []byte(`{"log":{"level":"info"}}`)},
				{Progress: 2, Message: []byte(`{"log":{"data":1},"more":2}`)},
			},
			result: `{"log":{"data":1},"more":2}`,
		},
		{name: "nothing", stream: "SSE", contentType: "text/event-stream", body: ": ping\n\n"},
		{name: "an answer at once", stream: "SSE", contentType: "application/json", body: "{ \"a\": 1 }", result: `{"a":1}`},
		{
			name: "lines", stream: "NDJSON", contentType: "application/x-ndjson", body: "{\"progress\":1,\"total\":2}\n\n{\"progress\":2,\"total\":2}\n[1, 2]",
			want:   []tool.Progress{{Progress: 1, Total: 2}, {Progress: 2, Total: 2}, {Progress: 3, Message: []byte("[1, 2]")}},
			result: "[1,2]",
		},
		{
			name: "members of the wrong type", stream: "NDJSON", contentType: "application/json",
			body: `{"progress":"50%","total":"x","message":3}` + "\n" + `{"progress":-1}` + "\n" + `{"progress":1e999}` + "\n" + `{"progress":1,"progress":2}` + "\n",
			want: []tool.Progress{
				{Progress: 1, Message: []byte(`{"progress":"50%","total":"x","message":3}`)},
				{Progress: 2, Message: []byte(`{"progress":-1}`)},
				{Progress: 3, Message: []byte(`{"progress":1e999}`)},
				{Progress: 4, Message: []byte(`{"progress":1,"progress":2}`)},
			},
			result: `{"progress":1,"progress":2}`,
		},
		{
			name: "it only grows", stream: "NDJSON", contentType: "text/plain", body: "{\"progress\":5}\n{\"progress\":5}\n{\"progress\":4}\n{\"progress\":6}\n",
			want:   []tool.Progress{{Progress: 5}, {Progress: after(5)}, {Progress: after(after(5))}, {Progress: 6}},
			result: `{"progress":6}`,
		},
		{
			name: "a long message", stream: "NDJSON", contentType: "text/plain", body: strings.Repeat("ü", 10000) + "\n",
			want: []tool.Progress{{Progress: 1, Message: []byte(strings.Repeat("ü", 8192) + "…")}}, result: strings.Repeat("ü", 10000),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				send(w, tt.body)
			})
			o := options(t)
			o.Structured = tt.structured
			var sink recorder
			got, err := call(t, compile(t, config.HTTP{URL: url, Response: config.HTTPResponse{Stream: tt.stream}}), o, tool.Call{}, &sink)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, sink.progress); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.logs, sink.logs); diff != "" {
				t.Errorf("logs (-want +got):\n%s", diff)
			}
			if text(t, got) != tt.result || string(got.Structured) != tt.object || got.IsError {
				t.Errorf("got %s, object %s, want %s, object %s", got.Content, got.Structured, tt.result, tt.object)
			}
		})
	}
}

// TestStreamIsLive shows that an event is reported before the next one comes,
// and that a backend waits for a client that does not keep up.
func TestStreamIsLive(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\r\n\r\n", i)
			http.NewResponseController(w).Flush()
			<-next
		}
	})
	sink := liveSink{next}
	e := httpcall.New(compile(t, config.HTTP{URL: url, Response: config.HTTPResponse{Stream: "SSE"}}), options(t))
	defer e.Close()
	got, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, sink)
	if err != nil || text(t, got) != "2" {
		t.Errorf("got %s, %v", got.Content, err)
	}
}

// liveSink lets the backend go on only after an event has arrived.
type liveSink struct{ next chan struct{} }

func (s liveSink) Progress(context.Context, tool.Progress) error {
	s.next <- struct{}{}
	return nil
}

func (s liveSink) Log(context.Context, tool.Log) error { return nil }

// blockedSink never takes anything.
type blockedSink struct{ entered chan struct{} }

func (s blockedSink) Progress(ctx context.Context, _ tool.Progress) error {
	close(s.entered)
	<-ctx.Done()
	return ctx.Err()
}

func (s blockedSink) Log(context.Context, tool.Log) error { return nil }

// TestStreamBackPressure shows that a client which does not read stops the
// backend instead of filling memory, and that cancelling ends both.
func TestStreamBackPressure(t *testing.T) {
	t.Parallel()
	gone := make(chan int64, 1)
	url := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		var sent int64
		line := "data: " + strings.Repeat("x", 1000) + "\n\n"
		for r.Context().Err() == nil {
			n, err := io.WriteString(w, line)
			if sent += int64(n); err != nil {
				break
			}
		}
		gone <- sent
	})
	e := httpcall.New(compile(t, config.HTTP{URL: url, Response: config.HTTPResponse{Stream: "SSE"}}), options(t))
	defer e.Close()
	ctx, cancel := context.WithCancel(t.Context())
	sink := blockedSink{make(chan struct{})}
	ended := make(chan error)
	go func() {
		_, err := e.Run(ctx, tool.Call{Arguments: map[string]any{"id": "7"}}, sink)
		ended <- err
	}()
	<-sink.entered
	<-time.After(200 * time.Millisecond)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v, want the cancellation", err)
	}
	select {
	case sent := <-gone:
		// What the kernel's buffers and the transport's hold.
		if sent > 32<<20 {
			t.Errorf("the backend could send %d bytes that nobody read", sent)
		}
	case <-time.After(10 * time.Second):
		t.Error("the connection to the backend is still open")
	}
}

// TestStreamWithoutListener goes on to the result when nobody takes progress.
func TestStreamWithoutListener(t *testing.T) {
	t.Parallel()
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) { send(w, "1\n2\n3\n") })
	sink := recorder{fail: errors.New("the stream is closed")}
	got, err := call(t, compile(t, config.HTTP{URL: url, Response: config.HTTPResponse{Stream: "NDJSON"}}), options(t), tool.Call{}, &sink)
	if err != nil || text(t, got) != "3" || len(sink.progress) != 1 {
		t.Errorf("got %s, %v after %d progress", got.Content, err, len(sink.progress))
	}
}
