// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
)

// Call is a message that was accepted. Exactly one of Run and Release must
// follow; further calls of either do nothing.
type Call struct {
	method string
}

// Method is the JSON-RPC method; empty for a response of the client.
func (c *Call) Method() string { return c.method }

// IsRequest reports whether the client expects an answer. Otherwise the message
// was a notification or a response, has taken effect, and Run does nothing.
func (c *Call) IsRequest() bool { return false }

// ID is the request's id byte for byte, nil unless IsRequest.
func (c *Call) ID() json.RawMessage { return nil }

// Tool is the name of the tool that is called, empty for other methods.
func (c *Call) Tool() string { return "" }

// Session is the session that the call belongs to: the one that an accepted
// initialize just made, else that of the Input.
func (c *Call) Session() *Session { return nil }

// Subscription is what subscriptions/listen asked for, nil for other methods.
func (c *Call) Subscription() *Subscription { return nil }

// Run sends the call's progress, logs and response to sink and then releases its
// reservation. It returns when the response was handed over, when ctx ended, or
// when the client cancelled; in the last two cases without a response. Ending
// ctx cancels the call. A subscription's Run sends its acknowledgement and then
// waits for Subscription.End or ctx.
func (c *Call) Run(ctx context.Context, sink Sink) {}

// Release gives the reservation back without running.
func (c *Call) Release() {}
