// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// MaxIDLength bounds the ids that are looked at, in bytes.
const MaxIDLength = 128

// ErrFull refuses a session when all of Options.Max are in use.
var ErrFull = errors.New("the replica holds as many sessions as it may, and none of them is idle")

// ErrSealed refuses a session because the replica takes leave.
var ErrSealed = errors.New("the replica takes leave and opens no new sessions")

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

// Registry holds the sessions of this replica.
type Registry struct {
	observe func(era engine.Era, delta int)

	mu       sync.Mutex // guards what follows; taken before no other lock but Session.mu
	options  Options
	sessions map[string]*Session
	recent   *list.List // of *Session, the most recently used first
	sealed   bool
}

// New makes a registry. observe, which may be nil, is told of each session that
// opens (1) or ends (-1).
func New(o Options, observe func(era engine.Era, delta int)) *Registry {
	if observe == nil {
		observe = func(engine.Era, int) {}
	}
	return &Registry{observe: observe, options: o, sessions: map[string]*Session{}, recent: list.New()}
}

// Resize takes other bounds. Sessions above a smaller Max stay; no new ones
// open until they are fewer.
func (r *Registry) Resize(o Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.options = o
}

// Seal refuses all further sessions; see ErrSealed.
func (r *Registry) Seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
}

// Create opens a session for a principal. When the registry is full, the
// session that has been quiet for longest makes room; if none is quiet, Create
// fails with ErrFull.
func (r *Registry) Create(principal string, era engine.Era, state *engine.Session) (*Session, error) {
	now := time.Now()
	s := &Session{
		ID: newID(), Principal: principal, Era: era, State: state,
		registry: r, created: now, touched: now, done: make(chan struct{}),
	}
	victim, err := r.insert(s)
	if err != nil {
		return nil, err
	}
	if victim != nil {
		victim.Close(stream.Evicted)
	}
	r.observe(era, 1)
	return s, nil
}

func (r *Registry) insert(s *Session) (victim *Session, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed {
		return nil, ErrSealed
	}
	if len(r.sessions) >= r.options.Max {
		if victim = r.quietest(); victim == nil {
			return nil, ErrFull
		}
		r.unlist(victim)
	}
	r.sessions[s.ID] = s
	s.place = r.recent.PushFront(s)
	return victim, nil
}

// quietest is the least recently used session that may be ended.
func (r *Registry) quietest() *Session {
	for e := r.recent.Back(); e != nil; e = e.Prev() {
		s := e.Value.(*Session)
		if _, ok := s.quiet(); ok {
			return s
		}
	}
	return nil
}

// Get finds a session. Another principal's is not found: whether it exists is
// nobody else's business.
func (r *Registry) Get(id, principal string) (*Session, bool) {
	if len(id) > MaxIDLength {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[id]
	if s == nil || s.Principal != principal {
		return nil, false
	}
	r.recent.MoveToFront(s.place)
	return s, true
}

// All is a snapshot of the open sessions, the most recently used first.
func (r *Registry) All() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Session, 0, len(r.sessions))
	for e := r.recent.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*Session))
	}
	return all
}

// Count is the number of open sessions.
func (r *Registry) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Run ends sessions that are too old or idle for too long, until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	timer := time.NewTimer(r.period())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			for _, s := range r.expired(time.Now()) {
				s.Close(stream.Expired)
			}
			timer.Reset(r.period())
		}
	}
}

// period is how often Run looks: an eighth of the shorter bound, so that a
// session lives at most that much longer, between 100 ms and 30 s.
func (r *Registry) period() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(max(min(r.options.IdleTimeout, r.options.MaxAge)/8, 100*time.Millisecond), 30*time.Second)
}

func (r *Registry) expired(now time.Time) []*Session {
	r.mu.Lock()
	o := r.options
	r.mu.Unlock()
	var old []*Session
	for _, s := range r.All() {
		since, quiet := s.quiet()
		if now.Sub(s.created) >= o.MaxAge || quiet && now.Sub(since) >= o.IdleTimeout {
			old = append(old, s)
		}
	}
	return old
}

func (r *Registry) touch(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[s.ID] == s {
		r.recent.MoveToFront(s.place)
	}
}

// remove is called once, by the Close that ended s.
func (r *Registry) remove(s *Session) {
	r.mu.Lock()
	r.unlist(s)
	r.mu.Unlock()
	r.observe(s.Era, -1)
}

func (r *Registry) unlist(s *Session) {
	if r.sessions[s.ID] == s {
		delete(r.sessions, s.ID)
		r.recent.Remove(s.place)
	}
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newID makes an id that cannot be guessed: 128 random bits in 26 characters
// that need no escaping in a header or a query.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return lowerBase32.EncodeToString(b[:])
}
