// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session holds what lasts longer than one request for clients of the
// eras that have sessions: who they are bound to, the stream on which they
// listen, and when they end.
package session

import (
	"errors"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// MaxRequests bounds the requests of one session that run at the same time, of
// whatever method.
const MaxRequests = 256

// ErrTooMany refuses a request of a session that has MaxRequests running.
var ErrTooMany = errors.New("the session has too many requests running")

// ErrEnded is returned for a session that has ended meanwhile.
var ErrEnded = errors.New("the session has ended")

// ErrMoved is returned for a session that is on its way to another replica, or
// there already; see Freeze.
var ErrMoved = errors.New("the session moves to another replica")

// The states of a session.
const (
	live uint8 = iota
	frozen
	moved
	over
)

// Session is one legacy session: the engine's state and the stream on which the
// client listens. It is safe for concurrent use. There may be very many, most of
// them idle: it holds no goroutine, no timer and no channel.
type Session struct {
	// Principal is the key of who opened the session; nobody else may use it.
	Principal string
	// Era is EraSSE or EraStreamable.
	Era engine.Era
	// State is what the engine knows of the session.
	State *engine.Session

	// The id is kept in bytes, in half the space of its text.
	raw raw
	key Key
	// home is the shard that holds the session. Its lock guards what follows.
	home    *shard
	created time.Duration // of the registry's clock
	touched time.Duration
	// older and newer are the list of the shard's quiet sessions.
	older, newer *Session
	listener     stream.Stream // nil while the client does not listen
	requests     int32
	dirty        uint32 // bits that wait for a listener
	told         uint32 // bits that the listener got
	toldAt       time.Duration
	state        uint8
}

// ID is what the client sends. It must not be logged as it is.
func (s *Session) ID() string { return encode(&s.raw) }

// Key is the random part of the id.
func (s *Session) Key() Key { return s.key }

// doubt is for how long what was written may have been lost on a connection that
// has ended since: longer than it takes to find out that nobody reads it.
const doubt = time.Minute

// Attach makes st the stream on which the client listens. An earlier one is
// closed as Replaced. Bits that were marked while nobody listened are marked on
// st, and those that the stream before got shortly before its end, which may have
// swallowed them. It fails with ErrEnded or ErrMoved.
func (s *Session) Attach(st stream.Stream) error {
	s.home.mu.Lock()
	if err := s.refusedLocked(); err != nil {
		s.home.mu.Unlock()
		return err
	}
	s.doubtLocked()
	before, bits := s.listener, s.dirty
	s.home.unlistLocked(s)
	s.listener, s.dirty = st, 0
	s.tellLocked(bits)
	s.home.mu.Unlock()
	if before != nil {
		before.Close(stream.Replaced)
	}
	if bits != 0 {
		st.Mark(bits)
	}
	return nil
}

// Detach says that st has ended. It has no effect if st was replaced.
func (s *Session) Detach(st stream.Stream) {
	s.home.mu.Lock()
	if s.listener != st {
		s.home.mu.Unlock()
		return
	}
	s.listener = nil
	s.doubtLocked()
	gone := s.state == moved
	s.home.quietLocked(s)
	s.home.mu.Unlock()
	if gone {
		s.home.registry.drop(s)
	}
}

// doubtLocked lets bits that the listener may not have got wait for the next.
func (s *Session) doubtLocked() {
	if s.told != 0 && s.home.registry.now()-s.toldAt < doubt {
		s.dirty |= s.told
	}
	s.told = 0
}

func (s *Session) tellLocked(bits uint32) {
	if bits != 0 {
		s.told, s.toldAt = s.told|bits, s.home.registry.now()
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

// Use counts a request, during which the session does not expire. It fails with
// ErrTooMany, ErrEnded or ErrMoved. Unless it fails, Unuse must follow once.
func (s *Session) Use() error {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	if err := s.refusedLocked(); err != nil {
		return err
	}
	if s.requests >= MaxRequests {
		return ErrTooMany
	}
	s.home.unlistLocked(s)
	s.requests++
	return nil
}

// Unuse ends what Use began.
func (s *Session) Unuse() {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	s.requests--
	s.home.quietLocked(s)
}

func (s *Session) refusedLocked() error {
	switch s.state {
	case live:
		return nil
	case over:
		return ErrEnded
	default:
		return ErrMoved
	}
}

// Busy reports whether a request is running whose answer the listening stream
// carries, which is so in EraSSE only.
func (s *Session) Busy() bool {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	return s.requests > 0 && s.Era == engine.EraSSE
}

// Listening reports whether the client has a stream open.
func (s *Session) Listening() bool {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	return s.listener != nil
}

// Ended reports whether the session was closed.
func (s *Session) Ended() bool {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	return s.state == over
}

// Close ends the session, its stream and its running calls. Only the first call
// has an effect.
func (s *Session) Close(reason stream.CloseReason) {
	s.home.mu.Lock()
	if s.state == over {
		s.home.mu.Unlock()
		return
	}
	s.state = over
	listener := s.listener
	s.listener = nil
	s.home.mu.Unlock()
	s.home.registry.drop(s)
	s.State.End("the session ended: " + string(reason))
	if listener != nil {
		listener.Close(reason)
	}
}

// Leave closes the listening stream because the replica drains. A session of
// EraSSE is its stream and ends, unless it has moved; one of EraStreamable stays,
// so that its running requests are answered on streams of their own.
func (s *Session) Leave(reason stream.CloseReason) {
	s.home.mu.Lock()
	listener, state := s.listener, s.state
	s.home.mu.Unlock()
	if s.Era == engine.EraSSE && state != moved {
		s.Close(reason)
		return
	}
	if listener != nil {
		listener.Close(reason)
	}
}
