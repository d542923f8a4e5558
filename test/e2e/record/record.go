// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package record is the memory of a test of a real cluster: what each client
// sent and saw, what was done to the server meanwhile, and what a backend was
// asked. Check judges such a history.
package record

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// What is a kind of event.
type What string

const (
	// Session is a session that a client opened, or, with an era without
	// sessions, nothing.
	Session What = "session"
	// Call is a call that is sent for the first time.
	Call What = "call"
	// Refused is an attempt of a call that was turned away before it was
	// accepted, or for which nothing could be sent. It is tried again.
	Refused What = "refused"
	// Answered is one answer to a call, as it came in. Why holds an error.
	Answered What = "answered"
	// Lost is a call whose answer cannot come any more.
	Lost What = "lost"
	// Open is the beginning of a stream.
	Open What = "open"
	// Cut is an end of a stream that the client did not want.
	Cut What = "cut"
	// Status is the head of an HTTP answer.
	Status What = "status"
	// Told is the server's word that a session must begin anew.
	Told What = "told"
)

// Event is one line of the record.
type Event struct {
	At time.Time `json:"at"`
	// Client is who saw it; Kind is what it is, such as go-sse, and Via how it
	// reaches the server.
	Client string `json:"client"`
	Kind   string `json:"kind"`
	Via    string `json:"via"`
	What   What   `json:"what"`
	// Call is the id of a call, which no other call of the test has.
	Call string `json:"call,omitempty"`
	// Stream names a stream of the client; one that is opened again keeps it.
	Stream string `json:"stream,omitempty"`
	// Session is the end of a session's id.
	Session string `json:"session,omitempty"`
	Method  string `json:"method,omitempty"`
	Status  int    `json:"status,omitempty"`
	Why     string `json:"why,omitempty"`
}

// sessionLength is how much of the end of an id is kept: it is sealed, so that
// no two ends are alike.
const sessionLength = 16

// ShortSession returns the end of a session's id, as events hold it.
func ShortSession(id string) string { return id[max(0, len(id)-sessionLength):] }

// Log takes events from everywhere at once. The zero Log is ready.
type Log struct {
	mu      sync.Mutex // guards events and changed
	events  []Event
	changed chan struct{} // closed and replaced by the next event; nil if nobody waits
}

// Add notes an event, now unless it says when.
func (l *Log) Add(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// AwaitAnswers returns when each of so many clients had so many good answers after the
// first events, which are left out, or with an error when ctx ends.
func (l *Log) AwaitAnswers(ctx context.Context, first, clients, answers int) error {
	counts, done := map[string]int{}, 0
	for {
		l.mu.Lock()
		news := l.events[first:]
		first = len(l.events)
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		for _, e := range news {
			if e.What != Answered || e.Why != "" {
				continue
			}
			counts[e.Client]++
			if counts[e.Client] == answers {
				done++
			}
		}
		if done >= clients {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d clients had %d answers: %v: %w", done, clients, answers, counts, ctx.Err())
		}
	}
}

// Events returns what was noted so far.
func (l *Log) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events...)
}

// maxLine bounds a line of JSON, in bytes.
const maxLine = 1 << 20

// Follow takes events as lines of JSON, until the end, and passes every other
// line to other.
func (l *Log) Follow(r io.Reader, other func(line string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.What == "" {
			other(lines.Text())
			continue
		}
		l.Add(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("failed to read a client's record: %w", err)
	}
	return nil
}

// Run is one run of a call at the backend.
type Run struct {
	Call string `json:"call"`
	// From is the address of the pod that asked.
	From string    `json:"from"`
	At   time.Time `json:"at"`
}

// Life is one run of a pod's container.
type Life struct {
	Pod string `json:"pod"`
	IP  string `json:"ip"`
	// Began and Ended are its first and last moment; zero while it lives. They
	// are as exact as a second. Of a killed one, Ended is when it is known to be dead.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Left is when it was told to leave; zero if it was not.
	Left time.Time `json:"left"`
	// Killed is when it was about to be killed, without time to leave: it may be dead
	// from here on, and may answer up to Ended. Zero if it was not.
	Killed time.Time `json:"killed"`
}

// wasKilled reports that it had no time to leave.
func (l *Life) wasKilled() bool { return !l.Killed.IsZero() }

// Act is one thing that was done to the server.
type Act struct {
	Name string `json:"name"`
	// Began is when it was done, and Settled when all was as it should be again.
	Began   time.Time `json:"began"`
	Settled time.Time `json:"settled"`
	// Cuts is how often it may cut one stream.
	Cuts int `json:"cuts"`
}

// History is all that there is to judge.
type History struct {
	Acts   []Act   `json:"acts"`
	Lives  []Life  `json:"lives"`
	Runs   []Run   `json:"runs"`
	Events []Event `json:"events"`
	// Ended is when the clients were told to stop.
	Ended time.Time `json:"ended"`
}

// Write writes the history as lines of JSON, for people.
func (h *History) Write(w io.Writer) error {
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	for _, list := range []func(func(any) error) error{
		each(h.Acts), each(h.Lives), each(h.Runs), each(h.Events),
	} {
		if err := list(lines.Encode); err != nil {
			return fmt.Errorf("failed to encode the record: %w", err)
		}
	}
	_, err := out.WriteTo(w)
	return err
}

func each[T any](list []T) func(func(any) error) error {
	return func(do func(any) error) error {
		for _, item := range list {
			if err := do(item); err != nil {
				return err
			}
		}
		return nil
	}
}
