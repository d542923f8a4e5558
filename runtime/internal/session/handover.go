// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
)

// Snapshot is a session on its way to another replica, at most 96 KiB of JSON. It
// keeps its id.
type Snapshot struct {
	ID        string `json:"id"`
	Principal string `json:"principal"`
	// Era is "sse" or "streamable".
	Era   string              `json:"era"`
	State engine.SessionState `json:"state"`
	// Age is that of the session.
	Age time.Duration `json:"age"`
	// Revision is the configuration that the client was told of.
	Revision string `json:"revision,omitempty"`
	// Dirty and Told are the bits that wait for a stream, and those that the last
	// one got.
	Dirty uint32 `json:"dirty,omitempty"`
	Told  uint32 `json:"told,omitempty"`
	// Streams counts the event streams, Listen is the one on which the client
	// listens, and ListenSeq its last event.
	Streams   uint32 `json:"streams,omitempty"`
	Listen    uint32 `json:"listen,omitempty"`
	ListenSeq uint32 `json:"listenSeq,omitempty"`
	// Replies are the newest part of the event log.
	Replies []Kept `json:"replies,omitempty"`
}

// Freeze prepares the session for another replica, which may then Adopt what it
// looks like: from here on it refuses requests with ErrMoved, until Thaw. An open
// stream stays open. It is false for a session in which a request is running, and
// for one that has ended or is frozen already.
func (s *Session) Freeze() (Snapshot, bool) {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	if s.state != live || s.requests > 0 || s.held > 0 {
		return Snapshot{}, false
	}
	s.state = frozen
	s.home.unlistLocked(s)
	r := s.home.registry
	from := Snapshot{
		ID: s.ID(), Principal: s.Principal, Era: s.Era.String(), State: s.State.Export(), Age: r.now() - s.created,
		Revision: r.revision(), Dirty: s.dirty | s.missedLocked(eventID{}), Told: s.told,
		Streams: s.streams, Listen: s.listen, ListenSeq: s.listenSeq,
	}
	if s.log != nil {
		from.Replies = s.log.snapshot()
	}
	return from, true
}

// Hold keeps the session with a key here until release is called, so that a request
// that was sent here for it finds it. It is false for one that is not here, or has as
// many holders as may be.
func (r *Registry) Hold(key Key) (release func(), here bool) {
	home := r.shard(key)
	home.mu.Lock()
	defer home.mu.Unlock()
	s := home.sessions[key]
	if s == nil || s.state != live || s.held == math.MaxUint16 {
		return nil, false
	}
	s.held++
	return func() {
		home.mu.Lock()
		s.held--
		idle := s.idleLocked()
		home.mu.Unlock()
		if idle != nil {
			idle(s)
		}
	}, true
}

// WhenIdle has f called for each session to which nobody listens, at the moment when
// the last of its requests has ended: one whose caller never pauses could not move
// otherwise. f must not wait; nil ends it.
func (r *Registry) WhenIdle(f func(*Session)) { r.whenIdle.Store(&f) }

// idleLocked is what must be called because the session is idle now, if anything.
func (s *Session) idleLocked() func(*Session) {
	f := s.home.registry.whenIdle.Load()
	if f == nil || *f == nil || s.requests > 0 || s.held > 0 || s.state != live || s.listener != nil {
		return nil
	}
	return *f
}

// settlePeriod is how often Settle looks.
const settlePeriod = 2 * time.Millisecond

// Settle waits while the session with a key is frozen, so that a request that comes
// at that moment is served by whoever has the session then. It gives up when ctx
// ends.
func (r *Registry) Settle(ctx context.Context, key Key) {
	if !r.frozen(key) {
		return
	}
	ticker := time.NewTicker(settlePeriod)
	defer ticker.Stop()
	for r.frozen(key) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (r *Registry) frozen(key Key) bool {
	home := r.shard(key)
	home.mu.Lock()
	defer home.mu.Unlock()
	s := home.sessions[key]
	return s != nil && s.state == frozen
}

// Thaw takes a frozen session back into use, since nobody took it over.
func (s *Session) Thaw() {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	if s.state == frozen {
		s.state = live
		s.home.quietLocked(s)
	}
}

// Adopt takes over a session that another replica of this server has frozen. It
// fails with ErrHere, ErrSealed or ErrFull, or if the id is none of its principal.
// A client that was told of another configuration than this replica serves is told
// that everything may have changed.
func (r *Registry) Adopt(from Snapshot) (*Session, error) {
	s, err := r.adopted(from)
	if err == nil {
		err = r.insert(s, max(from.Age, 0), func() { r.restore(s, from.Replies) })
	}
	if err != nil {
		return nil, fmt.Errorf("failed to adopt a session: %w", err)
	}
	return s, nil
}

func (r *Registry) adopted(from Snapshot) (*Session, error) {
	_, key, ok := r.sealer.Open(from.ID, from.Principal)
	if !ok {
		return nil, errors.New("its id is none that this server made for its principal")
	}
	era, ok := eras[from.Era]
	if !ok {
		return nil, fmt.Errorf("its era %q has no sessions", from.Era)
	}
	state, err := engine.Restore(from.State)
	if err != nil {
		return nil, err
	}
	s := &Session{
		Principal: from.Principal, Era: era, State: state, key: key, dirty: from.Dirty, told: from.Told,
		streams: from.Streams, listen: from.Listen, listenSeq: from.ListenSeq,
	}
	decode(&s.raw, from.ID)
	if from.Revision != r.revision() {
		s.dirty |= everything
	}
	return s, nil
}

// everything is all bits that may be marked.
const everything = ^Pending

var eras = map[string]engine.Era{
	engine.EraSSE.String():        engine.EraSSE,
	engine.EraStreamable.String(): engine.EraStreamable,
}

// Moved notes where the session with a key is from now on, until this process
// ends. The session is not found here any more; its stream stays open until it is
// told to Leave.
func (r *Registry) Moved(key Key, to netip.AddrPort) {
	r.mu.Lock()
	if r.where == nil {
		r.where = map[Key]netip.AddrPort{}
	}
	r.where[key] = to
	r.mu.Unlock()
	home := r.shard(key)
	home.mu.Lock()
	s := home.sessions[key]
	idle := false
	if s != nil {
		s.state, idle = moved, s.listener == nil
		home.unlistLocked(s)
	}
	home.mu.Unlock()
	if idle {
		r.drop(s)
	}
}

// Where is where the session with a key has moved to.
func (r *Registry) Where(key Key) (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to, ok := r.where[key]
	return to, ok
}

// HasMoved reports whether an id is that of a session of a principal which has moved
// from here to another replica.
func (r *Registry) HasMoved(id, principal string) bool {
	_, key, ok := r.sealer.Open(id, principal)
	if ok {
		_, ok = r.Where(key)
	}
	return ok
}
