// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// errCancelled is the cause of the context of a call that its client cancelled.
var errCancelled = errors.New("the client cancelled the request")

// How a call ends: at most one of these happens to it.
const (
	open int32 = iota
	answered
	cancelled
)

// Call is a message that was accepted. The first of Run and Release ends it;
// further calls of either do nothing.
type Call struct {
	engine    *Engine
	method    string
	id        []byte
	request   bool
	era       Era
	version   string
	principal auth.Principal
	session   *Session
	// began is whether the session lists the call; next and prev are its list.
	began      bool
	next, prev *Call
	// level is the lowest log level that a stateless request asked for.
	level        level
	subscription *Subscription

	// answer is the response, if it is known already.
	answer []byte
	// What runs otherwise.
	tool           *catalog.Tool
	executor       tool.Executor
	prompt         bool // the executor's
	arguments      map[string]any
	trace          bool
	state          *state
	progressToken  []byte
	fold           string // the token, made by the first progress
	releaseTool    func()
	releaseReserve func()

	taken   atomic.Bool
	outcome atomic.Int32
	group   uint64

	mu     sync.Mutex
	cancel context.CancelCauseFunc
	notes  notes
	sink   toolSink
}

// Method is the JSON-RPC method; empty for a response of the client.
func (c *Call) Method() string { return c.method }

// IsRequest reports whether the client expects an answer. Otherwise the message
// was a notification or a response, has taken effect, and Run does nothing.
func (c *Call) IsRequest() bool { return c.request }

// ID is the request's id byte for byte, nil unless IsRequest. It is valid until
// Run or Release returns.
func (c *Call) ID() json.RawMessage {
	if !c.request {
		return nil
	}
	return c.id
}

// Tool is the name of the tool that is called, empty for other methods and for
// calls that the engine answers itself.
func (c *Call) Tool() string {
	if c.tool == nil {
		return ""
	}
	return c.tool.Name
}

// Session is the legacy session that the request belongs to: for initialize the
// one that it opened, which is the Input's if it had one. Nil otherwise.
func (c *Call) Session() *Session { return c.session }

// Subscription is what subscriptions/listen asked for, nil for other methods.
func (c *Call) Subscription() *Subscription { return c.subscription }

// Immediate reports whether Run waits for nothing but its sink, to which it sends
// the response alone: the answer is known already, or its tool answers at once.
func (c *Call) Immediate() bool { return c.answer != nil || c.prompt }

// Streams reports whether Run may report for long: its tool passes on what a backend
// says while it runs.
func (c *Call) Streams() bool { return c.executor != nil && tool.IsStreaming(c.executor) }

// Run sends the call's progress, logs and response to sink and then releases its
// reservation. It returns when the response was handed over, when ctx ended, or
// when the client cancelled; in the last two cases without a response. Ending
// ctx cancels the call. A subscription's Run sends its acknowledgement and then
// waits for Subscription.End or ctx.
func (c *Call) Run(ctx context.Context, sink Sink) {
	if !c.taken.CompareAndSwap(false, true) {
		return
	}
	defer c.release()
	c.group = c.engine.groups.Add(1)
	switch {
	case !c.request:
	case c.subscription != nil:
		c.subscription.run(ctx, sink, c.group)
	case c.answer != nil:
		c.respond(ctx, sink, c.answer)
	default:
		c.runTool(ctx, sink)
	}
}

// Release gives the reservation back without running.
func (c *Call) Release() {
	if c.taken.CompareAndSwap(false, true) {
		c.release()
	}
}

func (c *Call) release() {
	if c.began {
		c.session.end(c)
	}
	if c.releaseReserve != nil {
		c.releaseReserve()
	}
	if c.releaseTool != nil {
		c.releaseTool()
	}
}

// respond hands the response over, unless the client cancelled before.
func (c *Call) respond(ctx context.Context, sink Sink, data []byte) {
	if !c.outcome.CompareAndSwap(open, answered) {
		return
	}
	// A stream that is gone has told its owner; there is nobody left to tell.
	_ = sink.Send(ctx, Message{Data: data, Response: true, Group: c.group})
}

// cancelWith ends the call without a response, unless it is answered.
func (c *Call) cancelWith(cause error) {
	if !c.outcome.CompareAndSwap(open, cancelled) {
		return
	}
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}

// cancellable gives the context that cancelWith ends, from whenever on.
func (c *Call) cancellable(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	if c.outcome.Load() == cancelled {
		cancel(errCancelled)
	}
	return ctx, cancel
}

// appendResultHead begins a response up to its result's first member. In the
// stateless era that is resultType and _meta.
func (c *Call) appendResultHead(b []byte, st *state) []byte {
	b = append(append(append(b, `{"jsonrpc":"2.0","id":`...), c.id...), `,"result":{`...)
	if c.era == EraStateless {
		b = append(append(b, st.head...), "},"...)
	}
	return b
}

// emptyResult is the response of methods that only acknowledge.
func (c *Call) emptyResult() []byte {
	b := make([]byte, 0, 40+len(c.id))
	return append(append(append(b, `{"jsonrpc":"2.0","id":`...), c.id...), `,"result":{}}`...)
}

// appendLine appends JSON without line breaks, which only white space holds.
func appendLine(b []byte, v json.RawMessage) []byte {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return append(b, v...)
	}
	inString := false
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '"':
			inString = !inString
		case inString && v[i] == '\\' && i+1 < len(v):
			b = append(b, v[i])
			i++
		case v[i] == '\n' || v[i] == '\r':
			continue
		}
		b = append(b, v[i])
	}
	return b
}
