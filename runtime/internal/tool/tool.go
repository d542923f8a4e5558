// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tool runs tools. An Executor is one backend; it knows no sessions and
// no protocol: it gets a context, validated arguments, the principal, and a
// Sink for what it reports while it runs. Each kind of backend has a package of
// its own below this one.
package tool

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
)

// Call is one call of a tool that was authorized and whose arguments are valid.
type Call struct {
	// Name is the tool's.
	Name string
	// Arguments were validated against the tool's input schema; never modified.
	Arguments map[string]any
	// Principal is who calls.
	Principal auth.Principal
	// Trace asks for Result.Trace.
	Trace bool
}

// Progress is one step of a running call.
type Progress struct {
	// Progress grows with each step. Total is what it grows to; 0: unknown.
	Progress, Total float64
	// Message says what was done, in UTF-8; may be empty. It is valid until the sink
	// returns.
	Message []byte
}

// Log is one log message of a running call.
type Log struct {
	// Level is one of RFC 5424's names in MCP's spelling: debug, info, notice,
	// warning, error, critical, alert or emergency.
	Level string
	// Logger names the origin; may be empty.
	Logger string
	// Data is any JSON value.
	Data json.RawMessage
}

// Sink takes what a running call reports. Its methods block while the client
// does not keep up, and fail when ctx ends or nobody listens any more.
type Sink interface {
	Progress(ctx context.Context, p Progress) error
	Log(ctx context.Context, l Log) error
}

// Result is what a call ends with.
type Result struct {
	// Content is a JSON array of MCP content blocks, one line.
	Content json.RawMessage
	// Structured is a JSON object, or nil.
	Structured json.RawMessage
	// IsError tells the model that the call failed and Content says why.
	IsError bool
	// Trace is set when the call asked for it and the backend has one.
	Trace *Trace
}

// Trace tells how a backend was asked and how long it took. It never holds a
// secret.
type Trace struct {
	Method string `json:"method"`
	// URL has its query, but no user information.
	URL string `json:"url"`
	// Header are the request's; values that come from Secrets are "redacted".
	Header map[string]string `json:"header,omitempty"`
	// Status is the answer's HTTP status; 0 when none came.
	Status int `json:"status,omitempty"`
	// ConnectMillis is 0 when a connection was reused.
	ConnectMillis   float64 `json:"connectMillis"`
	FirstByteMillis float64 `json:"firstByteMillis"`
	TotalMillis     float64 `json:"totalMillis"`
	// Bytes counts the answer's body as read.
	Bytes int64 `json:"bytes"`
}

// Executor is one tool's backend. An error means that the tool failed; it
// becomes a tool error whose text is Message(err). Run is safe for concurrent
// use and returns soon after ctx ends.
type Executor interface {
	Run(ctx context.Context, call Call, sink Sink) (Result, error)
}

// Prompter is an Executor that may answer at once.
type Prompter interface {
	Executor
	// Prompt reports whether Run waits for nothing, reports nothing while it
	// runs, and does not look at its context.
	Prompt() bool
}

// IsPrompt reports whether an Executor answers at once.
func IsPrompt(e Executor) bool {
	p, ok := e.(Prompter)
	return ok && p.Prompt()
}

// Streamer is an Executor that may report much while it runs.
type Streamer interface {
	Executor
	// Streams reports whether Run passes on what its backend says while it runs.
	Streams() bool
}

// IsStreaming reports whether an Executor reports while it runs.
func IsStreaming(e Executor) bool {
	s, ok := e.(Streamer)
	return ok && s.Streams()
}

// Error is a failure with a text that is safe for clients. Err is for logs: it
// may name internal addresses, but never a secret value.
type Error struct {
	Message string
	Err     error
	// Outcome is the metric's label, one of the Outcome constants; empty means
	// OutcomeError.
	Outcome string
	// Trace is set when the call asked for it and a request was made.
	Trace *Trace
}

// The outcomes of a call, a metric's label.
const (
	// OutcomeOK is a result that is not an error.
	OutcomeOK = "ok"
	// OutcomeToolError is a result with IsError, or arguments that the backend's
	// templates cannot take.
	OutcomeToolError = "tool_error"
	// OutcomeError is a backend that failed.
	OutcomeError = "error"
	// OutcomeTimeout is a call that took longer than the tool's timeout.
	OutcomeTimeout = "timeout"
	// OutcomeCancelled is a call whose client went away or cancelled it.
	OutcomeCancelled = "cancelled"
	// OutcomeBusy is a call that found no free slot within the tool's timeout.
	OutcomeBusy = "busy"
	// OutcomeInvalidOutput is a result that breaks the tool's output schema.
	OutcomeInvalidOutput = "invalid_output"
)

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Message is the text of err that clients may see.
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "the tool failed; the server's log has the reason"
}

// Outcome is the metric's label of what Run returned.
func Outcome(result Result, err error) string {
	switch {
	case err == nil && result.IsError:
		return OutcomeToolError
	case err == nil:
		return OutcomeOK
	}
	switch e, ok := errors.AsType[*Error](err); {
	case ok && e.Outcome != "":
		return e.Outcome
	case errors.Is(err, context.Canceled):
		return OutcomeCancelled
	default:
		return OutcomeError
	}
}

// Text is a result with one block of text.
func Text(s string) Result { return Result{Content: textContent(s)} }

// Failure is a result that is an error, with one block of text.
func Failure(s string) Result { return Result{Content: textContent(s), IsError: true} }

// textContent is an array of one text block. Invalid UTF-8 is replaced: JSON
// cannot carry it.
func textContent(s string) json.RawMessage {
	out := make([]byte, 0, len(s)+len(s)/16+32)
	out = append(out, `[{"type":"text","text":`...)
	// AppendQuote fails only for invalid UTF-8, and then still appends the
	// string with U+FFFD in its place.
	out, _ = jsontext.AppendQuote(out, s)
	return append(out, `}]`...)
}

// Vars are what the templates of a backend see of a call.
func Vars(call Call) config.Vars {
	return config.Vars{
		Arguments: call.Arguments,
		Principal: config.PrincipalVars{Subject: call.Principal.Name, Roles: call.Principal.Roles},
	}
}
