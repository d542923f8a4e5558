// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"math"
	"strconv"
	"sync"
	"sync/atomic"

	"fairlead.dev/fairlead/runtime/internal/tool"
)

// notes lets one notification of a call through at a time, so that they stay in
// order, and none after the response. The zero value is open.
type notes struct {
	closed atomic.Bool // set with mu held
	mu     sync.Mutex  // guards what follows
	// turn holds one token while a notification is on its way; made by the first.
	turn chan struct{}
	last float64
	any  bool
	// many is whether there was one before, and slab what is left for the next.
	many bool
	slab []byte
}

// enter waits for its turn; false means that the call is over.
func (n *notes) enter(ctx context.Context) bool {
	n.mu.Lock()
	if n.closed.Load() {
		n.mu.Unlock()
		return false
	}
	if n.turn == nil {
		n.turn = make(chan struct{}, 1)
	}
	n.mu.Unlock()
	select {
	case n.turn <- struct{}{}:
	default:
		select {
		case n.turn <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	if n.closed.Load() {
		<-n.turn
		return false
	}
	return true
}

func (n *notes) leave() { <-n.turn }

// close refuses further notifications and waits for the one on its way.
func (n *notes) close(ctx context.Context) {
	n.mu.Lock()
	n.closed.Store(true)
	turn := n.turn
	n.mu.Unlock()
	if turn == nil {
		return
	}
	select {
	case turn <- struct{}{}:
		<-turn
	case <-ctx.Done():
	}
}

// slab is how much is allocated at once for notifications that come in bursts, in
// bytes.
const slab = 2 << 10

// room gives an empty slice with a capacity of size bytes; only who has the turn
// asks. From the second on, small ones share memory, which they hold together no
// longer than each would alone: they come and go in bursts.
func (n *notes) room(size int) []byte {
	if !n.many || size > slab/4 {
		n.many = true
		return make([]byte, 0, size)
	}
	if len(n.slab) < size {
		n.slab = make([]byte, slab)
	}
	b := n.slab[:0:size]
	n.slab = n.slab[size:]
	return b
}

// rises reports whether p is more than all before; only who has the turn asks.
func (n *notes) rises(p float64) bool {
	if n.any && p <= n.last {
		return false
	}
	n.any, n.last = true, p
	return true
}

// toolSink turns what a tool reports into notifications of its call. Reports
// that the client did not ask for, or that come too late, are dropped without an
// error: a tool need not know.
type toolSink struct {
	call *Call
	sink Sink
}

// Progress implements tool.Sink. Progress that does not rise is dropped
// (2025-11-25 basic/utilities/progress).
func (s *toolSink) Progress(ctx context.Context, p tool.Progress) error {
	c := s.call
	if c.progressToken == nil || !finite(p.Progress) || !finite(p.Total) {
		return ctx.Err()
	}
	if !c.notes.enter(ctx) {
		return ctx.Err()
	}
	defer c.notes.leave()
	if c.outcome.Load() != open || !c.notes.rises(p.Progress) {
		return ctx.Err()
	}
	if c.fold == "" {
		c.fold = string(c.progressToken)
	}
	b := c.notes.room(128 + len(c.progressToken) + len(p.Message))
	b = append(b, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`...)
	b = append(b, c.progressToken...)
	b = appendNumber(append(b, `,"progress":`...), p.Progress)
	if p.Total != 0 {
		b = appendNumber(append(b, `,"total":`...), p.Total)
	}
	if len(p.Message) > 0 && c.version >= Version20250326 {
		b = appendString(append(b, `,"message":`...), p.Message)
	}
	return s.sink.Send(ctx, Message{Data: append(b, "}}"...), Group: c.group, Fold: c.fold})
}

// Log implements tool.Sink.
func (s *toolSink) Log(ctx context.Context, l tool.Log) error {
	c := s.call
	severity, ok := parseLevel(l.Level)
	if !ok || !c.wants(severity) {
		return ctx.Err()
	}
	if !c.notes.enter(ctx) {
		return ctx.Err()
	}
	defer c.notes.leave()
	if c.outcome.Load() != open {
		return ctx.Err()
	}
	b := make([]byte, 0, 128+len(l.Logger)+len(l.Data))
	b = append(b, `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"`...)
	b = append(append(b, l.Level...), '"')
	if l.Logger != "" {
		b = appendString(append(b, `,"logger":`...), l.Logger)
	}
	b = append(b, `,"data":`...)
	if len(l.Data) == 0 {
		b = append(b, "null"...)
	} else {
		b = appendLine(b, l.Data)
	}
	return s.sink.Send(ctx, Message{Data: append(b, "}}"...), Group: c.group})
}

// wants reports whether the client is to get logs of a severity: in the
// stateless era only if the request asked for them.
func (c *Call) wants(severity level) bool {
	if c.era == EraStateless {
		return c.level != 0 && severity >= c.level
	}
	return c.session != nil && severity >= c.session.logLevel()
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// appendNumber appends f as JSON, whole numbers without a fraction.
func appendNumber(b []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.AppendInt(b, int64(f), 10)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}
