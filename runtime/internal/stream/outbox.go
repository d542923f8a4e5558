// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"slices"
	"sync"
	"time"
)

// DefaultLimit is the size of an outbox in bytes (48 KiB). Above two thirds of an
// outbox messages fold (32 KiB).
const DefaultLimit = 48 << 10

// chunk is how much a writer takes at once, in bytes on the wire: enough for one write to be
// cheap. It takes most if nothing is left then: a small rest would cost a write of its own.
// Of a client that is behind it takes little: it may be stuck with it.
const (
	chunk  = 12 << 10
	most   = 20 << 10
	modest = 8 << 10
)

// Outbox is the bounded queue between the senders of a stream and its writer.
// It bounds bytes, not messages; one message that is larger than the whole
// outbox is let through when the outbox is empty. A full outbox makes senders
// wait, in order; it never makes Mark wait, so that a broadcast cannot be held
// up by one client. An empty one holds nothing but its own fields.
type Outbox struct {
	limit int
	count func(delta int)

	mu      sync.Mutex // guards what follows; never held across I/O
	queue   *line      // nil while nothing is queued
	waiters []*waiter
	bytes   int   // what is queued, and what the writer has taken
	taken   int   // of these, what the writer has
	folded  int   // what was folded away since the writer took something
	held    *line // what the writer has, if a Witness wants it back
	writer  writer
	busy    bool // the writer is at work, or was told to begin
	render  bool // the writer has taken dirty bits
	behind  bool // the client does not keep up with the writer, which alone knows
	dirty   uint32
	reason  CloseReason
	last    *Message      // written after everything else
	salvage Salvager      // gets what is dropped; may be nil
	done    chan struct{} // made by the first Done, closed by the first Close
}

// writer writes what is in an outbox. At most one goroutine at a time does so:
// whoever was told to start, until Outbox.next or Outbox.settle let it go.
type writer interface {
	// start says that there is something to write. small says that it is
	// little, so that it may be written at once. It must not wait.
	start(small bool)
	// interrupt ends a write that is under way: nothing can reach the client.
	interrupt()
}

type entry struct {
	Message
	since time.Duration // since the epoch
}

// epoch is when the clock of entries began.
var epoch = time.Now()

func sinceEpoch() time.Duration { return time.Since(epoch) }

type waiter struct {
	entry
	// queued says that the message has the place of those that it replaces already, and
	// its sender waits for the writer only.
	queued   bool
	admitted chan error // receives exactly one value, unless the waiter gave up
}

var _ Stream = (*Outbox)(nil)

// NewOutbox makes an outbox of limit bytes whose messages fold above two thirds of
// that. A limit of zero means DefaultLimit. count, which may be nil, is told of
// the bytes that the outbox takes on, or lets go (negative); it must not wait.
func NewOutbox(limit int, count func(delta int)) *Outbox {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Outbox{limit: limit, count: count}
}

// Send implements Stream.
func (o *Outbox) Send(ctx context.Context, m Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.Lock()
	if o.reason != "" {
		defer o.mu.Unlock()
		return &ClosedError{Reason: o.reason}
	}
	e := entry{Message: m, since: sinceEpoch()}
	if len(o.waiters) == 0 && o.fitsLocked(m) {
		o.foldLocked(&m)
		o.pushLocked(e)
		o.unlockAndWake(false)
		return nil
	}
	w := &waiter{entry: e, admitted: make(chan error, 1)}
	if o.replaceLocked(&e) {
		w.entry, w.queued = entry{}, true
	}
	o.waiters = slices.Insert(o.waiters, placeOf(&w.Message, o.waiters, func(w **waiter) *Message { return &(*w).Message }), w)
	if o.salvage != nil {
		o.salvage.Crowded()
	}
	o.unlockAndWake(false)
	select {
	case err := <-w.admitted:
		return err
	case <-ctx.Done():
		return o.giveUp(ctx, w)
	}
}

// giveUp takes w out of the waiters. A message that was admitted meanwhile, or took the
// place of others, stays sent.
func (o *Outbox) giveUp(ctx context.Context, w *waiter) error {
	o.mu.Lock()
	i := slices.Index(o.waiters, w)
	if i >= 0 {
		o.waiters = slices.Delete(o.waiters, i, i+1)
		// A large message that gives up may make room for smaller ones.
		o.admitLocked()
	}
	o.unlockAndWake(false)
	switch {
	case i < 0:
		return <-w.admitted
	case w.queued:
		return nil
	default:
		return ctx.Err()
	}
}

// Mark implements Stream.
func (o *Outbox) Mark(bits uint32) {
	o.mu.Lock()
	if o.reason == "" {
		o.dirty |= bits
	}
	o.unlockAndWake(true)
}

// Close implements Stream.
func (o *Outbox) Close(reason CloseReason) { o.close(reason, nil) }

// CloseWith is Close with a last message, which is written after all that is
// queued and marked. It takes no place in the outbox, so that a client that
// does not read cannot hold it up.
func (o *Outbox) CloseWith(reason CloseReason, last Message) { o.close(reason, &last) }

func (o *Outbox) close(reason CloseReason, last *Message) {
	o.mu.Lock()
	if o.reason != "" {
		o.mu.Unlock()
		return
	}
	o.reason, o.last = reason, last
	for _, w := range o.waiters {
		if w.queued {
			w.admitted <- nil // It shares the lot of all that is queued.
		} else {
			w.admitted <- &ClosedError{Reason: reason}
		}
	}
	o.waiters = nil
	if reason.broken() {
		o.dropLocked()
	}
	if o.done != nil {
		close(o.done)
	}
	interrupted := reason.broken() && o.busy
	w := o.writer
	o.unlockAndWake(false)
	if interrupted && w != nil {
		w.interrupt()
	}
}

// Done implements Stream.
func (o *Outbox) Done() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		o.done = make(chan struct{})
		if o.reason != "" {
			close(o.done)
		}
	}
	return o.done
}

// Reason implements Stream.
func (o *Outbox) Reason() CloseReason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason
}

// Bytes is what is queued now or being written, in bytes. Messages whose senders
// still wait do not count.
func (o *Outbox) Bytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// unlockAndWake lets go of mu and then has the writer begin, if it is idle and
// there is something to do.
func (o *Outbox) unlockAndWake(small bool) {
	start := o.writer != nil && !o.busy && !o.idleLocked()
	if start {
		o.busy = true
	}
	w := o.writer
	o.mu.Unlock()
	if start {
		w.start(small)
	}
}

// idleLocked reports that a writer has nothing to do.
func (o *Outbox) idleLocked() bool {
	return o.queue == nil && o.dirty == 0 && o.reason == ""
}

// countLocked keeps the sum of what is queued.
func (o *Outbox) countLocked(delta int) {
	o.bytes += delta
	if o.count != nil && delta != 0 {
		o.count(delta)
	}
}

// Salvage names who gets the messages that are dropped, in their order. Those that
// a writer has taken are among them for a Witness only: else its Log has them.
func (o *Outbox) Salvage(to Salvager) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.salvage = to
}

// dropLocked forgets what nobody will write any more. What the writer has stays
// counted until it lets go.
func (o *Outbox) dropLocked() {
	if o.salvage != nil {
		o.held.lost(o.salvage, true)
		o.queue.lost(o.salvage, false)
	}
	o.queue.free()
	o.held, o.render = nil, false // The writer may still read from it.
	o.queue, o.dirty, o.last = nil, 0, nil
	o.countLocked(o.taken - o.bytes)
}

// fail is Close for a writer that cannot go on. What is queued is dropped, even
// if the outbox was closed for another reason before.
func (o *Outbox) fail(reason CloseReason) {
	o.Close(reason)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropLocked()
}

// drop is dropLocked for a writer that has ended.
func (o *Outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = 0
	o.dropLocked()
	o.writer = nil
}

// fitsLocked reports whether there is place for m, which an empty outbox always
// has. What was folded away takes place too, until the writer goes on: a sender
// that only ever replaces its own message would never wait for a client that does
// not read.
func (o *Outbox) fitsLocked(m Message) bool {
	return o.bytes == 0 || o.bytes+o.folded+m.size() <= o.limit
}

func (o *Outbox) pushLocked(e entry) {
	if o.queue == nil {
		o.queue = newLine()
	}
	o.queue.insert(placeOf(&e.Message, o.queue.entries, func(q *entry) *Message { return &q.Message }), &e)
	o.countLocked(e.size())
}

// foldLocked drops the older messages that m replaces. The newer one is queued at the
// end, so that it does not overtake what its group sent between them.
func (o *Outbox) foldLocked(m *Message) {
	if !o.foldsLocked(m) {
		return
	}
	before := o.bytes
	o.queue.entries = slices.DeleteFunc(o.queue.entries, func(q entry) bool {
		replaced := m.replaces(&q.Message)
		if replaced {
			o.countLocked(-q.size())
		}
		return replaced
	})
	o.folded += before - o.bytes
	if len(o.queue.entries) == 0 {
		o.queue.free()
		o.queue = nil
	}
}

// foldsLocked reports whether messages that m replaces give way to it: the outbox is
// crowded.
func (o *Outbox) foldsLocked(m *Message) bool {
	return m.Fold != "" && o.queue != nil && o.bytes+o.folded > o.limit/3*2
}

// replaceLocked queues e, for which there is no place, in that of the messages that it
// replaces, if that is enough. So nothing is held twice for a client that does not
// read, which gets the newest progress when it does. It does not overtake those who
// wait.
func (o *Outbox) replaceLocked(e *entry) bool {
	if len(o.waiters) > 0 || !o.foldsLocked(&e.Message) {
		return false
	}
	freed := 0
	for i := range o.queue.entries {
		if q := &o.queue.entries[i].Message; e.replaces(q) {
			freed += q.size()
		}
	}
	if freed == 0 || o.bytes-freed+e.size() > o.limit {
		return false
	}
	o.foldLocked(&e.Message)
	o.pushLocked(*e)
	return true
}

// admitLocked moves waiters into the queue while they fit, in order.
func (o *Outbox) admitLocked() {
	n := 0
	for _, w := range o.waiters {
		if w.queued && o.folded > 0 || !w.queued && !o.fitsLocked(w.Message) {
			break
		}
		if !w.queued {
			o.pushLocked(w.entry)
		}
		w.admitted <- nil
		n++
	}
	o.waiters = slices.Delete(o.waiters, 0, n)
	if len(o.waiters) == 0 {
		o.waiters = nil
	}
}

// placeOf is where m goes in a line: at its end, or, if it is urgent, before all
// messages of other groups that are not urgent themselves.
func placeOf[T any](m *Message, line []T, message func(*T) *Message) int {
	i := len(line)
	if !m.Urgent {
		return i
	}
	for ; i > 0; i-- {
		before := message(&line[i-1])
		if before.Urgent || before.Group == m.Group {
			break
		}
	}
	return i
}
