// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// logs are the event logs of one replica.
type logs struct {
	observe func(delta int)

	bytes atomic.Int64 // of all logs

	mu sync.Mutex // taken after shard.mu and eventLog.mu, if they are
	// oldest and newest are the ends of the list, by when a stream was last
	// opened on a log.
	oldest, newest *eventLog
}

// touch makes l the newest.
func (a *logs) touch(l *eventLog) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unlistLocked(l)
	a.listLocked(l)
}

func (a *logs) listLocked(l *eventLog) {
	l.listed.Store(true)
	l.older = a.newest
	if a.newest != nil {
		a.newest.newer = l
	} else {
		a.oldest = l
	}
	a.newest = l
}

func (a *logs) unlistLocked(l *eventLog) {
	if !l.listed.Load() {
		return
	}
	if l.older != nil {
		l.older.newer = l.newer
	} else {
		a.oldest = l.newer
	}
	if l.newer != nil {
		l.newer.older = l.older
	} else {
		a.newest = l.older
	}
	l.older, l.newer = nil, nil
	l.listed.Store(false)
}

// grew counts what a log took on, or let go (negative). When all together are too
// large, those that were used least recently are emptied.
func (a *logs) grew(l *eventLog, delta int) {
	if delta == 0 {
		return
	}
	a.observe(delta)
	full := a.bytes.Add(int64(delta)) > maxLogs
	if delta > 0 && !l.listed.Load() {
		a.touch(l) // It had been emptied.
	}
	if full {
		a.evict()
	}
}

// evict empties logs, those that were used least recently first, until all together
// are small enough.
func (a *logs) evict() {
	a.mu.Lock()
	victim := a.oldest
	a.mu.Unlock()
	for victim != nil && a.bytes.Load() > maxLogs {
		victim.mu.Lock()
		cleared := victim.clearLocked()
		a.mu.Lock()
		next := victim.newer
		if victim.listed.Load() {
			a.unlistLocked(victim)
			if victim.bytes > 0 {
				// These are responses, whose turn comes after all others'.
				a.listLocked(victim)
			}
		}
		a.mu.Unlock()
		// Until here nothing is added: a log with messages must not be left out.
		victim.mu.Unlock()
		a.observe(cleared)
		a.bytes.Add(int64(cleared))
		victim = next
	}
}

// all is a snapshot of the logs.
func (a *logs) all() []*eventLog {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*eventLog
	for l := a.oldest; l != nil; l = l.newer {
		all = append(all, l)
	}
	return all
}

// expire forgets what nobody can resume any more.
func (a *logs) expire(now time.Duration) {
	for _, l := range a.all() {
		home := l.session.home
		home.mu.Lock()
		l.mu.Lock()
		delta := l.expireLocked(now)
		empty := len(l.replies) == 0
		l.mu.Unlock()
		if empty {
			l.session.log = nil
			a.mu.Lock()
			a.unlistLocked(l)
			a.mu.Unlock()
		}
		home.mu.Unlock()
		a.grew(l, delta)
	}
}

// discard forgets the log of a session that has ended.
func (a *logs) discard(l *eventLog) {
	a.mu.Lock()
	a.unlistLocked(l)
	a.mu.Unlock()
	l.mu.Lock()
	delta := -l.bytes
	for _, r := range l.replies {
		r.entries, r.gone = nil, true
		r.signalLocked()
	}
	l.bytes, l.pending, l.replies = 0, 0, nil
	l.mu.Unlock()
	a.grew(l, delta)
}
