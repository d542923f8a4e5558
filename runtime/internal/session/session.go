// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session holds what lasts longer than one request for clients of the
// eras that have sessions: who they are bound to, the stream on which they
// listen, and when they end.
package session

import (
	"container/list"
	"errors"
	"sync"
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

// Session is one legacy session: the engine's state and the stream on which the
// client listens. It is safe for concurrent use.
type Session struct {
	// ID is what the client sends; see newID. It must not be logged as it is.
	ID string
	// Principal is the key of who opened the session; nobody else may use it.
	Principal string
	// Era is EraSSE or EraStreamable.
	Era engine.Era
	// State is what the engine knows of the session.
	State *engine.Session

	registry *Registry
	created  time.Time
	place    *list.Element // in registry.recent, guarded by registry.mu
	done     chan struct{} // closed by the first Close

	mu       sync.Mutex // guards what follows
	touched  time.Time
	requests int
	listener stream.Stream // nil while the client does not listen
	dirty    uint32        // bits that wait for a listener
	reason   stream.CloseReason
}

// Attach makes st the stream on which the client listens. An earlier one is
// closed as Replaced. Bits that were marked while nobody listened are marked on
// st. It fails with ErrEnded.
func (s *Session) Attach(st stream.Stream) error {
	s.mu.Lock()
	if s.reason != "" {
		s.mu.Unlock()
		return ErrEnded
	}
	before, dirty := s.listener, s.dirty
	s.listener, s.dirty = st, 0
	s.mu.Unlock()
	if before != nil {
		before.Close(stream.Replaced)
	}
	if dirty != 0 {
		st.Mark(dirty)
	}
	return nil
}

// Detach says that st has ended. It has no effect if st was replaced.
func (s *Session) Detach(st stream.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == st {
		s.listener = nil
		s.touched = time.Now()
	}
}

// Mark sets dirty bits on the listening stream, or keeps them for the next.
func (s *Session) Mark(bits uint32) {
	s.mu.Lock()
	listener := s.listener
	if listener == nil {
		s.dirty |= bits
	}
	s.mu.Unlock()
	if listener != nil {
		listener.Mark(bits)
	}
}

// Use counts a request, during which the session does not expire. It fails with
// ErrTooMany or ErrEnded. release must be called once.
func (s *Session) Use() (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != "" {
		return nil, ErrEnded
	}
	if s.requests >= MaxRequests {
		return nil, ErrTooMany
	}
	s.requests++
	return s.release, nil
}

func (s *Session) release() {
	s.mu.Lock()
	s.requests--
	s.touched = time.Now()
	s.mu.Unlock()
	s.registry.touch(s)
}

// Busy reports whether a request is running whose answer the listening stream
// carries, which is so in EraSSE only.
func (s *Session) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests > 0 && s.Era == engine.EraSSE
}

// Listening reports whether the client has a stream open.
func (s *Session) Listening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener != nil
}

// Close ends the session, its stream and its running calls. Only the first call
// has an effect.
func (s *Session) Close(reason stream.CloseReason) {
	s.mu.Lock()
	if s.reason != "" {
		s.mu.Unlock()
		return
	}
	s.reason = reason
	listener := s.listener
	s.listener = nil
	s.mu.Unlock()
	s.registry.remove(s)
	close(s.done)
	s.State.End("the session ended: " + string(reason))
	if listener != nil {
		listener.Close(reason)
	}
}

// Leave closes the listening stream because the replica drains. A session of
// EraSSE is its stream and ends; one of EraStreamable stays, so that its
// running requests are answered on streams of their own.
func (s *Session) Leave(reason stream.CloseReason) {
	if s.Era == engine.EraSSE {
		s.Close(reason)
		return
	}
	s.mu.Lock()
	listener := s.listener
	s.mu.Unlock()
	if listener != nil {
		listener.Close(reason)
	}
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// quiet reports whether nothing happens in the session, and since when.
func (s *Session) quiet() (since time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched, s.requests == 0 && s.listener == nil
}
