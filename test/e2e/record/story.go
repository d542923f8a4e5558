// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// before and after bound what of a client's record belongs to a breach's story.
	before = 12 * time.Second
	after  = 3 * time.Second
	// maxStory bounds a story, in lines.
	maxStory = 16
)

// Breach is a promise that was not kept.
type Breach struct {
	// Text is one line: when, who and what.
	Text string
	// Story is what led there, at most 16 short lines: what the client saw, where
	// its call ran, and what was done to the server, with times in seconds from the
	// beginning of the act before it.
	Story []string

	event *Event // what it is about
}

// String is the one line.
func (b Breach) String() string { return b.Text }

func (c *checker) breach(e *Event, format string, args ...any) {
	text := fmt.Sprintf("%s %s (%s, %s): ", e.At.Format("15:04:05.000"), e.Client, e.Kind, e.Via) + fmt.Sprintf(format, args...)
	c.breaches = append(c.breaches, Breach{Text: text, event: e})
}

// line is one line of a story.
type line struct {
	at   time.Time
	text string
}

// tellAround tells what happened around an event.
func (c *checker) tellAround(e *Event) []string {
	var lines []line
	begin, end := e.At.Add(-before), e.At.Add(after)
	if known := c.calls[e.Call]; known != nil {
		for _, r := range known.runs {
			lines = append(lines, line{r.At, "ran on " + tell(c.life(r.From, r.At))})
			end = later(end, r.At.Add(after))
		}
	}
	within := func(at time.Time) bool { return !at.Before(begin) && !at.After(end) }
	for _, other := range c.clients[e.Client].events {
		same := e.Call != "" && other.Call == e.Call
		if same || within(other.At) && other.notable() {
			lines = append(lines, line{other.At, other.short()})
		}
	}
	for _, l := range c.deeds() {
		if within(l.at) {
			lines = append(lines, l)
		}
	}
	return c.render(lines, e.At)
}

// deeds tells what was done to the server and what became of its pods.
func (c *checker) deeds() []line {
	var lines []line
	for _, l := range c.h.Lives {
		lines = append(lines, line{l.Began, l.Pod + " began at " + l.IP}, line{l.Left, l.Pod + " is told to leave"}, line{l.Ended, "end of " + tell(&l)})
	}
	for _, a := range c.h.Acts {
		lines = append(lines, line{a.Began, "ACT " + a.Name}, line{a.Settled, "SETTLED " + a.Name})
	}
	return lines
}

// render orders lines and keeps those next to a moment.
func (c *checker) render(lines []line, center time.Time) []string {
	if len(lines) > maxStory-1 {
		slices.SortStableFunc(lines, func(a, b line) int {
			return cmp.Compare(a.at.Sub(center).Abs(), b.at.Sub(center).Abs())
		})
		lines = lines[:maxStory-1]
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	zero, name := center, "the breach"
	if act := c.act(center); act != nil {
		zero, name = act.Began, act.Name
	}
	story := []string{fmt.Sprintf("seconds from %q (%s):", name, zero.Format("15:04:05.000"))}
	for _, l := range lines {
		story = append(story, fmt.Sprintf("%+8.3f %s", l.at.Sub(zero).Seconds(), l.text))
	}
	return story
}

// notable says whether an event is more than the usual course of a call.
func (e *Event) notable() bool {
	switch e.What {
	case Call:
		return false
	case Answered:
		return e.Why != ""
	case Status:
		return e.Status != http.StatusOK && e.Status != http.StatusAccepted || e.Method == http.MethodGet
	default:
		return true
	}
}

// short is an event in a few words, without whose it is.
func (e *Event) short() string {
	words := []string{string(e.What)}
	add := func(format string, value any, given bool) {
		if given {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	add("%s", e.Method, e.Method != "")
	add("%d", e.Status, e.Status != 0)
	add("%s", e.Stream, e.Stream != "")
	add("%s", e.Call, e.Call != "")
	add("in …%s", e.Session[max(0, len(e.Session)-6):], e.Session != "")
	add("(%.120s)", e.Why, e.Why != "")
	return strings.Join(words, " ")
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Report tells breaches in as few lines as they can be understood by: all in one
// line each, up to lines, and the stories of the first, up to stories.
func Report(breaches []Breach, lines, stories int) string {
	var b strings.Builder
	for i, breach := range breaches {
		if i == lines {
			fmt.Fprintf(&b, "and %d more\n", len(breaches)-i)
			break
		}
		fmt.Fprintln(&b, breach.Text)
	}
	for _, breach := range breaches[:min(stories, len(breaches))] {
		fmt.Fprintf(&b, "-- %s\n%s\n", breach.Text, strings.Join(breach.Story, "\n"))
	}
	return b.String()
}
