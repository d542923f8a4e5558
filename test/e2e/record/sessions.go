// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// judgeSessions: a session that the server gave is found for as long as its
// owner lives, or the peer that took it over.
func (c *checker) judgeSessions() {
	for _, name := range sorted(c.clients) {
		who := c.clients[name]
		gone := map[string]bool{}
		last := ""
		for _, e := range who.events {
			switch {
			case e.What == Told:
				c.counts(e.Kind).Told++
				gone[e.Session] = true
			case e.What == Cut:
				// An SSE session is its stream.
				if strings.HasSuffix(e.Kind, "sse") {
					gone[e.Session] = true
				}
			case e.What == Status && e.Status == http.StatusNotFound && e.Session != "":
				c.counts(e.Kind).NotFound++
				gone[e.Session] = true
				c.judgeNotFound(who, e)
			case e.What == Session:
				c.counts(e.Kind).Sessions++
				if last != "" && last != e.Session && !gone[last] {
					c.breach(e, "a new session without a reason: %s was not gone", last)
				}
				last = e.Session
			}
		}
	}
}

// judgeNotFound asks who owned the session last, as far as its calls tell.
func (c *checker) judgeNotFound(who *client, e *Event) {
	owner, since := c.owner(who, e)
	sse := strings.HasSuffix(e.Kind, "sse")
	if owner != nil && ended(owner, e.At) && (owner.wasKilled() || sse) {
		return
	}
	if sse && c.closed(who, owner, e) {
		return
	}
	// After its last call it may have been handed over, to a peer that was killed then.
	moved := owner == nil || !owner.Ended.IsZero()
	if moved && slices.ContainsFunc(c.h.Lives, func(l Life) bool { return l.wasKilled() && l.Ended.After(since) && ended(&l, e.At) }) {
		return
	}
	c.breach(e, "%s got 404 for session %s, whose owner %s lives or left gracefully", e.Method, e.Session, tell(owner))
}

// closed says whether the stream of an SSE session was closed by the act that
// its owner left by: such a session ends with its stream, which no other replica
// can hold, while the owner still finishes what others asked.
func (c *checker) closed(who *client, owner *Life, e *Event) bool {
	if owner == nil || owner.Ended.IsZero() {
		return false
	}
	return slices.ContainsFunc(who.events, func(cut *Event) bool {
		return cut.What == Cut && cut.Session == e.Session && !cut.At.After(e.At) && c.act(cut.At) == c.act(owner.Ended)
	})
}

// owner finds who ran the last call of a session before a request, and since
// when nothing more is known; nil when no call of it ran.
func (c *checker) owner(who *client, e *Event) (owner *Life, since time.Time) {
	for _, other := range who.events {
		if other.At.After(e.At) {
			break
		}
		if other.Session != e.Session {
			continue
		}
		switch known := c.calls[other.Call]; {
		case other.What == Session:
			since = other.At
		case other.What == Call && known != nil:
			for _, r := range known.runs {
				if !r.At.After(e.At) {
					owner, since = c.life(r.From, r.At), r.At
				}
			}
		}
	}
	return owner, since
}

func ended(l *Life, at time.Time) bool { return !l.Ended.IsZero() && !l.Ended.After(at.Add(slack)) }
