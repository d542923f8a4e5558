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
	listener     Listener  // nil while the client does not listen
	log          *eventLog // nil while there is nothing to resume
	toldAt       time.Duration
	told         uint32 // bits that the last listener got, the last of them at toldAt
	dirty        uint32 // bits that wait for a listener
	streams      uint32 // how many event streams there were, but for EraSSE
	listen       uint32 // which of them the last listener was, zero for none
	listenSeq    uint32 // the number of messages on it
	generation   uint32 // see Snapshot
	requests     int32
	held         uint16 // see Registry.Hold
	state        uint8
}

// ID is what the client sends. It must not be logged as it is.
func (s *Session) ID() string { return encode(&s.raw) }

// Key is the random part of the id.
func (s *Session) Key() Key { return s.key }

// abandonedLocked reports whether nothing has happened for too long. A session of
// EraSSE is its stream: it waits only for its client to come back, also while its
// calls go on.
func (s *Session) abandonedLocked(now, idle time.Duration) bool {
	if s.listener != nil {
		return false
	}
	if s.Era == engine.EraSSE {
		return now-s.touched >= min(idle, retention)
	}
	return s.requests == 0 && now-s.touched >= idle
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
	s.requests--
	s.home.quietLocked(s)
	idle := s.idleLocked()
	s.home.mu.Unlock()
	if idle != nil {
		idle(s)
	}
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

// InUse reports whether a request is running.
func (s *Session) InUse() bool {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	return s.requests > 0 || s.held > 0
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
	listener, log := s.listener, s.log
	s.listener, s.log = nil, nil
	s.home.mu.Unlock()
	s.home.registry.drop(s)
	if log != nil {
		s.home.registry.logs.discard(log)
	}
	s.State.End("the session ended: " + string(reason))
	if listener != nil {
		listener.Close(reason)
	}
}
