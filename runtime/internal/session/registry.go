// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// ErrFull refuses a session when all of Options.Max are in use.
var ErrFull = errors.New("the replica holds as many sessions as it may, and none of them is idle")

// ErrSealed refuses a session because the replica takes leave.
var ErrSealed = errors.New("the replica takes leave and opens no new sessions")

// ErrHere refuses to adopt a session that is here already.
var ErrHere = errors.New("the session is here already")

// ErrOutdated refuses to adopt a copy of a session that has gone on elsewhere since.
var ErrOutdated = errors.New("the session has gone on elsewhere since")

// Options bound the sessions of one replica.
type Options struct {
	// Max is the number of sessions; see config.SessionLimits.
	Max int
	// IdleTimeout ends a session without a stream and without a running
	// request.
	IdleTimeout time.Duration
	// MaxAge ends every session.
	MaxAge time.Duration
}

// Registry holds the sessions of this replica. It is safe for concurrent use.
type Registry struct {
	// Revision tells which configuration is served, for sessions that are handed
	// over. It must be set before the first use, or stay nil.
	Revision func() string

	sealer   *Sealer
	observer Observer
	logs     logs
	// epoch is when the registry's clock began: a time takes 24 bytes, a
	// duration 8.
	epoch   time.Time
	options atomic.Pointer[Options]
	sealed  atomic.Bool
	count   atomic.Int64
	shards  [shards]shard
	// whenIdle is WhenIdle's.
	whenIdle atomic.Pointer[func(*Session)]

	mu    sync.Mutex // guards what follows
	where map[Key]place
	// from are the owners of sessions that ever came from other replicas.
	from map[Owner]struct{}
}

// Observer learns what happens to sessions, for metrics. Its methods are called
// from many goroutines and must not wait.
type Observer interface {
	// Sessions tells of each session that opens (1) or ends (-1).
	Sessions(era string, delta int)
	// Resumed tells of each client that came back with an event id: to a stream
	// that went on, or in vain.
	Resumed(ok bool)
	// EventLogBytes tells what event logs take on, or let go (negative).
	EventLogBytes(delta int)
}

type silent struct{}

func (silent) Sessions(string, int) {}
func (silent) Resumed(bool)         {}
func (silent) EventLogBytes(int)    {}

// New makes a registry whose ids sealer makes. observer may be nil.
func New(sealer *Sealer, o Options, observer Observer) *Registry {
	if observer == nil {
		observer = silent{}
	}
	r := &Registry{sealer: sealer, observer: observer, epoch: time.Now(), logs: logs{observe: observer.EventLogBytes}}
	r.options.Store(&o)
	for i := range r.shards {
		r.shards[i].registry = r
		r.shards[i].sessions = map[Key]*Session{}
	}
	return r
}

func (r *Registry) now() time.Duration { return time.Since(r.epoch) }

// Resize takes other bounds. Sessions above a smaller Max stay; no new ones
// open until they are fewer.
func (r *Registry) Resize(o Options) { r.options.Store(&o) }

// Returned notes that a client came back with the id of an event, to a stream that
// goes on or in vain.
func (r *Registry) Returned(ok bool) { r.observer.Resumed(ok) }

// Seal refuses all further sessions; see ErrSealed.
func (r *Registry) Seal() { r.sealed.Store(true) }

// Create opens a session for a principal. When the registry is full, the
// session that has been quiet for longest makes room; if none is quiet, Create
// fails with ErrFull.
func (r *Registry) Create(principal string, era engine.Era, state *engine.Session) (*Session, error) {
	s := &Session{Principal: principal, Era: era, State: state}
	s.raw, s.key = r.sealer.seal(principal)
	if err := r.insert(s, 0, func() {}); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *Registry) revision() string {
	if r.Revision == nil {
		return ""
	}
	return r.Revision()
}

// insert takes a session in that is as old as age, and completes it before anybody
// finds it.
func (r *Registry) insert(s *Session, age time.Duration, complete func()) error {
	if r.sealed.Load() {
		return ErrSealed
	}
	if r.count.Add(1) > int64(r.options.Load().Max) && !r.evict() {
		r.count.Add(-1)
		return ErrFull
	}
	home := r.shard(s.key)
	home.mu.Lock()
	if _, there := home.sessions[s.key]; there {
		home.mu.Unlock()
		r.count.Add(-1)
		return ErrHere
	}
	s.home, s.created = home, r.now()-age
	complete()
	home.addLocked(s)
	home.mu.Unlock()
	r.observer.Sessions(s.Era.String(), 1)
	return nil
}

// evict ends the session that has been quiet for longest.
func (r *Registry) evict() bool {
	for {
		var victim *Session
		var since time.Duration
		for i := range r.shards {
			if s, at := r.shards[i].quietest(); s != nil && (victim == nil || at < since) {
				victim, since = s, at
			}
		}
		if victim == nil {
			return false
		}
		if victim.home.claim(victim) {
			victim.Close(stream.Evicted)
			return true
		}
	}
}

// Get finds a session. Another principal's is not found: whether it exists is
// nobody else's business. A session that another replica handed over is found
// under the id that its first owner made.
func (r *Registry) Get(id, principal string) (*Session, bool) {
	_, key, ok := r.sealer.Open(id, principal)
	if !ok {
		return nil, false
	}
	home := r.shard(key)
	home.mu.Lock()
	defer home.mu.Unlock()
	s := home.sessions[key]
	if s == nil || s.state == moved || s.Principal != principal {
		return nil, false
	}
	return s, true
}

// Has reports whether the session with a key is here and may be used.
func (r *Registry) Has(key Key) bool {
	home := r.shard(key)
	home.mu.Lock()
	defer home.mu.Unlock()
	s := home.sessions[key]
	return s != nil && s.state != moved
}

// Generation orders the copies of the session with a key; see Snapshot. It is false
// if none is here that may be used.
func (r *Registry) Generation(key Key) (generation uint32, here bool) {
	home := r.shard(key)
	home.mu.Lock()
	defer home.mu.Unlock()
	s := home.sessions[key]
	if s == nil || s.state == moved {
		return 0, false
	}
	return s.generation, true
}

// All is a snapshot of the open sessions, in no order.
func (r *Registry) All() []*Session {
	all := make([]*Session, 0, r.Count())
	for i := range r.shards {
		all = r.shards[i].appendAll(all)
	}
	return all
}

// Count is the number of open sessions.
func (r *Registry) Count() int { return int(r.count.Load()) }

// Run ends sessions that are too old or idle for too long, until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	timer := time.NewTimer(r.period())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			for _, s := range r.expired() {
				s.Close(stream.Expired)
			}
			r.logs.expire(r.now())
			timer.Reset(r.period())
		}
	}
}

// period is how often Run looks: an eighth of the shortest bound, so that a
// session lives at most that much longer, but not more often than every 100 ms.
func (r *Registry) period() time.Duration {
	o := r.options.Load()
	return max(min(o.IdleTimeout, o.MaxAge, retention)/8, 100*time.Millisecond)
}

func (r *Registry) expired() []*Session {
	o, now := r.options.Load(), r.now()
	var old []*Session
	for i := range r.shards {
		old = r.shards[i].appendExpired(old, now, o)
	}
	return old
}

// drop forgets a session that has ended or moved. Only the first call has an
// effect.
func (r *Registry) drop(s *Session) {
	s.home.mu.Lock()
	there := s.home.removeLocked(s)
	s.home.mu.Unlock()
	if there {
		r.count.Add(-1)
		r.observer.Sessions(s.Era.String(), -1)
	}
}
