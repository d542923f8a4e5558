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
	"fairlead.dev/fairlead/runtime/internal/stream"
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
	// Generation tells copies apart of which an answer that was lost has left more
	// than one: the highest is the session. Each further replica to which this
	// snapshot is offered must get one that is higher by 1, for at most MaxOffers.
	Generation uint32 `json:"generation,omitempty"`
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

// MaxOffers bounds the replicas to which one snapshot is offered.
const MaxOffers = 8

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
		Streams: s.streams, Listen: s.listen, ListenSeq: s.listenSeq, Generation: s.generation + 1,
	}
	s.generation += MaxOffers // It stays above all copies, if it goes on here.
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
// fails with ErrOutdated, ErrHere, ErrSealed or ErrFull, or if the id is none of its
// principal. The same offer twice gives the same session, and a later one takes the
// place of an earlier copy. A client that was told of another configuration than
// this replica serves is told that everything may have changed.
func (r *Registry) Adopt(from Snapshot) (*Session, error) {
	s, err := r.adopted(from)
	if err != nil {
		return nil, fmt.Errorf("failed to adopt a session: %w", err)
	}
	if here, at := r.lookup(s.key); here != nil && at == s.generation {
		return here, nil
	} else if here != nil && at < s.generation {
		here.Close(stream.Replaced)
	}
	if err = r.insert(s, max(from.Age, 0), func() { r.restore(s, from.Replies) }); err == nil && !r.arrived(s) {
		s.Close(stream.Replaced)
		err = ErrOutdated
	}
	if err != nil {
		return nil, fmt.Errorf("failed to adopt a session: %w", err)
	}
	return s, nil
}

// arrived notes that a session is here and not where it was thought to be. It is
// false for a copy that was disowned before it came.
func (r *Registry) arrived(s *Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, known := r.where[s.key]; known && at.outdated > 0 && at.outdated >= s.generation {
		return false
	}
	delete(r.where, s.key)
	return true
}

// Disown gives up a copy of the session with a key whose generation is not above
// outdated, also if it comes only later. The session is at another replica, or has
// ended if that is the zero AddrPort.
func (r *Registry) Disown(key Key, outdated uint32, to netip.AddrPort) {
	if s, at := r.lookup(key); s != nil && at > outdated {
		return
	}
	r.note(key, place{to, outdated})
	// It may have come meanwhile.
	if s, at := r.lookup(key); s != nil && at <= outdated {
		s.Close(stream.Replaced)
	}
}

func (r *Registry) note(key Key, at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.where == nil {
		r.where = map[Key]place{}
	}
	r.where[key] = at
}

// lookup is the session with a key, also if it is on its way elsewhere, nil for none.
func (r *Registry) lookup(key Key) (s *Session, generation uint32) {
	home := r.shard(key)
	home.mu.Lock()
	defer home.mu.Unlock()
	if s = home.sessions[key]; s != nil {
		generation = s.generation
	}
	return s, generation
}

func (r *Registry) adopted(from Snapshot) (*Session, error) {
	owner, key, ok := r.sealer.Open(from.ID, from.Principal)
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
		streams: from.Streams, listen: from.Listen, listenSeq: from.ListenSeq, generation: from.Generation,
	}
	decode(&s.raw, from.ID)
	r.cameFrom(owner)
	if from.Revision != r.revision() {
		s.dirty |= everything
	}
	return s, nil
}

// maxOwners bounds the owners that are remembered.
const maxOwners = 4096

func (r *Registry) cameFrom(owner Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from == nil {
		r.from = map[Owner]struct{}{}
	}
	if len(r.from) < maxOwners {
		r.from[owner] = struct{}{}
	}
}

// Adopted reports whether a session whose id names owner may ever have come here from
// another replica: when very many owners had sessions that did, it says so of all.
func (r *Registry) Adopted(owner Owner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.from[owner]
	return known || len(r.from) >= maxOwners
}

// everything is all bits that may be marked.
const everything = ^Pending

var eras = map[string]engine.Era{
	engine.EraSSE.String():        engine.EraSSE,
	engine.EraStreamable.String(): engine.EraStreamable,
}

// place is where a session is that is not here, and up to which generation copies of
// it are outdated.
type place struct {
	at       netip.AddrPort
	outdated uint32
}

// Moved notes where the session with a key is from now on, until this process
// ends or it comes back. The session is not found here any more; its stream stays
// open until it is told to Leave. It reports false if the session has ended while it
// was on its way: it must end there too.
func (r *Registry) Moved(key Key, to netip.AddrPort) (was bool) {
	r.note(key, place{at: to})
	home := r.shard(key)
	home.mu.Lock()
	s := home.sessions[key]
	was = s != nil && s.state != over
	idle := false
	if was {
		s.state, idle = moved, s.listener == nil
		home.unlistLocked(s)
	}
	home.mu.Unlock()
	if idle {
		r.drop(s)
	}
	return was
}

// Where is where the session with a key has moved to.
func (r *Registry) Where(key Key) (netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.where[key].at
	return to, to.IsValid()
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
