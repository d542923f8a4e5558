// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"sync"
	"sync/atomic"
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
	// settled is how many of the first replies have ended and have no message left
	// that goes first when the log is full: most have nothing but their response.
	settled int
	// answered is the reply that got a response last, nil before the first.
	answered *Reply

	// older and newer are the list of logs, and listed tells that the log is in
	// it; written with logs.mu.
	older, newer *eventLog
	listed       atomic.Bool
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

// find is the reply with a number, and the stream that carries it, each nil for none.
func (l *eventLog) find(number uint32) (*Reply, stream.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.replies, func(r *Reply) bool { return r.number == number })
	if i < 0 {
		return nil, nil
	}
	return l.replies[i], l.replies[i].out
}

// resume is Session.Resume.
func (l *eventLog) resume(after eventID, out stream.Stream) (*Reply, bool) {
	r, before := l.find(after.number)
	if r == nil {
		return nil, false
	}
	if before != nil {
		// What it has not written comes here, ahead of anything that is said later.
		before.Close(stream.ClientGone)
	}
	l.mu.Lock()
	if left := len(r.entries) > 0 && r.entries[len(r.entries)-1].seq > after.seq; r.gone || r.over && !left {
		l.mu.Unlock()
		return nil, false
	}
	before = r.resumeLocked(out, after.seq)
	over := r.over
	l.mu.Unlock()
	if before != nil {
		before.Close(stream.ClientGone) // Another client may have come in between.
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
	before := l.bytes
	spent := l.trimGivenLocked(trimmed)
	if l.bytes > maxLog {
		for _, may := range []func(*Reply, *entry) bool{
			func(_ *Reply, e *entry) bool { return !e.response },
			func(r *Reply, e *entry) bool { return r != l.answered || e.seq != r.answer },
		} {
			for _, r := range l.replies {
				spent = l.dropLocked(r, trimmed, may) || spent
			}
		}
	}
	if spent {
		l.pruneLocked()
	}
	return l.bytes - before
}

// trimGivenLocked drops messages that are no responses and were given to a stream,
// the oldest first, until the log has no more than limit bytes, if that is enough.
// It reports whether a reply is spent now.
func (l *eventLog) trimGivenLocked(limit int) (spent bool) {
	for i := l.settled; i < len(l.replies) && l.bytes > limit; i++ {
		r := l.replies[i]
		spent = l.dropLocked(r, limit, func(r *Reply, e *entry) bool { return !e.response && e.seq <= r.sent }) || spent
		if i == l.settled && r.over && r.out == nil && l.bytes > limit {
			l.settled++
		}
	}
	return spent
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
	l.replies, l.settled = slices.DeleteFunc(l.replies, (*Reply).spentLocked), 0
}

// dropLocked drops entries of a reply that may go, the oldest first, until the log
// has no more than limit bytes. It reports whether the reply is spent now.
func (l *eventLog) dropLocked(r *Reply, limit int, may func(*Reply, *entry) bool) (spent bool) {
	if l.bytes <= limit || len(r.entries) == 0 {
		return false
	}
	kept := r.entries[:0]
	for i := range r.entries {
		if e := &r.entries[i]; l.bytes > limit && may(r, e) {
			l.forgetLocked(r, e)
		} else {
			kept = append(kept, *e)
		}
	}
	clear(r.entries[len(kept):])
	r.entries = kept
	if r.over {
		r.entries = fitted(kept)
	}
	return r.spentLocked()
}

// arrays are for the entries of replies that say much; each has place for many.
var arrays sync.Pool // of *[]entry

// few and many are how many entries a reply gets place for: most say little, or a
// hundred things.
const (
	few  = 16
	many = 128
)

// roomier is entries with place for more.
func roomier(entries []entry) []entry {
	n := len(entries)
	if n < few || n >= many {
		return slices.Grow(entries, max(n, 1))
	}
	larger, ok := arrays.Get().(*[]entry)
	if !ok {
		larger = new(make([]entry, 0, many))
	}
	return append((*larger)[:0], entries...)
}

// fitted is entries of which no more come without much place that they do not need:
// only entries are counted.
func fitted(entries []entry) []entry {
	n := len(entries)
	if n > cap(entries)/4*3 {
		return entries
	}
	fitting := slices.Clone(entries)
	if cap(entries) == many {
		clear(entries)
		arrays.Put(&entries)
	}
	return fitting
}

// forgetLocked counts an entry out.
func (l *eventLog) forgetLocked(r *Reply, e *entry) int {
	n := e.size()
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
	l.settled = 0
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
