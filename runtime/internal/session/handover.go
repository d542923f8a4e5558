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
	Age   time.Duration       `json:"age"`
	Dirty uint32              `json:"dirty,omitempty"`
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
	return Snapshot{
		ID: s.ID(), Principal: s.Principal, Era: s.Era.String(), State: s.State.Export(),
		Age: s.home.registry.now() - s.created, Dirty: s.dirty | s.told,
	}, true
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
		defer home.mu.Unlock()
		s.held--
	}, true
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
func (r *Registry) Adopt(from Snapshot) (*Session, error) {
	_, key, ok := r.sealer.Open(from.ID, from.Principal)
	if !ok {
		return nil, errors.New("failed to adopt a session: its id is none that this server made for its principal")
	}
	era, ok := eras[from.Era]
	if !ok {
		return nil, fmt.Errorf("failed to adopt a session: its era %q has no sessions", from.Era)
	}
	state, err := engine.Restore(from.State)
	if err != nil {
		return nil, fmt.Errorf("failed to adopt a session: %w", err)
	}
	s := &Session{Principal: from.Principal, Era: era, State: state, key: key, dirty: from.Dirty}
	decode(&s.raw, from.ID)
	if err := r.insert(s, max(from.Age, 0)); err != nil {
		return nil, fmt.Errorf("failed to adopt a session: %w", err)
	}
	return s, nil
}

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
