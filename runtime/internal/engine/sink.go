// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import "context"

// Message is one message to the client.
type Message struct {
	// Data is one line of JSON without a line break.
	Data []byte
	// Response marks the answer that ends its call.
	Response bool
	// Group is the call that the message belongs to, unique in the process and
	// never zero: order within a group must be kept.
	Group uint64
	// Fold, if set, is the progress token in JSON: under pressure a newer message
	// of the group with the same Fold may replace this one.
	Fold string
}

// Sink is whoever owns the stream that a call is answered on.
type Sink interface {
	// Send hands a message over. It blocks while the outbox is full, and fails
	// once the stream is gone or ctx ended. The sink owns Data afterwards.
	Send(ctx context.Context, m Message) error
}
