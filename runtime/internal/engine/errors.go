// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind says why a message was refused. A transport maps it, with the era, to a
// status; Error.Code is the same reason in JSON-RPC.
type Kind uint8

const (
	// KindParse means: the body is not JSON (-32700).
	KindParse Kind = iota + 1
	// KindInvalidRequest means: JSON, but not a message of MCP, or one that is out of
	// order, such as a second initialize (-32600).
	KindInvalidRequest
	// KindMethodNotFound means: the era has no such method (-32601).
	KindMethodNotFound
	// KindInvalidParams means: the method's params are malformed, or name a tool or a
	// cursor that does not exist for the caller (-32602).
	KindInvalidParams
	// KindInternal means: the engine is at fault (-32603).
	KindInternal
	// KindNotInitialized means: a legacy request before initialize (-32600).
	KindNotInitialized
	// KindHeaderMismatch means: a header contradicts the body or is missing (-32020,
	// stateless only).
	KindHeaderMismatch
	// KindUnsupportedVersion means: the revision is not spoken here (-32022 in the
	// stateless era; -32600 in a legacy one, whose refusals must not look
	// modern).
	KindUnsupportedVersion
	// KindForbidden means: the caller is known and may not do this (403; -32600).
	KindForbidden
	// KindTooMany means: the caller has too many calls in flight (429, RetryAfter).
	KindTooMany
	// KindOverloaded means: the replica has too many calls in flight (503, RetryAfter).
	KindOverloaded
)

// String gives the kind's name in metrics, logs and refusal bodies, such as
// "invalid_params".
func (k Kind) String() string {
	switch k {
	case KindParse:
		return "parse_error"
	case KindInvalidRequest:
		return "invalid_request"
	case KindMethodNotFound:
		return "method_not_found"
	case KindInvalidParams:
		return "invalid_params"
	case KindNotInitialized:
		return "not_initialized"
	case KindHeaderMismatch:
		return "header_mismatch"
	case KindUnsupportedVersion:
		return "unsupported_version"
	case KindForbidden:
		return "forbidden"
	case KindTooMany:
		return "too_many_calls"
	case KindOverloaded:
		return "overloaded"
	case KindInternal:
		return "internal_error"
	default:
		return "unknown"
	}
}

// code gives the kind's code; unsupported versions differ by era.
func (k Kind) code() int {
	switch k {
	case KindParse:
		return codeParse
	case KindInvalidRequest, KindNotInitialized, KindUnsupportedVersion, KindForbidden:
		return codeInvalidRequest
	case KindMethodNotFound:
		return codeMethodNotFound
	case KindInvalidParams:
		return codeInvalidParams
	case KindHeaderMismatch:
		return codeHeaderMismatch
	case KindTooMany, KindOverloaded:
		return codeBusy
	default:
		return codeInternal
	}
}

// The codes of JSON-RPC 2.0 and of MCP 2026-07-28 (schema.ts).
const (
	codeParse              = -32700
	codeInvalidRequest     = -32600
	codeMethodNotFound     = -32601
	codeInvalidParams      = -32602
	codeInternal           = -32603
	codeHeaderMismatch     = -32020
	codeUnsupportedVersion = -32022
	// codeBusy stands for 429 and 503. It lies outside of the range that JSON-RPC
	// reserves, as 2026-07-28 basic/index asks of codes that it does not define.
	codeBusy = -31000
)

// Error is a message that was refused. Nothing of it ran.
type Error struct {
	Kind    Kind
	Code    int
	Message string
	// Data is the error's data member, nil if it has none.
	Data json.RawMessage
	// ID is the request's id byte for byte; nil for a notification, or if it
	// could not be read.
	ID json.RawMessage
	// RetryAfter is when to try again, for KindTooMany and KindOverloaded.
	RetryAfter time.Duration
	// Reason is the limit that was met, for these two: one of package limit's.
	Reason string
	// modern leaves an unknown id out, where JSON-RPC writes null.
	modern bool
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// JSON encodes the error as a JSON-RPC error response in one line. Without an id
// it carries null, except in the stateless era, whose schema has none then.
func (e *Error) JSON() []byte {
	b := make([]byte, 0, 96+len(e.ID)+len(e.Message)+len(e.Data))
	b = append(b, `{"jsonrpc":"2.0",`...)
	switch {
	case e.ID != nil:
		b = append(append(append(b, `"id":`...), e.ID...), ',')
	case !e.modern:
		b = append(b, `"id":null,`...)
	}
	b = append(b, `"error":{"code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, e.Message)
	if e.Data != nil {
		b = append(append(b, `,"data":`...), e.Data...)
	}
	return append(b, "}}"...)
}

// appendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func appendString[Text ~[]byte | ~string](b []byte, s Text) []byte {
	// The only error is invalid UTF-8, which was replaced by then.
	b, _ = jsontext.AppendQuote(b, s)
	return b
}
