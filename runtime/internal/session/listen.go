// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// Listener is the stream on which a client listens; *stream.Outbox is one.
type Listener interface {
	stream.Stream
	CloseWith(reason stream.CloseReason, last stream.Message)
	Salvage(to stream.Salvager)
}

// doubt is for how long what was written may have been lost on a connection that
// has ended since: longer than it takes to find out that nobody reads it.
const doubt = time.Minute

// comeBack is how long a client that a drain cuts is asked to wait before it
// connects again. The endpoints have caught up by then, and a client that tries
// only twice must not have done so before a proxy has.
const comeBack = time.Second

// Attach makes st the stream on which the client listens, and closes an earlier one.
// Bits that were marked while nobody listened are marked on st, and those that the
// stream before got shortly before its end, which may have swallowed them. In EraSSE
// st also gets what was said meanwhile. It fails with ErrEnded or ErrMoved.
func (s *Session) Attach(st Listener) error {
	_, err := s.attach(st, eventID{})
	return err
}

// Listen is Attach for EraStreamable, which closes an earlier stream as Replaced.
// lastEventID is that of the last event which the client saw; it may be empty, or of
// another stream. log gives ids to what is written to st; first is the event that st
// begins with, nil for clients that would not know what to do with it.
func (s *Session) Listen(st Listener, lastEventID string) (first *stream.Message, log stream.Log, err error) {
	after, _ := parseEventID(lastEventID)
	number, err := s.attach(st, after)
	if err != nil {
		return nil, nil, err
	}
	if s.primes() {
		first = &stream.Message{ID: eventID{kind: listening, number: number}.String()}
	}
	return first, &listenLog{session: s, number: number}, nil
}

// primes reports whether the client takes an event without data for an id to
// resume from: since 2025-11-25.
func (s *Session) primes() bool { return s.State.Version() >= engine.Version20251125 }

func (s *Session) attach(st Listener, after eventID) (number uint32, err error) {
	if s.Era == engine.EraSSE {
		st.Salvage(s)
		s.hangUp()
	}
	s.home.mu.Lock()
	if err := s.refusedLocked(); err != nil {
		s.home.mu.Unlock()
		return 0, err
	}
	before, bits := s.listener, s.dirty|s.missedLocked(after)
	s.home.unlistLocked(s)
	s.listener, s.dirty, s.told = st, 0, 0
	s.tellLocked(bits)
	if s.Era == engine.EraStreamable {
		s.streams++
		s.listen, s.listenSeq = s.streams, 0
	}
	number = s.listen
	backlog := s.backlogLocked()
	s.home.mu.Unlock()
	if s.Era == engine.EraSSE {
		bits |= takeOver(backlog, before, st)
	} else if before != nil {
		before.Close(stream.Replaced)
	}
	if bits != 0 {
		st.Mark(bits)
	}
	return number, nil
}

// hangUp closes the listening stream, whose client is not there any more: it has come
// again. What is left in the stream is kept, ahead of anything that is said later.
func (s *Session) hangUp() {
	s.home.mu.Lock()
	before := s.listener
	refused := s.refusedLocked() != nil
	s.home.mu.Unlock()
	if before != nil && !refused {
		before.Close(stream.ClientGone)
	}
}

// takeOver gives st what before did not deliver. It gives the bit to mark if there may
// be something.
func takeOver(backlog *Reply, before, st Listener) (bits uint32) {
	if backlog != nil {
		backlog.resume(st)
		bits = Pending
	}
	if before != nil {
		before.Close(stream.ClientGone) // Another may have come in between.
		bits = Pending
	}
	return bits
}

// missedLocked are the bits of the last listener that a client may have missed
// that saw the event after.
func (s *Session) missedLocked(after eventID) uint32 {
	if after.kind == listening && after.number == s.listen {
		if after.seq >= s.listenSeq {
			return 0
		}
		return s.told
	}
	end := s.touched
	if s.listener != nil {
		end = s.home.registry.now()
	}
	if end-s.toldAt >= doubt {
		return 0
	}
	return s.told
}

func (s *Session) tellLocked(bits uint32) {
	if bits != 0 {
		s.told, s.toldAt = s.told|bits, s.home.registry.now()
	}
}

// listenLog gives ids to what is written to a listening stream. It keeps nothing
// of it: dirty bits can be marked again.
type listenLog struct {
	session *Session
	number  uint32
}

// Keep implements stream.Log.
func (l *listenLog) Keep(id []byte, m *stream.Message) []byte {
	if m.Data == nil {
		return id // It only asks the client to come back.
	}
	s := l.session
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	if s.listen != l.number {
		return id // Another stream took over.
	}
	s.listenSeq++
	return eventID{listening, l.number, s.listenSeq}.append(id)
}

// Detach says that st has ended. It has no effect if st was replaced.
func (s *Session) Detach(st Listener) {
	s.home.mu.Lock()
	if s.listener != st {
		s.home.mu.Unlock()
		return
	}
	s.listener = nil
	gone, backlog := s.state == moved, s.backlogLocked()
	s.home.quietLocked(s)
	s.home.mu.Unlock()
	if backlog != nil {
		backlog.Detach(st)
	}
	if gone {
		s.home.registry.drop(s)
	}
}

// Mark sets dirty bits on the listening stream, or keeps them for the next.
func (s *Session) Mark(bits uint32) {
	s.home.mu.Lock()
	listener := s.listener
	if listener == nil {
		s.dirty |= bits
	} else {
		s.tellLocked(bits)
	}
	s.home.mu.Unlock()
	if listener != nil {
		listener.Mark(bits)
	}
}

// Say sends m on the stream on which the client of EraSSE listens. Without one it
// is kept until the client comes back; see Reply.Send.
func (s *Session) Say(ctx context.Context, m stream.Message) error {
	s.home.mu.Lock()
	listener, backlog := s.listener, s.backlogLocked()
	s.home.mu.Unlock()
	if listener != nil && backlog == nil {
		err := listener.Send(ctx, m)
		if closed := (*stream.ClosedError)(nil); !errors.As(err, &closed) {
			return err
		}
	}
	if backlog = s.makeBacklog(); backlog == nil {
		return &stream.ClosedError{Reason: stream.SessionEnded}
	}
	return backlog.keep(ctx, m)
}

// Lost implements stream.Witness for a listening stream of EraSSE.
func (s *Session) Lost(m stream.Message) {
	if backlog := s.makeBacklog(); backlog != nil {
		backlog.Lost(m)
	}
}

// Crowded implements stream.Salvager. What was given to a stream of EraSSE is not
// kept.
func (s *Session) Crowded() {}

// Written implements stream.Witness.
func (s *Session) Written() {
	if backlog := s.backlog(); backlog != nil {
		backlog.forgetSent()
	}
}

// SaidSince renders for st what was said in EraSSE while no stream was open. A stream
// that was replaced gets nothing.
func (s *Session) SaidSince(st Listener) []stream.Message {
	backlog := s.backlog()
	if backlog == nil {
		return nil
	}
	return backlog.take(st)
}

func (s *Session) backlog() *Reply {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	return s.backlogLocked()
}

// backlogLocked is the reply that holds what could not be said in EraSSE, which
// knows no ids; nil if there never was any.
func (s *Session) backlogLocked() *Reply {
	if s.Era != engine.EraSSE || s.log == nil {
		return nil
	}
	return s.log.replies[0]
}

// makeBacklog makes the backlog if there is none. It gives nil for a session that
// has ended.
func (s *Session) makeBacklog() *Reply {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	if s.state == over {
		return nil
	}
	if r := s.backlogLocked(); r != nil {
		return r
	}
	r := &Reply{log: s.logLocked(), cut: s.home.registry.now()}
	if s.listener != nil {
		r.out, r.pulled = s.listener, true
	}
	r.log.add(r)
	r.log.touch()
	return r
}

// Listening reports whether the client has a stream open.
func (s *Session) Listening() bool {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	return s.listener != nil
}

// Leave closes the listening stream because the replica drains, and asks the
// client to come back. A session of EraSSE is its stream and ends, unless it has
// moved; one of EraStreamable stays, so that its running requests are answered on
// streams of their own.
func (s *Session) Leave(reason stream.CloseReason) {
	s.home.mu.Lock()
	listener, state := s.listener, s.state
	s.home.mu.Unlock()
	if listener != nil {
		listener.CloseWith(reason, stream.Message{Retry: comeBack})
	}
	if s.Era == engine.EraSSE && state != moved {
		s.Close(reason)
	}
}
