// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

// Hints are what a stateless request's headers claim about its body. They are
// checked against it.
type Hints struct {
	// Method and Name are the Mcp-Method and Mcp-Name headers.
	Method, Name string
	// Params are the Mcp-Param-* headers, by the part after the prefix in lower
	// case. Nil if there are none.
	Params map[string]string
}

// Input is one message and what the transport knows about it.
type Input struct {
	// Message is one JSON value. The engine keeps no part of it after Run or
	// Release.
	Message []byte
	Era     Era
	// Version is the MCP-Protocol-Version header, empty if there is none.
	Version string
	// Hints are the headers of a stateless request.
	Hints     Hints
	Principal auth.Principal
	// Session is nil in the stateless era, and in the Streamable one for a
	// request that names no session, which only initialize and ping may.
	Session *Session
	// Batch marks one of several messages that came as an array.
	Batch bool
}

// Accept decodes a message once and strictly, authorizes it, validates it and
// reserves what it needs. Every error is an *Error, and nothing of the message
// took effect then. After an accepted message exactly one of Call.Run and
// Call.Release must follow.
func (e *Engine) Accept(ctx context.Context, in Input) (*Call, error) {
	return nil, &Error{Kind: KindInternal}
}

// Split takes a body apart into its messages: a batch of 2025-03-26, or the body
// itself. A batch must not be empty and not hold more than maxMessages. Every
// error is an *Error.
func Split(body []byte, maxMessages int) (messages [][]byte, batch bool, err error) {
	return [][]byte{body}, false, nil
}
