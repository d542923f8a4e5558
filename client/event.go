// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"sync"
	"time"
)

// Event is something that a client noticed: one of Connected, Disconnected,
// ToolsChanged, Log, Progress, Dropped and Closed.
type Event interface {
	// When is the time at which the client noticed.
	When() time.Time
}

// At is the time of an event.
type At struct{ Time time.Time }

// When is the time at which the client noticed.
func (a At) When() time.Time { return a.Time }

func now() At { return At{Time: time.Now()} }

// Connected fires when the server answered and its stream, if it has one, is
// open.
type Connected struct {
	At
	// Transport is what was agreed on, never Auto.
	Transport Transport
	// ProtocolVersion is MCP's, such as 2025-11-25.
	ProtocolVersion string
	// Server and ServerVersion are how the server names itself.
	Server, ServerVersion string
	// Resumed says that the session of before goes on: its stream was cut and
	// continued after the last event that arrived. False for a new session.
	Resumed bool
}

// Disconnected fires when the stream or the session is lost and when an attempt
// to connect failed.
type Disconnected struct {
	At
	// Err is the reason.
	Err error
	// RetryIn is when the client tries again.
	RetryIn time.Duration
}

// ToolsChanged fires on notifications/tools/list_changed: list again.
type ToolsChanged struct{ At }

// Log is a message of the server's log.
type Log struct {
	At
	// Level is one of MCP's eight, debug to emergency.
	Level string
	// Logger is the part of the server that speaks; it may be empty.
	Logger string
	// Data is any JSON value, usually a string.
	Data json.RawMessage
}

// Progress is how far a call has come.
type Progress struct {
	At
	// Tool is the tool that was called.
	Tool string
	// Progress only grows. Total is 0 while unknown.
	Progress, Total float64
	// Message is for people; it may be empty.
	Message string
}

// Dropped says that the reader of the events was too slow.
type Dropped struct {
	At
	// Count is how many events are missing before this one.
	Count int
}

// Closed is the last event.
type Closed struct {
	At
	// Err is nil after Close and when the context of Connect ended; otherwise it
	// is why the client gave up.
	Err error
}

// queue holds the events that nobody read yet: bounded, newest kept.
type queue struct {
	out chan Event

	mu      sync.Mutex
	dropped int  // events that were pushed out since the last Dropped
	closed  bool // set by close, after which out is closed
}

func newQueue(size int) *queue {
	// One slot more for the Dropped event itself.
	return &queue{out: make(chan Event, size+1)}
}

// put never blocks: streams are read no slower because nobody looks at events.
func (q *queue) put(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	for len(q.out) >= cap(q.out)-1 {
		select {
		case old := <-q.out:
			q.dropped++
			if d, ok := old.(Dropped); ok {
				q.dropped += d.Count - 1
			}
		default:
		}
	}
	if q.dropped > 0 && len(q.out) < cap(q.out)-1 {
		q.out <- Dropped{At: now(), Count: q.dropped}
		q.dropped = 0
	}
	q.out <- e
}

// close adds a last event and ends the channel.
func (q *queue) close(last Event) {
	q.put(last)
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.out)
	}
}
