// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// Pending is the dirty bit that says that a Reply has messages for a stream that
// took over from another; see Reply.Render.
const Pending uint32 = 1 << 31

// A Reply is what one answer says on an event stream, in the order in which it
// leaves, kept for a client that loses the stream. It has three ways: while its
// first stream lives, messages go through that stream's outbox and are kept as
// they leave; without a stream they wait here; and a stream that resumes takes
// them from here. It is safe for concurrent use.
type Reply struct {
	log    *eventLog
	number uint32

	// The lock of log guards what follows. It is taken while an outbox is locked,
	// hence never the other way round.
	seq     uint32 // of the newest entry
	sent    uint32 // what is above was not given to any stream
	answer  uint32 // of the newest response
	entries []entry
	out     stream.Stream // nil while no client listens
	pulled  bool          // out takes what it writes from here
	cut     time.Duration // since when out is nil
	over    bool          // no more messages come
	ended   time.Duration // since when
	gone    bool          // nobody can resume it any more: it keeps nothing
	// room is closed when a sender that waits should look again; nil if none does.
	room chan struct{}
}

var _ stream.Log = (*Reply)(nil)

// entry is one message, less what a stream that resumes does not need.
type entry struct {
	data     []byte
	kind     string
	seq      uint32
	response bool
}

// entryOverhead is what an entry costs beside its data, in bytes.
const entryOverhead = 64

// replyOverhead is what a reply costs, in bytes. It is counted with its response, which
// most replies have one of, and which stays the longest.
const replyOverhead = 256

func (e *entry) size() int {
	n := len(e.data) + entryOverhead
	if e.response {
		n += replyOverhead
	}
	return n
}

// NewReply begins a reply that out carries. Finish must follow.
func (s *Session) NewReply(out *stream.Outbox) *Reply {
	s.home.mu.Lock()
	s.streams++
	r := &Reply{log: s.logLocked(), number: s.streams, out: out}
	r.log.add(r)
	r.log.touch()
	s.home.mu.Unlock()
	out.Salvage(r)
	return r
}

// Prime is the first event of the reply's stream, an id without data: a client
// that loses the stream before a message came can resume it nevertheless
// (2025-11-25 basic/transports, "Sending Messages to the Server"). It is nil for
// clients of older revisions, which would take it for a message.
func (r *Reply) Prime() *stream.Message {
	if !r.log.session.primes() {
		return nil
	}
	return &stream.Message{ID: eventID{kind: answering, number: r.number}.String()}
}

// Keep implements stream.Log for the stream that the reply began on.
func (r *Reply) Keep(id []byte, m *stream.Message) []byte {
	r.log.mu.Lock()
	out, delta := r.appendLocked(m, !r.pulled)
	id = eventID{answering, r.number, r.seq}.append(id)
	r.log.mu.Unlock()
	r.log.registry.logs.grew(r.log, delta)
	wake(out)
	return id
}

// Lost implements stream.Salvager: m was queued on a stream that broke. That stream
// is locked and may still be the reply's, so that nobody is woken: whoever takes
// over wakes itself after it has closed the one before.
func (r *Reply) Lost(m stream.Message) {
	r.log.mu.Lock()
	_, delta := r.appendLocked(&m, false)
	r.log.mu.Unlock()
	r.log.registry.logs.grew(r.log, delta)
}

// Crowded implements stream.Salvager: the client reads more slowly than it is sent
// to. The kernel holds more for it than a log could, so that of what it was given
// only responses are kept.
func (r *Reply) Crowded() {
	r.log.mu.Lock()
	before := r.log.bytes
	if r.log.trimGivenLocked(0) {
		r.log.pruneLocked()
	}
	delta := r.log.bytes - before
	r.log.mu.Unlock()
	r.log.registry.logs.grew(r.log, delta)
}

// Send says m. Without a stream it is kept, for as long as the client may still
// come back: what is no response waits while the log is full, and fails with a
// *stream.ClosedError after that.
func (r *Reply) Send(ctx context.Context, m stream.Message) error {
	r.log.mu.Lock()
	out, pulled := r.out, r.pulled
	r.log.mu.Unlock()
	if out != nil && !pulled {
		err := out.Send(ctx, m)
		if err == nil {
			return nil
		}
		if _, closed := errors.AsType[*stream.ClosedError](err); !closed {
			return err
		}
	}
	return r.keep(ctx, m)
}

// keep is Send without an outbox.
func (r *Reply) keep(ctx context.Context, m stream.Message) error {
	for {
		r.log.mu.Lock()
		if m.Urgent || r.log.pending == 0 || r.log.pending+len(m.Data)+entryOverhead <= maxLog {
			break
		}
		left := retention
		if r.out == nil {
			left -= r.log.registry.now() - r.cut
		}
		if left <= 0 {
			r.log.mu.Unlock()
			return &stream.ClosedError{Reason: stream.ClientGone}
		}
		if r.room == nil {
			r.room = make(chan struct{})
		}
		room := r.room
		r.log.mu.Unlock()
		if err := await(ctx, room, left); err != nil {
			return err
		}
	}
	out, delta := r.appendLocked(&m, false)
	r.log.mu.Unlock()
	r.log.registry.logs.grew(r.log, delta)
	wake(out)
	return nil
}

func await(ctx context.Context, room <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-room:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func wake(out stream.Stream) {
	if out != nil {
		out.Mark(Pending)
	}
}

// appendLocked adds m, which a stream is given just now or not yet. It gives the
// outbox to wake, and by how much the log has grown.
func (r *Reply) appendLocked(m *stream.Message, given bool) (out stream.Stream, delta int) {
	given = given && r.sent == r.seq // Else what waits would pass for given, too.
	r.seq++
	if given {
		r.sent = r.seq
	}
	if r.gone {
		return nil, 0
	}
	if len(r.entries) == cap(r.entries) {
		r.entries = roomier(r.entries)
	}
	// Only responses are urgent.
	e := entry{data: m.Data, kind: m.Kind, seq: r.seq, response: m.Urgent}
	if cap(e.data) > 2*len(e.data) {
		e.data = bytes.Clone(e.data) // What is kept holds no buffer that it does not fill.
	}
	r.entries = append(r.entries, e)
	if m.Urgent {
		r.log.answered, r.answer = r, r.seq
	}
	r.log.bytes += e.size()
	if !given {
		r.log.pending += e.size()
	}
	return r.pullerLocked(), e.size() + r.log.trimLocked()
}

// pullerLocked is the outbox to wake for what was appended.
func (r *Reply) pullerLocked() stream.Stream {
	if !r.pulled {
		return nil
	}
	return r.out
}

// Resume finds the reply that a client saw the event lastEventID of, and makes out
// the stream that it goes on with; see Render. A stream that carries it still ends:
// its client is not there any more. There is nothing to resume once all was said
// and the client has it, or it is forgotten.
func (s *Session) Resume(lastEventID string, out stream.Stream) (*Reply, bool) {
	after, ok := parseEventID(lastEventID)
	if !ok || after.kind != answering {
		return nil, false
	}
	s.home.mu.Lock()
	log, refused := s.log, s.refusedLocked()
	s.home.mu.Unlock()
	var r *Reply
	if ok = log != nil && refused == nil; ok {
		r, ok = log.resume(after, out)
	}
	s.home.registry.observer.Resumed(ok)
	return r, ok
}

// Resumable reports whether an event id is one of a reply, which no listening
// stream is to begin with.
func Resumable(lastEventID string) bool {
	id, ok := parseEventID(lastEventID)
	return ok && id.kind == answering
}

// resume makes out the stream of a backlog, for what no stream was given, or was
// given and is not known to have written.
func (r *Reply) resume(out stream.Stream) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	seq := r.sent
	if len(r.entries) > 0 {
		seq = min(seq, r.entries[0].seq-1)
	}
	r.resumeLocked(out, seq)
}

// take is Render without ids, for out alone.
func (r *Reply) take(out stream.Stream) []stream.Message {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.out != out {
		return nil
	}
	all := r.renderLocked()
	for i := range all {
		all[i].ID = ""
	}
	return all
}

// forgetSent drops what out has written, after which nobody can ask again.
func (r *Reply) forgetSent() {
	r.log.mu.Lock()
	delta := 0
	for i := range r.entries {
		if e := &r.entries[i]; e.seq <= r.sent {
			delta -= r.log.forgetLocked(r, e)
		}
	}
	r.entries = slices.DeleteFunc(r.entries, func(e entry) bool { return e.seq <= r.sent })
	r.log.mu.Unlock()
	r.log.registry.logs.grew(r.log, delta)
}

// resumeLocked makes out the stream of the reply, for all that came after seq. It
// gives the stream before, which must be closed as broken.
func (r *Reply) resumeLocked(out stream.Stream, seq uint32) (before stream.Stream) {
	before, r.out, r.pulled = r.out, out, true
	r.log.pending -= r.unsentLocked()
	r.sent = min(seq, r.seq)
	r.log.pending += r.unsentLocked()
	r.signalLocked()
	return before
}

// unsentLocked sums what is above sent.
func (r *Reply) unsentLocked() int {
	sum := 0
	for i := len(r.entries) - 1; i >= 0 && r.entries[i].seq > r.sent; i-- {
		sum += r.entries[i].size()
	}
	return sum
}

// Render gives what a stream that resumed has not got yet, with its ids.
func (r *Reply) Render(uint32) []stream.Message {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.renderLocked()
}

func (r *Reply) renderLocked() []stream.Message {
	var all []stream.Message
	for i := range r.entries {
		if e := &r.entries[i]; e.seq > r.sent {
			all = append(all, stream.Message{
				Data: e.data, Event: "message", Kind: e.kind, ID: eventID{answering, r.number, e.seq}.String(), Urgent: e.response,
			})
			r.log.pending -= e.size()
		}
	}
	r.sent, r.log.settled = r.seq, 0
	r.signalLocked()
	return all
}

// signalLocked lets those who wait look again.
func (r *Reply) signalLocked() {
	for _, other := range r.log.replies {
		if other.room != nil {
			close(other.room)
			other.room = nil
		}
	}
}

// Detach says that out has ended. It has no effect if another took over.
func (r *Reply) Detach(out stream.Stream) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.out == out {
		r.out, r.pulled, r.cut = nil, false, r.log.registry.now()
	}
	r.settleLocked()
}

// settleLocked gives back what a reply does not need to which nothing is added any more.
func (r *Reply) settleLocked() {
	if r.over && r.out == nil {
		r.entries = fitted(r.entries)
	}
	if r.spentLocked() {
		r.log.pruneLocked()
	}
}

// spentLocked reports that nothing is left to resume, and nothing comes: not from
// the caller, nor out of the queue of a stream.
func (r *Reply) spentLocked() bool { return r.over && r.out == nil && len(r.entries) == 0 }

// Finish says that no more messages come, and ends a stream that resumed.
func (r *Reply) Finish() {
	r.log.mu.Lock()
	r.over, r.ended = true, r.log.registry.now()
	out := r.pullerLocked()
	r.settleLocked()
	r.log.mu.Unlock()
	if out != nil {
		out.Mark(Pending)
		out.Close(stream.Completed)
	}
}

// retention is how long what was said is kept after its end, and for how long a
// client that lost its stream is waited for.
const retention = time.Minute

// expiredLocked reports that nobody can resume the reply any more.
func (r *Reply) expiredLocked(now time.Duration) bool {
	return r.over && now-r.ended >= retention
}
