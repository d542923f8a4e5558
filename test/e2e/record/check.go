// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

const (
	// slack is how far clocks and second-grained times of Kubernetes may lie.
	slack = 1500 * time.Millisecond
	// hasty bounds how long after its head a proxy drops what it was answered too
	// soon: one that is made with Go's ReverseProxy, as Traefik is, may still look
	// for the end of the request's body when the answer comes, finds the body
	// closed, and gives the connection up. It does so to any server that answers a
	// POST with a stream within a fraction of a millisecond. What comes more often than
	// by chance is no such race.
	hasty = 50 * time.Millisecond
	// maxHasty is how many such drops of one client's stream may be chance, however
	// few it opened.
	maxHasty = 3
	// underway bounds how long what a process sent arrives after its death. No container
	// follows a killed one sooner.
	underway = 200 * time.Millisecond
	// noticed bounds how long a broken connection takes to be seen.
	noticed = 3 * time.Second
)

// Counts says how it went for clients of one kind, or for all.
type Counts struct {
	Clients, Calls, Answered, Refused int
	// CutOff counts calls that were lost with a killed pod, and Lost all others
	// without an answer.
	CutOff, Lost int
	// Duplicates counts answers and runs beyond the first.
	Duplicates int
	Cuts       int
	// Hasty counts listen streams that a proxy dropped as it opened them.
	Hasty    int
	Sessions int
	// NotFound counts 404 for a session, and Told other words of the same meaning.
	NotFound, Told int
	// Silence is the longest time that one client was without an answer.
	Silence time.Duration
}

// Summary is what Check counted.
type Summary struct {
	ByKind map[string]*Counts
	Total  Counts
	// Cuts counts cuts of streams by act.
	Cuts map[string]int
}

// Check judges a history and returns each breach of a promise.
func Check(h *History) (Summary, []Breach) {
	c := checker{
		h: h, calls: map[string]*call{}, clients: map[string]*client{},
		summary: Summary{ByKind: map[string]*Counts{}, Cuts: map[string]int{}},
	}
	slices.SortStableFunc(h.Events, func(a, b Event) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(h.Lives, func(a, b Life) int { return a.Began.Compare(b.Began) })
	slices.SortStableFunc(h.Acts, func(a, b Act) int { return a.Began.Compare(b.Began) })
	for i := range h.Events {
		c.gather(&h.Events[i])
	}
	for _, r := range h.Runs {
		if known := c.calls[r.Call]; known != nil {
			known.runs = append(known.runs, r)
		}
	}
	c.judgeCalls()
	c.judgeStreams()
	c.judgeSessions()
	c.judgeClients()
	// Told last: only now all is known.
	for i := range c.breaches {
		c.breaches[i].Story = c.tellAround(c.breaches[i].event)
	}
	return c.total(), c.breaches
}

// call is the story of one call.
type call struct {
	first    *Event
	answers  []*Event
	lost     *Event
	runs     []Run
	attempts int
}

// client is the story of one client.
type client struct {
	kind    string
	events  []*Event
	streams map[string]bool // whether it is open
}

// last returns the last event of a stream.
func (w *client) last(stream string) *Event {
	var last *Event
	for _, e := range w.events {
		if e.Stream == stream {
			last = e
		}
	}
	return last
}

type checker struct {
	h        *History
	calls    map[string]*call
	clients  map[string]*client
	summary  Summary
	breaches []Breach
}

func (c *checker) counts(kind string) *Counts {
	counts := c.summary.ByKind[kind]
	if counts == nil {
		counts = &Counts{}
		c.summary.ByKind[kind] = counts
	}
	return counts
}

// gather sorts one event to its call and client.
func (c *checker) gather(e *Event) {
	who := c.clients[e.Client]
	if who == nil {
		who = &client{kind: e.Kind, streams: map[string]bool{}}
		c.clients[e.Client] = who
		c.counts(e.Kind).Clients++
	}
	who.events = append(who.events, e)
	if e.What == Open || e.What == Cut {
		who.streams[e.Stream] = e.What == Open
	}
	if e.Call != "" {
		c.gatherCall(e)
	}
}

// gatherCall sorts an event about a call to the others of that call.
func (c *checker) gatherCall(e *Event) {
	known := c.calls[e.Call]
	switch {
	case e.What == Call && known != nil:
		c.breach(e, "the record is wrong: call %s began twice", e.Call)
	case e.What == Call:
		c.calls[e.Call] = &call{first: e}
	case known == nil && e.What == Answered:
		c.breach(e, "an answer to call %s, which was never sent", e.Call)
	case known == nil:
	case e.What == Answered:
		known.answers = append(known.answers, e)
	case e.What == Lost:
		known.lost = e
	case e.What == Refused:
		known.attempts++
		c.counts(e.Kind).Refused++
	}
}

// judgeCalls: each call is answered once and run once; without an answer is only
// what a killed pod took along.
func (c *checker) judgeCalls() {
	for _, id := range sorted(c.calls) {
		known := c.calls[id]
		counts := c.counts(known.first.Kind)
		counts.Calls++
		if n := len(known.runs); n > 1 {
			counts.Duplicates += n - 1
			c.breach(known.first, "call %s ran %d times, on %s", id, n, addresses(known.runs))
		}
		if n := len(known.answers); n > 1 {
			counts.Duplicates += n - 1
			c.breach(known.answers[n-1], "call %s was answered %d times", id, n)
		}
		good := slices.ContainsFunc(known.answers, func(e *Event) bool { return e.Why == "" })
		switch {
		case good && len(known.runs) == 0:
			c.breach(known.first, "the record is wrong: call %s was answered and never ran", id)
		case good:
			counts.Answered++
		case c.excused(known):
			counts.CutOff++
		default:
			counts.Lost++
			c.breach(cmp.Or(known.lost, known.first), "call %s has no answer: %s; it ran on %s, sent at %s",
				id, why(known), cmp.Or(c.story(known.runs), "no pod"), known.first.At.Format("15:04:05.000"))
		}
	}
}

// excused says whether a killed pod explains that a call has no answer.
func (c *checker) excused(known *call) bool {
	end := c.h.Ended.Add(time.Hour)
	if known.lost != nil {
		end = known.lost.At
	}
	for _, e := range known.answers { // An error is the end too.
		end = e.At
	}
	for _, life := range c.h.Lives {
		if !life.wasKilled() || end.Before(life.Killed) {
			continue
		}
		// A proxy that finds nobody at the killed pod's address tells as little.
		if len(known.runs) == 0 && !end.After(c.back(&life).Add(slack)) {
			return true
		}
		if known.first.At.After(life.Ended.Add(slack)) {
			continue
		}
		for _, r := range known.runs {
			if l := c.life(r.From, r.At); l != nil && *l == life {
				return true
			}
		}
		// It may have passed through the killed pod on its way to another.
		if !end.After(life.Ended.Add(noticed)) || c.broken(known.first.Client, &life) {
			return true
		}
	}
	return false
}

// back is when a killed container was followed by another in its pod, zero if it
// was not.
func (c *checker) back(killed *Life) (at time.Time) {
	for _, l := range c.h.Lives {
		if l.IP == killed.IP && l.Began.After(killed.Ended) && (at.IsZero() || l.Began.Before(at)) {
			at = l.Began
		}
	}
	return at
}

// broken says whether one of the client's streams was cut by a kill.
func (c *checker) broken(name string, killed *Life) bool {
	return slices.ContainsFunc(c.clients[name].events, func(e *Event) bool {
		return e.What == Cut && !e.At.Before(killed.Killed) && !e.At.After(killed.Ended.Add(noticed))
	})
}

// life finds whose address it was at a time.
func (c *checker) life(ip string, at time.Time) *Life {
	var found *Life
	for i := range c.h.Lives {
		l := &c.h.Lives[i]
		exact := slack
		if l.wasKilled() {
			exact = underway
		}
		if l.IP == ip && !at.Before(l.Began.Add(-slack)) && (l.Ended.IsZero() || !at.After(l.Ended.Add(exact))) {
			// Of two that fit, the one that began later has the address now; but a
			// killed one is known to have had it up to its last moment.
			if found == nil || !found.wasKilled() {
				found = l
			}
		}
	}
	return found
}

// judgeStreams: each act cuts a stream at most as often as it may, and nothing
// else cuts one.
func (c *checker) judgeStreams() {
	for _, name := range sorted(c.clients) {
		seen, opened := map[string]int{}, (*Event)(nil)
		opens, dropped := 0, 0
		for _, e := range c.clients[name].events {
			if e.What == Open && e.Stream == "listen" {
				opened = e
				opens++
			}
			if e.What != Cut {
				continue
			}
			if isHasty(opened, e) {
				c.counts(e.Kind).Hasty++
				dropped++
				if dropped > maxHasty && 2*dropped > opens {
					c.breach(e, "stream %s was dropped %d of %d times as it was opened, which no chance explains: %s", e.Stream, dropped, opens, e.Why)
				}
				continue
			}
			c.counts(e.Kind).Cuts++
			act := c.act(e.At)
			if act == nil {
				c.summary.Cuts["nothing"]++
				c.breach(e, "stream %s was cut before anything was done: %s", e.Stream, e.Why)
				continue
			}
			c.summary.Cuts[act.Name]++
			key := act.Name + "\x00" + e.Stream
			seen[key]++
			if seen[key] > act.Cuts {
				c.breach(e, "stream %s was cut %d times by %q, which may %d times: %s", e.Stream, seen[key], act.Name, act.Cuts, e.Why)
			}
		}
	}
}

// isHasty says whether a proxy dropped a stream as it opened it; see hasty.
func isHasty(opened, cut *Event) bool {
	return opened != nil && cut.Stream == "listen" && cut.Via != "Service" && cut.At.Sub(opened.At) < hasty && !clean(cut.Why)
}

// clean says whether a stream ended as HTTP wants it to. What a server cuts ends
// like this also behind a proxy, since our streams end with their connection.
func clean(why string) bool { return why == "EOF" || why == "ended" }

// act returns the last act that had begun; nil before the first.
func (c *checker) act(at time.Time) *Act {
	var last *Act
	for i := range c.h.Acts {
		if !c.h.Acts[i].Began.After(at) {
			last = &c.h.Acts[i]
		}
	}
	return last
}

// judgeClients: each client goes on by itself after each act, and its streams are
// open at the end.
func (c *checker) judgeClients() {
	for _, name := range sorted(c.clients) {
		who := c.clients[name]
		first := who.events[0]
		for i, act := range c.h.Acts {
			until := c.h.Ended
			if i+1 < len(c.h.Acts) {
				until = c.h.Acts[i+1].Began
			}
			if !slices.ContainsFunc(who.events, func(e *Event) bool {
				return e.What == Answered && e.Why == "" && e.At.After(act.Settled) && e.At.Before(until)
			}) {
				e := *first
				e.At = act.Settled
				c.breach(&e, "no call was answered between the end of %q and what came next", act.Name)
			}
		}
		c.judgeSilence(who)
		for _, stream := range sorted(who.streams) {
			if !who.streams[stream] && !strings.HasPrefix(stream, "answer") {
				c.breach(who.last(stream), "stream %s is closed in the end", stream)
			}
		}
	}
}

func (c *checker) judgeSilence(who *client) {
	counts := c.counts(who.kind)
	last := who.events[0].At
	for _, e := range who.events {
		if e.What == Answered && e.Why == "" {
			counts.Silence = max(counts.Silence, e.At.Sub(last))
			last = e.At
		}
	}
	counts.Silence = max(counts.Silence, c.h.Ended.Sub(last))
}

func (c *checker) total() Summary {
	t := &c.summary.Total
	for _, k := range c.summary.ByKind {
		t.Clients += k.Clients
		t.Calls += k.Calls
		t.Answered += k.Answered
		t.Refused += k.Refused
		t.CutOff += k.CutOff
		t.Lost += k.Lost
		t.Duplicates += k.Duplicates
		t.Cuts += k.Cuts
		t.Hasty += k.Hasty
		t.Sessions += k.Sessions
		t.NotFound += k.NotFound
		t.Told += k.Told
		t.Silence = max(t.Silence, k.Silence)
	}
	return c.summary
}
