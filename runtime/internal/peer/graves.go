// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"maps"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
)

const (
	// mourning is how long it is remembered that an owner is gone: the clients of a pod
	// that was killed come back all at once, and each would cost a dial and a round of
	// questions.
	mourning = 2 * time.Second
	// maxGraves bounds the owners that are remembered.
	maxGraves = 256
	// maxFinding bounds the sessions that are looked for at once: questions are among
	// the requests of a link, and must not use them up.
	maxFinding = 64
)

// graves remember processes that are gone, and nothing of the ids of clients. What is
// remembered is evidence that is no older than mourning.
type graves struct {
	mu sync.Mutex // guards of
	of map[session.Owner]grave
}

type grave struct {
	// until is for how long it is remembered, and asked when all may be asked again.
	until, asked time.Time
	// empty: nobody has ever taken a session of it over, so that none goes on. That was
	// so when so many members had joined.
	empty  bool
	joined uint64
}

// look tells what is remembered of an owner.
func (g *graves) look(now time.Time, owner session.Owner, joined uint64) (dead, empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := g.of[owner]
	dead = now.Before(at.until)
	return dead, dead && at.empty && at.joined == joined
}

// inquire reports whether the caller shall ask all replicas for what they have of an
// owner that is gone, and not only those that rank first: one does, now and then.
func (g *graves) inquire(now time.Time, owner session.Owner) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, known := g.of[owner]
	if now.Before(at.asked) || !known && !g.roomLocked(now) {
		return false
	}
	at.asked = now.Add(mourning)
	g.of[owner] = at
	return true
}

// bury remembers an owner that is gone.
func (g *graves) bury(now time.Time, owner session.Owner, empty bool, joined uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, known := g.of[owner]
	if !known && !g.roomLocked(now) {
		return
	}
	// Fewer were asked if it is not empty: that says nothing against what is known.
	if empty || !now.Before(at.until) {
		at.until, at.empty, at.joined = now.Add(mourning), empty, joined
	}
	g.of[owner] = at
}

func (g *graves) roomLocked(now time.Time) bool {
	if g.of == nil {
		g.of = map[session.Owner]grave{}
	}
	if len(g.of) >= maxGraves {
		maps.DeleteFunc(g.of, func(_ session.Owner, at grave) bool { return !now.Before(at.until) && !now.Before(at.asked) })
	}
	return len(g.of) < maxGraves
}
