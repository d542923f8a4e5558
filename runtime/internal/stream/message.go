// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stream is one event stream to one client: the encoder, the bounded
// outbox between senders and the writer, deadlines and heartbeats. It knows
// server-sent events (WHATWG HTML, section 9.2) and nothing of MCP.
package stream

import (
	"context"
	"fmt"
	"time"
)

// Message is one event that waits to be written.
type Message struct {
	// Data becomes the data lines of the event. It is not copied: the sender
	// must not change it afterwards.
	Data []byte
	// Event is the event's name; empty leaves the line out, which clients read
	// as "message".
	Event string
	// ID is the event's id, which a client repeats as Last-Event-ID when it
	// connects again; empty leaves the line out. A Log gives ids by itself.
	ID string
	// Retry asks the client to wait so long before it connects again, in whole
	// milliseconds; zero leaves the line out.
	Retry time.Duration
	// Kind names the sort of message in metrics, such as "response". It is not
	// written.
	Kind string
	// Group holds messages together that are never reordered, such as those of
	// one call.
	Group uint64
	// Urgent messages overtake those of other groups, never those of their own.
	Urgent bool
	// Fold, if set, lets a newer message of the same Group and Fold replace
	// this one while the outbox is crowded.
	Fold string
}

// Log keeps what is written to a stream, so that a client that lost its
// connection can go on where it was. Its methods are called one at a time, in
// the order in which the messages leave, and must not wait.
type Log interface {
	// Keep takes a message that is about to be written, and appends the id under
	// which it is kept to id; none for none. It must not keep m itself.
	Keep(id []byte, m *Message) []byte
}

// Salvager takes what a stream was sent and could not write. It is called with the
// outbox locked: it must not wait, nor call the outbox.
type Salvager interface {
	// Lost takes a message that is dropped unwritten.
	Lost(m Message)
	// Crowded says that a sender has to wait, since the client does not keep up.
	Crowded()
}

// Witness is a Salvager of a stream without a Log: it gets what the writer had taken
// and could not write, too.
type Witness interface {
	Salvager
	// Written says that what Options.Render gave last is written. It is called with the
	// outbox locked, as Lost is.
	Written()
}

// overhead is what a message costs in an outbox beside its data, framing what it
// costs on the wire, both in bytes and roughly.
const (
	overhead = 160
	framing  = 40
)

func (m *Message) size() int { return len(m.Data) + len(m.Event) + overhead }

// replaces reports whether m may take the place of an older message.
func (m *Message) replaces(older *Message) bool {
	return m.Fold != "" && m.Fold == older.Fold && m.Group == older.Group
}

func (m *Message) encoded() int { return len(m.Data) + len(m.Event) + framing }

// CloseReason says why a stream ended. It is a label of logs and metrics.
type CloseReason string

// The reasons.
const (
	// Completed: everything that the stream was opened for was sent.
	Completed CloseReason = "completed"
	// ClientGone: the client hung up.
	ClientGone CloseReason = "client_gone"
	// WriteTimeout: the client did not read for the length of a write deadline.
	WriteTimeout CloseReason = "write_timeout"
	// WriteFailed: the connection broke while writing.
	WriteFailed CloseReason = "write_failed"
	// Drain: the replica takes leave; see Drain in runtime/config.
	Drain CloseReason = "drain"
	// SessionEnded: the client ended its session.
	SessionEnded CloseReason = "session_ended"
	// Expired: the session reached its idle timeout or its age.
	Expired CloseReason = "expired"
	// Evicted: a new session took the place of this idle one.
	Evicted CloseReason = "evicted"
	// Replaced: the client opened a newer stream for the same session.
	Replaced CloseReason = "replaced"
	// Revoked: the caller's credential is not valid any more.
	Revoked CloseReason = "revoked"
	// Shutdown: the process ends at once.
	Shutdown CloseReason = "shutdown"
)

// broken reports that nothing more can reach the client, so that what is still
// queued is dropped rather than written.
func (c CloseReason) broken() bool {
	return c == ClientGone || c == WriteTimeout || c == WriteFailed
}

// ClosedError is what Send returns once the stream is closed.
type ClosedError struct {
	Reason CloseReason
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("the stream is closed: %s", e.Reason)
}

// Stream is the sender's side of an event stream. All methods may be called
// from any goroutine.
type Stream interface {
	// Send queues m. It waits while the outbox is full and returns ctx's error,
	// or a *ClosedError once the stream is closed.
	Send(ctx context.Context, m Message) error
	// Mark sets dirty bits, which cost no space and are rendered as messages
	// only when the writer is ready. It never waits.
	Mark(bits uint32)
	// Close ends the stream after what is queued, or at once if the reason says
	// that the client cannot be reached. Only the first call has an effect.
	Close(reason CloseReason)
	// Done is closed by the first Close.
	Done() <-chan struct{}
	// Reason is the reason of the first Close, else empty.
	Reason() CloseReason
}

// Observer learns what streams do. Its methods are called from many goroutines
// and must not wait.
type Observer interface {
	// StreamOpened is called when the head has been sent.
	StreamOpened(transport string)
	// StreamClosed is called when nothing more will be written.
	StreamClosed(transport string, reason CloseReason, lived time.Duration)
	// MessageWritten is called for each message after it was handed to the
	// connection, queued after its Send.
	MessageWritten(kind string, queued time.Duration)
}

type silent struct{}

func (silent) StreamOpened(string)                             {}
func (silent) StreamClosed(string, CloseReason, time.Duration) {}
func (silent) MessageWritten(string, time.Duration)            {}
