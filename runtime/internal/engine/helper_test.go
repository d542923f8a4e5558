// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/static"
)

// world is an engine over testdata/server.yaml and everything that a test sees
// of it.
type world struct {
	*Engine
	observer *observer
	logs     *syncBuffer
	// waiting gets one value for each call of the tool "wait" that has begun.
	waiting chan struct{}
}

// executorFunc is an executor as a function.
type executorFunc func(ctx context.Context, call tool.Call, sink tool.Sink) (tool.Result, error)

func (f executorFunc) Run(ctx context.Context, call tool.Call, sink tool.Sink) (tool.Result, error) {
	return f(ctx, call, sink)
}

func newWorld(tb testing.TB, change func(*Options)) *world {
	tb.Helper()
	w := &world{observer: &observer{}, logs: &syncBuffer{}, waiting: make(chan struct{}, 16)}
	o := Options{
		Catalog:  w.build(tb, loadServer(tb), nil),
		Policy:   auth.Policy{AllowByDefault: true},
		Info:     Info{Name: "shop", Title: "Shop", Version: "1.2.3", Instructions: "Be kind."},
		Observer: w.observer,
		Logger:   slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	w.Engine = New(o)
	return w
}

func loadServer(tb testing.TB) *config.Server {
	tb.Helper()
	data, err := os.ReadFile("testdata/server.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := config.Decode(append([]byte("contract: 1\n"), data...))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func (w *world) build(tb testing.TB, s *config.Server, prev *catalog.Catalog) *catalog.Catalog {
	tb.Helper()
	p, err := config.Compile(s)
	if err != nil {
		tb.Fatal(err)
	}
	p.Server.Revision = "00112233445566" + string("0123456789abcdef"[len(s.Tools)%16]) + "f"
	c, err := catalog.Build(p, prev, catalog.Deps{New: w.executor})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// executor gives the tools that need behaviour theirs; the others are static.
func (w *world) executor(t *config.CompiledTool) (tool.Executor, func(), error) {
	switch t.Config.Name {
	case "wait":
		return executorFunc(func(ctx context.Context, _ tool.Call, sink tool.Sink) (tool.Result, error) {
			w.waiting <- struct{}{}
			<-ctx.Done()
			// Late reports of a call that is over must reach nobody.
			_ = sink.Progress(context.WithoutCancel(ctx), tool.Progress{Progress: 1})
			return tool.Text("late"), nil
		}), nil, nil
	case "steps":
		return executorFunc(steps), nil, nil
	case "panics":
		return executorFunc(func(context.Context, tool.Call, tool.Sink) (tool.Result, error) { panic("a bug with a secret") }), nil, nil
	case "fails":
		return executorFunc(func(context.Context, tool.Call, tool.Sink) (tool.Result, error) {
			return tool.Result{}, &tool.Error{
				Message: "the backend is away", Err: errors.New("dial 10.1.2.3: refused"),
				Trace: &tool.Trace{Method: "GET", URL: "http://orders/1", Status: 503},
			}
		}), nil, nil
	default:
		return static.New(t.Static), nil, nil
	}
}

func steps(ctx context.Context, _ tool.Call, sink tool.Sink) (tool.Result, error) {
	reports := []func() error{
		func() error {
			return sink.Progress(ctx, tool.Progress{Progress: 0.5, Total: 2, Message: []byte("half")})
		},
		func() error {
			return sink.Progress(ctx, tool.Progress{Progress: 0.5, Total: 2, Message: []byte("again")})
		},
		func() error { return sink.Log(ctx, tool.Log{Level: "debug", Data: json.RawMessage("1")}) },
		func() error {
			return sink.Log(ctx, tool.Log{Level: "warning", Logger: "steps", Data: json.RawMessage("{\n\"a\": 1}")})
		},
		func() error { return sink.Progress(ctx, tool.Progress{Progress: 2}) },
	}
	for _, report := range reports {
		if err := report(); err != nil {
			return tool.Result{}, err
		}
	}
	return tool.Text("done"), nil
}

// observer records what an engine reports.
type observer struct {
	mu   sync.Mutex
	seen []string
}

func (o *observer) add(parts ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, strings.Join(parts, " "))
}

func (o *observer) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

func (o *observer) ToolCall(name, outcome string, _ time.Duration) { o.add("call", name, outcome) }
func (o *observer) Client(era, name string)                        { o.add("client", era, name) }
func (o *observer) Refused(era, kind string)                       { o.add("refused", era, kind) }

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorder is a Sink that keeps what it is sent.
type recorder struct {
	mu       sync.Mutex
	messages []Message
	// first gets a value for the first message since take.
	first chan struct{}
}

func newRecorder() *recorder { return &recorder{first: make(chan struct{}, 1)} }

func (r *recorder) Send(ctx context.Context, m Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	select {
	case r.first <- struct{}{}:
	default:
	}
	return nil
}

func (r *recorder) take() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.messages
	r.messages = nil
	select {
	case <-r.first:
	default:
	}
	return taken
}

func lines(messages []Message) string {
	var b strings.Builder
	for _, m := range messages {
		b.Write(m.Data)
		b.WriteByte('\n')
	}
	return b.String()
}

// openSession initializes a session at a version.
func openSession(tb testing.TB, e *Engine, version string) *Session {
	tb.Helper()
	c, err := e.Accept(tb.Context(), Input{Era: EraStreamable, Message: []byte(
		`{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"` + version + `","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`)})
	if err != nil {
		tb.Fatal(err)
	}
	c.Run(tb.Context(), &recorder{})
	return c.Session()
}

// modern wraps a method's params into a stateless request.
func modern(id, method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}
