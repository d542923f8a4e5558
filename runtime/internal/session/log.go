// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// The bounds of what is kept for clients that lose a stream, in bytes: of a
// session, beside one response that is larger, and of the replica.
const (
	maxLog  = 64 << 10
	maxLogs = 16 << 20
)

// eventLog is what a session keeps of its replies. There is none until the first,
// and none again when nothing is left to resume.
type eventLog struct {
	registry *Registry
	session  *Session

	mu      sync.Mutex // taken after shard.mu, if both are
	replies []*Reply   // in the order of their numbers
	bytes   int        // of all entries
	pending int        // of these, what no stream was given

	// older and newer are the list of logs, and listed tells that the log is in
	// it; guarded by logs.mu.
	older, newer *eventLog
	listed       bool
}

// logLocked is the session's log, made now if there is none.
func (s *Session) logLocked() *eventLog {
	if s.log == nil {
		s.log = &eventLog{registry: s.home.registry, session: s}
	}
	return s.log
}

// add adds a reply that begins. The lock of the session's shard is held, so that
// the log is not taken away meanwhile.
func (l *eventLog) add(r *Reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replies = append(l.replies, r)
}

// touch makes the log the one that was used last.
func (l *eventLog) touch() { l.registry.logs.touch(l) }

// resume is Session.Resume.
func (l *eventLog) resume(after eventID, out stream.Stream) (*Reply, bool) {
	l.mu.Lock()
	i := slices.IndexFunc(l.replies, func(r *Reply) bool { return r.number == after.number })
	if i < 0 {
		l.mu.Unlock()
		return nil, false
	}
	r := l.replies[i]
	if left := len(r.entries) > 0 && r.entries[len(r.entries)-1].seq > after.seq; r.over && !left {
		l.mu.Unlock()
		return nil, false
	}
	before := r.resumeLocked(out, after.seq)
	over := r.over
	l.mu.Unlock()
	if before != nil {
		before.Close(stream.ClientGone)
	}
	out.Mark(Pending)
	if over {
		out.Close(stream.Completed)
	}
	l.touch()
	return r, true
}

// trimmed is what trimLocked leaves of a log that is too large, in bytes: less than
// maxLog, so that not every message after that has to make room for itself.
const trimmed = maxLog * 3 / 4

// trimLocked makes a log that is too large small enough again and gives by how
// much it shrank, as a negative number. What was given to a stream goes first,
// responses last, the newest of them never.
func (l *eventLog) trimLocked() (delta int) {
	if l.bytes <= maxLog {
		return 0
	}
	delta += l.dropLocked(func(r *Reply, e *entry) bool { return !e.response && e.seq <= r.sent })
	delta += l.dropLocked(func(_ *Reply, e *entry) bool { return !e.response })
	newest := l.replies[len(l.replies)-1]
	delta += l.dropLocked(func(r *Reply, e *entry) bool { return r != newest || e.seq != r.seq })
	l.pruneLocked()
	return delta
}

// pruneLocked forgets the replies of which nothing is left to resume: they take
// memory too, and a client can ask for very many small ones.
func (l *eventLog) pruneLocked() {
	if !slices.ContainsFunc(l.replies, (*Reply).spentLocked) {
		return // A backlog's list never changes, which others look at without mu.
	}
	for _, r := range l.replies {
		r.gone = r.gone || r.spentLocked()
	}
	l.replies = slices.DeleteFunc(l.replies, (*Reply).spentLocked)
}

// dropLocked drops entries that may go, the oldest reply's first, until the log
// is small enough.
func (l *eventLog) dropLocked(may func(*Reply, *entry) bool) (delta int) {
	for _, r := range l.replies {
		if l.bytes <= trimmed {
			return delta
		}
		kept := r.entries[:0]
		for i := range r.entries {
			if e := &r.entries[i]; l.bytes > trimmed && may(r, e) {
				delta -= l.forgetLocked(r, e)
			} else {
				kept = append(kept, *e)
			}
		}
		clear(r.entries[len(kept):])
		r.entries = kept
	}
	return delta
}

// forgetLocked counts an entry out.
func (l *eventLog) forgetLocked(r *Reply, e *entry) int {
	n := size(e.data)
	l.bytes -= n
	if e.seq > r.sent {
		l.pending -= n
	}
	return n
}

// clearLocked drops all that is not a response, or everything if that is nothing.
func (l *eventLog) clearLocked() (delta int) {
	only := false
	for range 2 {
		for _, r := range l.replies {
			r.entries = slices.DeleteFunc(r.entries, func(e entry) bool {
				if e.response && !only {
					return false
				}
				delta -= l.forgetLocked(r, &e)
				return true
			})
		}
		if delta < 0 {
			break
		}
		only = true
	}
	if len(l.replies) > 0 {
		l.replies[0].signalLocked()
	}
	l.pruneLocked()
	return delta
}

// expireLocked drops the replies that nobody can resume any more.
func (l *eventLog) expireLocked(now time.Duration) (delta int) {
	l.replies = slices.DeleteFunc(l.replies, func(r *Reply) bool {
		if !r.expiredLocked(now) {
			return false
		}
		for i := range r.entries {
			delta -= l.forgetLocked(r, &r.entries[i])
		}
		r.entries, r.gone = nil, true
		return true
	})
	return delta
}

// logs are the event logs of one replica.
type logs struct {
	observe func(delta int)

	mu    sync.Mutex // taken after no other lock but shard.mu
	bytes int
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
	l.listed, l.older = true, a.newest
	if a.newest != nil {
		a.newest.newer = l
	} else {
		a.oldest = l
	}
	a.newest = l
}

func (a *logs) unlistLocked(l *eventLog) {
	if !l.listed {
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
	l.older, l.newer, l.listed = nil, nil, false
}

// grew counts what a log took on, or let go (negative). When all together are too
// large, those that were used least recently are emptied.
func (a *logs) grew(delta int) {
	a.observe(delta)
	a.mu.Lock()
	a.bytes += delta
	victim := a.oldest
	full := a.bytes > maxLogs
	a.mu.Unlock()
	for full && victim != nil {
		victim.mu.Lock()
		cleared := victim.clearLocked()
		victim.mu.Unlock()
		a.observe(cleared)
		a.mu.Lock()
		a.bytes += cleared
		full = a.bytes > maxLogs
		next := victim.newer
		if cleared != 0 && victim.listed {
			// What is left are responses, whose turn comes after all others'.
			a.unlistLocked(victim)
			a.listLocked(victim)
		}
		victim = next
		a.mu.Unlock()
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
		if delta != 0 {
			a.grew(delta)
		}
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
	a.grew(delta)
}

// The kinds of streams that ids tell apart: those of GET, and those of replies.
const (
	listening byte = 'g'
	answering byte = 'p'
)

// eventID is the id of an event: which stream of its session it was on, and its
// place there. Zero is the place before the first message.
type eventID struct {
	kind        byte
	number, seq uint32
}

// String gives the id as clients see it, such as p3-17; it is opaque to them.
func (id eventID) String() string {
	b := append(make([]byte, 0, 24), id.kind)
	b = strconv.AppendUint(b, uint64(id.number), 10)
	b = strconv.AppendUint(append(b, '-'), uint64(id.seq), 10)
	return string(b)
}

// parseEventID reads a Last-Event-ID; false for one that is none of ours.
func parseEventID(text string) (id eventID, ok bool) {
	if text == "" || len(text) > 24 || text[0] != listening && text[0] != answering {
		return eventID{}, false
	}
	number, seq, found := strings.Cut(text[1:], "-")
	n, err1 := strconv.ParseUint(number, 10, 32)
	q, err2 := strconv.ParseUint(seq, 10, 32)
	id = eventID{text[0], uint32(n), uint32(q)}
	return id, found && err1 == nil && err2 == nil && id.String() == text
}
