// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/limit"
)

// discard is a Sink that counts.
type discard struct{ bytes, messages int }

func (d *discard) Send(_ context.Context, m Message) error {
	d.bytes += len(m.Data)
	d.messages++
	return nil
}

// echo gives a call of a static tool, from the bytes of the message to those of
// the answer, with validation, limits and an observer.
func echo(tb testing.TB) func() {
	tb.Helper()
	w := newWorld(tb, func(o *Options) {
		o.Limits = limit.New(limit.Config{Calls: 512, CallsPerPrincipal: 32})
		o.Observer = nil
	})
	session := openSession(tb, w.Engine, Version20251125)
	message := legacyCall("1", "echo", `,"arguments":{"message":"hello"},"_meta":{"progressToken":1}`)
	sink := &discard{}
	ctx := tb.Context()
	principal := auth.Anonymous()
	return func() {
		call, err := w.Accept(ctx, Input{Era: EraStreamable, Session: session, Principal: principal, Message: message})
		if err != nil {
			tb.Fatal(err)
		}
		call.Run(ctx, sink)
	}
}

func BenchmarkEcho(b *testing.B) {
	call := echo(b)
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

func BenchmarkList(b *testing.B) {
	w := newWorld(b, func(o *Options) { o.Observer = nil })
	session := openSession(b, w.Engine, Version20251125)
	sink := &discard{}
	b.ReportAllocs()
	for b.Loop() {
		call, err := w.Accept(b.Context(), Input{Era: EraStreamable, Session: session, Message: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)})
		if err != nil {
			b.Fatal(err)
		}
		call.Run(b.Context(), sink)
	}
}

// TestEchoAllocations holds the engine's part of the goal of 80 allocations a
// call with its transport.
func TestEchoAllocations(t *testing.T) {
	const most = 40
	if got := testing.AllocsPerRun(200, echo(t)); got > most {
		t.Errorf("%.0f allocations for a call of echo, want at most %d", got, most)
	}
}
