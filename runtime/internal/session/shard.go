// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"sync"
	"time"
)

// shards is how many locks the sessions share.
const shards = 32

// minPeak is the size from which a shard is rebuilt, in sessions.
const minPeak = 64

// shard holds some of the sessions, by a part of their key. Its lock also guards
// what changes in them: a request takes it three times, each for less than a lock
// of the session's own would take beside it.
type shard struct {
	registry *Registry

	mu       sync.Mutex // never held across I/O, nor while a stream is called
	sessions map[Key]*Session
	// peak is the most that the map held since it was made: maps keep their size.
	peak int
	// oldest and newest are the ends of the list of quiet sessions, in the order
	// in which they became quiet.
	oldest, newest *Session
}

func (r *Registry) shard(key Key) *shard { return &r.shards[key[0]%shards] }

func (h *shard) addLocked(s *Session) {
	h.sessions[s.key] = s
	h.peak = max(h.peak, len(h.sessions))
	h.quietLocked(s)
}

// removeLocked reports false if s was not there any more. A shard that is less
// than a quarter full gives its memory back.
func (h *shard) removeLocked(s *Session) bool {
	if h.sessions[s.key] != s {
		return false
	}
	delete(h.sessions, s.key)
	h.unlistLocked(s)
	if n := len(h.sessions); h.peak >= minPeak && n < h.peak/4 {
		rebuilt := make(map[Key]*Session, n)
		maps.Copy(rebuilt, h.sessions) // maps.Clone keeps the size.
		h.sessions, h.peak = rebuilt, n
	}
	return true
}

// quietLocked notes that something in s has come to its end just now, and lists
// s if nothing else happens in it.
func (h *shard) quietLocked(s *Session) {
	s.touched = h.registry.now()
	if s.requests > 0 || s.listener != nil || s.state != live || h.sessions[s.key] != s {
		return
	}
	s.older = h.newest
	if h.newest != nil {
		h.newest.newer = s
	} else {
		h.oldest = s
	}
	h.newest = s
}

// unlistLocked takes s from the list, if it is there: before something begins in
// it, or since it goes.
func (h *shard) unlistLocked(s *Session) {
	if s.older == nil && h.oldest != s {
		return
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		h.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		h.newest = s.older
	}
	s.older, s.newer = nil, nil
}

// quietest is the session that has been quiet for longest, and since when.
func (h *shard) quietest() (s *Session, since time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.oldest == nil {
		return nil, 0
	}
	return h.oldest, h.oldest.touched
}

// claim takes a session that is still quiet out of use, so that only one evicts
// it.
func (h *shard) claim(s *Session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.older == nil && h.oldest != s {
		return false
	}
	h.unlistLocked(s)
	return true
}

func (h *shard) appendAll(all []*Session) []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		all = append(all, s)
	}
	return all
}

func (h *shard) appendExpired(old []*Session, now time.Duration, o *Options) []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		if now-s.created >= o.MaxAge || s.abandonedLocked(now, o.IdleTimeout) {
			old = append(old, s)
		}
	}
	return old
}
