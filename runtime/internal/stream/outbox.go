// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"slices"
	"sync"
	"time"
)

// DefaultLimit is the size of an outbox in bytes (64 KiB) and DefaultFold the
// fill above which messages fold (32 KiB).
const (
	DefaultLimit = 64 << 10
	DefaultFold  = 32 << 10
)

// Outbox is the bounded queue between the senders of a stream and its writer.
// It bounds bytes, not messages; one message that is larger than the whole
// outbox is let through when the outbox is empty. A full outbox makes senders
// wait, in order; it never makes Mark wait, so that a broadcast cannot be held
// up by one client.
type Outbox struct {
	limit int
	fold  int
	count func(delta int)

	ready chan struct{} // wakes the writer; holds at most one token
	done  chan struct{} // closed by the first Close

	mu      sync.Mutex // guards what follows; never held across I/O
	queue   []entry
	bytes   int
	waiters []*waiter
	dirty   uint32
	reason  CloseReason
	last    *Message // written after everything else
}

type entry struct {
	Message
	since time.Time
}

type waiter struct {
	entry
	admitted chan error // receives exactly one value, unless the waiter gave up
}

var _ Stream = (*Outbox)(nil)

// NewOutbox makes an outbox of limit bytes whose messages fold above half of
// that. A limit of zero means DefaultLimit. count, which may be nil, is told of the bytes
// that the outbox takes on, or lets go (negative); it must not wait.
func NewOutbox(limit int, count func(delta int)) *Outbox {
	if limit <= 0 {
		limit = DefaultLimit
	}
	if count == nil {
		count = func(int) {}
	}
	return &Outbox{
		limit: limit,
		fold:  limit / 2,
		count: count,
		ready: make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
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
	e := entry{Message: m, since: time.Now()}
	o.foldLocked(m)
	if len(o.waiters) == 0 && o.fitsLocked(m) {
		o.queue = insert(o.queue, e, func(q entry) Message { return q.Message })
		o.countLocked(m.size())
		o.mu.Unlock()
		o.wake()
		return nil
	}
	w := &waiter{entry: e, admitted: make(chan error, 1)}
	o.waiters = insert(o.waiters, w, func(w *waiter) Message { return w.Message })
	o.mu.Unlock()
	select {
	case err := <-w.admitted:
		return err
	case <-ctx.Done():
		return o.giveUp(ctx, w)
	}
}

// giveUp takes w out of the waiters. A message that was admitted meanwhile
// stays sent.
func (o *Outbox) giveUp(ctx context.Context, w *waiter) error {
	o.mu.Lock()
	i := slices.Index(o.waiters, w)
	if i >= 0 {
		o.waiters = slices.Delete(o.waiters, i, i+1)
		// A large message that gives up may make room for smaller ones.
		o.admitLocked()
	}
	o.mu.Unlock()
	o.wake()
	if i >= 0 {
		return ctx.Err()
	}
	return <-w.admitted
}

// Mark implements Stream.
func (o *Outbox) Mark(bits uint32) {
	o.mu.Lock()
	o.dirty |= bits
	o.mu.Unlock()
	o.wake()
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
		w.admitted <- &ClosedError{Reason: reason}
	}
	o.waiters = nil
	if reason.broken() {
		o.dropLocked()
	}
	o.mu.Unlock()
	close(o.done)
}

// Done implements Stream.
func (o *Outbox) Done() <-chan struct{} { return o.done }

// Reason implements Stream.
func (o *Outbox) Reason() CloseReason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason
}

// Bytes is what is queued now, in bytes. Messages whose senders still wait do
// not count.
func (o *Outbox) Bytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// countLocked keeps the sum of what is queued.
func (o *Outbox) countLocked(delta int) {
	o.bytes += delta
	o.count(delta)
}

// dropLocked forgets what nobody will write any more.
func (o *Outbox) dropLocked() {
	o.queue, o.dirty = nil, 0
	o.countLocked(-o.bytes)
}

// drop is dropLocked for a writer that has ended.
func (o *Outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropLocked()
}

func (o *Outbox) wake() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *Outbox) fitsLocked(m Message) bool {
	return len(o.queue) == 0 || o.bytes+m.size() <= o.limit
}

// foldLocked drops the older message that m replaces. The newer one is queued
// at the end, so that it does not overtake what its group sent between them.
func (o *Outbox) foldLocked(m Message) {
	if m.Fold == "" || o.bytes <= o.fold {
		return
	}
	i := slices.IndexFunc(o.queue, func(q entry) bool { return q.Fold == m.Fold && q.Group == m.Group })
	if i < 0 {
		return
	}
	o.countLocked(-o.queue[i].size())
	o.queue = slices.Delete(o.queue, i, i+1)
	o.admitLocked()
}

// admitLocked moves waiters into the queue while they fit, in order.
func (o *Outbox) admitLocked() {
	n := 0
	for _, w := range o.waiters {
		if !o.fitsLocked(w.Message) {
			break
		}
		o.queue = insert(o.queue, w.entry, func(q entry) Message { return q.Message })
		o.countLocked(w.size())
		w.admitted <- nil
		n++
	}
	o.waiters = slices.Delete(o.waiters, 0, n)
	if len(o.waiters) == 0 {
		o.waiters = nil
	}
}

// insert puts v at the end of line, or, if it is urgent, before all messages of
// other groups that are not urgent themselves.
func insert[T any](line []T, v T, message func(T) Message) []T {
	m := message(v)
	if !m.Urgent {
		return append(line, v)
	}
	i := len(line)
	for i > 0 {
		before := message(line[i-1])
		if before.Urgent || before.Group == m.Group {
			break
		}
		i--
	}
	return slices.Insert(line, i, v)
}

// take gives everything that is queued, and the dirty bits, to the writer, and
// admits those who wait. spare is reused for the queue; the writer must have
// cleared it.
func (o *Outbox) take(spare []entry) (batch []entry, dirty uint32) {
	o.mu.Lock()
	batch, dirty = o.queue, o.dirty
	o.queue, o.dirty = spare[:0], 0
	o.countLocked(-o.bytes)
	o.admitLocked()
	again := len(o.queue) > 0
	o.mu.Unlock()
	if again {
		o.wake()
	}
	return batch, dirty
}
