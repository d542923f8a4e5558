// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"math"
	"slices"
	"sync"
	"time"
)

// line is a run of messages. Lines are pooled: a queue exists only while
// something is in it.
type line struct {
	entries []entry
}

// minEntries and maxEntries bound the lines that are kept.
const (
	minEntries = 4
	maxEntries = 256
)

var lines = sync.Pool{New: func() any { return new(line) }}

func newLine() *line { return lines.Get().(*line) }

// free gives l back, which may be nil.
func (l *line) free() {
	if l == nil || cap(l.entries) < minEntries || cap(l.entries) > maxEntries {
		return
	}
	clear(l.entries)
	l.entries = l.entries[:0]
	lines.Put(l)
}

// lost gives what is in l, which may be nil, to who salvages it. What a writer has
// shares its buffer.
func (l *line) lost(to Salvager, shared bool) {
	if l == nil {
		return
	}
	for i := range l.entries {
		m := l.entries[i].Message
		if shared {
			m.Data = bytes.Clone(m.Data)
		}
		to.Lost(m)
	}
}

// insert puts e at i. A line grows by a quarter at a time: one that grows by
// doubling is half empty, and a client that does not read has it held.
func (l *line) insert(i int, e *entry) {
	if n := len(l.entries); n == cap(l.entries) {
		grown := make([]entry, n, n+max(n/4, minEntries))
		copy(grown, l.entries)
		l.entries = grown
	}
	l.entries = slices.Insert(l.entries, i, *e)
}

// cut takes the first messages that are up to chunk bytes on the wire, at least
// one, or all if they are up to most; less if the client is behind. The rest is nil
// if that is all; else it gets a line that is no larger than it has to be.
func (l *line) cut(behind bool) (first, rest *line, size int) {
	all, part := most, chunk
	if behind {
		all = modest - framing // What frames them as one takes its part.
		part = all
	}
	n := l.within(all)
	if n < len(l.entries) {
		n = l.within(part)
		rest = &line{entries: slices.Clone(l.entries[n:])}
		clear(l.entries[n:])
		l.entries = l.entries[:n]
	}
	for i := range l.entries {
		size += l.entries[i].size()
	}
	return l, rest, size
}

// within is how many messages are up to limit bytes on the wire, at least one.
func (l *line) within(limit int) int {
	encoded := 0
	for i := range l.entries {
		if encoded += l.entries[i].encoded(); encoded > limit {
			return max(i, 1)
		}
	}
	return len(l.entries)
}

// batch is what a writer has in its hands. It is pooled, since only writers that
// write need one.
type batch struct {
	// line is what was taken from the outbox, nil for nothing; dirty bits and the
	// last message are written after it.
	line *line
	// lender is the outbox that line still belongs to, nil if it is the batch's.
	lender *Outbox
	dirty  uint32
	last   *Message
	// head is written before the messages; see lean.encode.
	head string
	// id is that of the message that is encoded now.
	id []byte
	// notes are what is left of the messages once they are encoded.
	notes []note
	// buffer holds the encoded batch, and rest what of it is not written yet.
	buffer, rest []byte
	socket       attempt
}

// note is what the Observer learns of a message.
type note struct {
	kind  string
	since time.Duration // when it was queued, on the clock of entries
	end   int           // of the message in the buffer
}

// never is since when messages were queued that are made as they are written.
const never = time.Duration(math.MinInt64)

var batches = sync.Pool{New: func() any {
	b := new(batch)
	b.socket.prepare()
	return b
}}

func newBatch() *batch { return batches.Get().(*batch) }

// free gives b back.
func (b *batch) free() {
	b.clear()
	b.shrink()
	if cap(b.notes) > maxEntries {
		b.notes = nil
	}
	batches.Put(b)
}

func (b *batch) clear() {
	b.release()
	b.dirty, b.last, b.head, b.rest = 0, nil, "", nil
	b.notes = b.notes[:0]
}

// release lets go of the messages.
func (b *batch) release() {
	if b.lender == nil {
		b.line.free()
	}
	b.line, b.lender = nil, nil
}

// encode makes bytes of what was taken, in the order in which it leaves, and
// lets the messages go.
func (b *batch) encode(o *Options) {
	b.buffer, b.notes = b.buffer[:0], b.notes[:0]
	if b.line != nil {
		b.reserve()
	}
	b.buffer = append(b.buffer, b.head...)
	if b.line != nil {
		for i := range b.line.entries {
			e := &b.line.entries[i]
			b.add(o, &e.Message, e.since)
		}
		if b.lender != nil {
			b.lender.share(b)
		}
		b.release()
	}
	if b.dirty != 0 && o.Render != nil {
		rendered := o.Render(b.dirty)
		for i := range rendered {
			b.add(o, &rendered[i], never)
		}
	}
	if b.last != nil {
		b.add(o, b.last, never)
	}
	b.rest = b.buffer
}

// reserve makes the buffer large enough at once: one that grows by doubling is
// half empty. Those that are kept have one size, whole pages, so that none keeps the
// memory of others from the system.
func (b *batch) reserve() {
	size := 2 * len(b.head) // What ends it is no longer.
	for i := range b.line.entries {
		size += b.line.entries[i].encoded()
	}
	if size <= modest {
		b.shrink()
	}
	switch {
	case size <= cap(b.buffer):
	case size <= modest:
		b.buffer = make([]byte, 0, modest)
	case size <= most:
		b.buffer = roomy.Get().(*[most]byte)[:0]
	default:
		b.buffer = make([]byte, 0, size)
	}
	b.notes = slices.Grow(b.notes, len(b.line.entries))
}

// roomy are buffers for clients that keep up.
var roomy = sync.Pool{New: func() any { return new([most]byte) }}

// shrink gives a buffer back that is more than a client may be stuck with.
func (b *batch) shrink() {
	if cap(b.buffer) == most {
		roomy.Put((*[most]byte)(b.buffer[:most]))
	}
	if cap(b.buffer) > modest {
		b.buffer = nil
	}
}

// add appends a message that leaves now, under the id that the log gives it.
func (b *batch) add(o *Options, m *Message, since time.Duration) {
	b.id = b.id[:0]
	if o.Log != nil {
		b.id = o.Log.Keep(b.id, m)
	}
	b.buffer = appendMessage(b.buffer, m, string(b.id))
	b.notes = append(b.notes, note{kind: m.Kind, since: since, end: len(b.buffer)})
}

// written tells of what was handed to the connection, and forgets it.
func (b *batch) written(observer Observer) {
	var now time.Duration
	for _, n := range b.notes {
		if n.since == never {
			observer.MessageWritten(n.kind, 0)
			continue
		}
		if now == 0 { // Who announces to thousands needs no clock for it.
			now = sinceEpoch()
		}
		observer.MessageWritten(n.kind, now-n.since)
	}
	b.clear()
}

// state says what a writer has to do next.
type state uint8

const (
	// resting: nothing. The writer has let go of the outbox.
	resting state = iota
	// writing: write the batch.
	writing
	// ended: nothing ever again. The outbox is closed, and stays the writer's.
	ended
)

// attach makes w the writer, which is at work at once: settle or next lets it go.
func (o *Outbox) attach(w writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writer, o.busy = w, true
}

// claim makes the caller the writer if none is at work and the outbox is open.
func (o *Outbox) claim() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy || o.reason != "" {
		return false
	}
	o.busy = true
	return true
}

// settle lets the writer go if there is nothing more to do, after what it took
// was written.
func (o *Outbox) settle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.releaseLocked()
	if !o.idleLocked() {
		return false
	}
	o.busy = false
	return true
}

// next gives the writer what it shall write now. What it got before counts as
// written, and those who wait are admitted.
func (o *Outbox) next(b *batch) state {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.releaseLocked()
	switch {
	case o.idleLocked():
		o.busy = false
		return resting
	case o.queue == nil && o.dirty == 0 && o.last == nil:
		return ended
	}
	if o.queue != nil {
		b.line, o.queue, o.taken = o.queue.cut(o.behind)
		if _, ok := o.salvage.(Witness); ok {
			o.held, b.lender = b.line, o
		}
	}
	b.dirty, o.dirty, o.render = o.dirty, 0, o.dirty != 0
	if o.queue == nil {
		b.last, o.last = o.last, nil
	}
	return writing
}

// share has the messages that a Witness may want back lie in the encoded batch: held
// twice, they would double what a client costs that does not read.
func (o *Outbox) share(b *batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held != b.line {
		return // The stream broke, and they were given back.
	}
	for i, note := range b.notes {
		m := &o.held.entries[i].Message
		end := note.end - len("\n\n")
		// Data of one line lies before that, as it is.
		if begin := end - len(m.Data); begin >= 0 && bytes.Equal(b.buffer[begin:end], m.Data) {
			m.Data = b.buffer[begin:end:end]
		}
	}
}

// spent reports whether nothing follows what the writer has, and the client has all
// with it: what was queued is gone if the stream broke.
func (o *Outbox) spent() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason != "" && !o.reason.broken() && o.queue == nil && o.dirty == 0 && o.last == nil
}

// releaseLocked gives the place of what was written to those who wait.
func (o *Outbox) releaseLocked() {
	o.held.free()
	o.held = nil
	if w, ok := o.salvage.(Witness); ok && o.render {
		w.Written()
	}
	o.render = false
	o.countLocked(-o.taken)
	o.taken, o.folded = 0, 0
	o.admitLocked()
}
