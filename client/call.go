// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TraceKey is the key in _meta that asks for a trace, and under which it comes.
const TraceKey = "fairlead.dev/trace"

// maxTools bounds the tools of a list.
const maxTools = 10_000

// Call is one call of a tool.
type Call struct {
	// Name is the tool's.
	Name string
	// Arguments is anything that encodes as a JSON object; nil means {}.
	Arguments any
	// OnProgress, if set, gets the call's progress in order, before Do returns.
	// It must not block for long: the client's other events wait for it.
	OnProgress func(Progress)
	// Trace asks the server for the request that the tool made to its backend.
	// Only Fairlead servers that allow it answer with one.
	Trace bool
	// Retry sends the call again when the connection breaks before the answer
	// came, provided that the tool's annotations say that it is read-only or
	// idempotent. Without it, a call is only sent again when no byte of it left.
	Retry bool
}

// Result is a tool's answer.
type Result struct {
	*mcp.CallToolResult

	// Trace is set when it was asked for and given.
	Trace *Trace
}

// Trace is the request that an HTTP tool made to its backend.
type Trace struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	// Header holds the request's headers; the values of secret ones are redacted
	// by the server.
	Header map[string]string `json:"header,omitempty"`
	// Status is the backend's, 0 if it did not answer.
	Status int `json:"status,omitempty"`
	// ConnectMillis is 0 on a connection that was reused. All three count from
	// the start of the request.
	ConnectMillis   float64 `json:"connectMillis"`
	FirstByteMillis float64 `json:"firstByteMillis"`
	TotalMillis     float64 `json:"totalMillis"`
	// Bytes is the size of the backend's answer.
	Bytes int64 `json:"bytes"`
}

// CallTool calls a tool and waits for its answer; onProgress may be nil. See Do.
func (c *Client) CallTool(ctx context.Context, name string, args any, onProgress func(Progress)) (*Result, error) {
	return c.Do(ctx, Call{Name: name, Arguments: args, OnProgress: onProgress})
}

// Do calls a tool and waits for a connection and for the answer, at most until
// ctx ends. An answer that says that the tool failed is a Result with IsError,
// not an error. A refusal by the protocol is a *jsonrpc.Error, one by HTTP a
// *StatusError. An error that wraps ErrOutcomeUnknown leaves open whether the
// tool ran.
func (c *Client) Do(ctx context.Context, call Call) (*Result, error) {
	for attempt := 0; ; attempt++ {
		conn, err := c.connected(ctx)
		if err != nil {
			return nil, err
		}
		f := &flight{}
		result, err := c.once(context.WithValue(ctx, callKey{}, f), conn, call)
		conn.calls.Done()
		if err == nil {
			return result, nil
		}
		again := ctx.Err() == nil && broken(err) && (!f.sent.Load() || (call.Retry && c.repeatable(ctx, call.Name)))
		if !again {
			return nil, explain(err, f, call.Name)
		}
		delay := c.options.Backoff.delay(attempt, retryAfterOf(f))
		if wait(ctx, delay) != nil {
			return nil, fmt.Errorf("failed to call %q in time: %w", call.Name, explain(err, f, call.Name))
		}
	}
}

// once sends the call on one connection.
func (c *Client) once(ctx context.Context, conn *connection, call Call) (*Result, error) {
	params := &mcp.CallToolParams{Name: call.Name, Arguments: call.Arguments, Meta: mcp.Meta{}}
	if call.Trace {
		params.Meta[TraceKey] = true
	}
	if c.options.LogLevel != "" && conn.transport == Stateless {
		params.Meta[mcp.MetaKeyLogLevel] = c.options.LogLevel //nolint:staticcheck // SA1019: it is how this era asks for logs.
	}
	if call.OnProgress != nil {
		token := newToken()
		params.SetProgressToken(token)
		conn.progress.Store(token, func(p Progress) {
			p.Tool = call.Name
			call.OnProgress(p)
		})
		defer conn.progress.Delete(token)
	}
	// A call must not outlive its connection: the SDK would wait for it to end.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(conn.life, func() { cancel(ErrClosed) }) //nolint:contextcheck // life is the second of two contexts that bound the call.
	defer stop()
	result, err := conn.session.CallTool(ctx, params)
	if call.OnProgress != nil {
		conn.settle()
	}
	if err != nil && conn.life.Err() != nil && errors.Is(context.Cause(ctx), ErrClosed) {
		return nil, ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return withTrace(result), nil
}

var tokens atomic.Uint64

// newToken gives a string, since a number would come back as another type.
func newToken() string { return "p" + strconv.FormatUint(tokens.Add(1), 10) }

// withTrace takes the trace out of _meta.
func withTrace(result *mcp.CallToolResult) *Result {
	out := &Result{CallToolResult: result}
	if raw, ok := result.Meta[TraceKey]; ok {
		data, err := json.Marshal(raw)
		trace := &Trace{}
		if err == nil && json.Unmarshal(data, trace) == nil {
			out.Trace = trace
		}
	}
	return out
}

// broken says that the connection failed rather than the call: there is no
// answer of the protocol.
func broken(err error) bool {
	return answer(err) == nil && !permanent(err) && !errors.Is(err, ErrClosed)
}

// answer finds the server's own error in one of the SDK, which marks errors of
// its transports with one of the same type.
func answer(err error) *jsonrpc.Error {
	const mark = "rejected by transport"
	switch e := err.(type) { //nolint:errorlint // This walks the tree itself, since errors.As stops at the mark.
	case nil:
		return nil
	case *jsonrpc.Error:
		if e.Message == mark {
			return nil
		}
		return e
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if found := answer(inner); found != nil {
				return found
			}
		}
		return nil
	}
	return answer(errors.Unwrap(err))
}

// repeatable says that the tool's own annotations allow a second call. It waits
// for the connection, which the second call needs anyway.
func (c *Client) repeatable(ctx context.Context, name string) bool {
	tools, err := c.Tools(ctx)
	if err != nil {
		return false
	}
	for _, t := range tools {
		if t.Name == name {
			return t.Annotations != nil && (t.Annotations.ReadOnlyHint || t.Annotations.IdempotentHint)
		}
	}
	return false
}

// explain turns the SDK's error into one of this package's.
func explain(err error, f *flight, name string) error {
	refusal := f.refusal.Load()
	switch found := answer(err); {
	case errors.Is(err, ErrClosed) && f.sent.Load():
		return fmt.Errorf("%w (%w)", ErrOutcomeUnknown, err)
	case found != nil && (refusal == nil || !refusal.Temporary()):
		return found
	case errors.Is(err, mcp.ErrSessionMissing):
		return fmt.Errorf("the server had ended the session, and did not run the call: %w", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("failed to call %q: %w", name, err)
	case refusal != nil && refusal.Status != http.StatusBadGateway && refusal.Status != http.StatusGatewayTimeout:
		return refusal
	case refusal != nil:
		return fmt.Errorf("%w (%w)", ErrOutcomeUnknown, refusal)
	case f.sent.Load():
		return fmt.Errorf("%w (%w)", ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("failed to call %q: %w", name, err)
}

func retryAfterOf(f *flight) (d time.Duration) {
	if refusal := f.refusal.Load(); refusal != nil {
		return refusal.RetryAfter
	}
	return 0
}

// Tools lists all tools that the caller may see, every page of them. Listing
// changes nothing, so it is repeated when the connection breaks, until ctx ends.
func (c *Client) Tools(ctx context.Context) ([]*mcp.Tool, error) {
	for attempt := 0; ; attempt++ {
		conn, err := c.connected(ctx)
		if err != nil {
			return nil, err
		}
		tools, err := conn.tools(ctx)
		conn.calls.Done()
		if err == nil || ctx.Err() != nil || !broken(err) {
			return tools, err
		}
		if wait(ctx, c.options.Backoff.delay(attempt, after(err))) != nil {
			return nil, err
		}
	}
}

// tools lists all pages, and once more from the start when the catalog changed between pages,
// which makes the cursor invalid.
func (conn *connection) tools(ctx context.Context) ([]*mcp.Tool, error) {
	var err error
	for range 3 {
		var (
			tools  []*mcp.Tool
			cursor string
		)
		for {
			var page *mcp.ListToolsResult
			page, err = conn.session.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
			if err != nil {
				break
			}
			tools = append(tools, page.Tools...)
			if page.NextCursor == "" {
				return tools, nil
			}
			if len(tools) > maxTools || page.NextCursor == cursor {
				return nil, fmt.Errorf("failed to list tools: the server's pages do not end (%d tools so far)", len(tools))
			}
			cursor = page.NextCursor
		}
		found := answer(err)
		if cursor == "" || found == nil || found.Code != jsonrpc.CodeInvalidParams {
			break
		}
	}
	refusal := conn.link.refusal.Load()
	if refusal != nil && answer(err) == nil && !errors.Is(err, mcp.ErrSessionMissing) {
		err = refusal
	}
	return nil, fmt.Errorf("failed to list tools: %w", err)
}
