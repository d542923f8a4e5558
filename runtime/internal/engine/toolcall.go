// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// OutcomePanic is a call whose executor panicked.
const OutcomePanic = "panic"

// toolParams are the params of tools/call, still raw.
type toolParams struct {
	name      string
	arguments []byte
	token     []byte
	trace     bool
}

// maxUnreserved bounds in bytes the arguments that are decoded without a place
// among the running calls.
const maxUnreserved = 4 << 10

// acceptToolCall finds the tool, authorizes, reserves and validates, in this
// order: decoded arguments take many times the memory of their text.
func (e *Engine) acceptToolCall(c *Call, in *Input, params []byte) *Error {
	p, err := readToolParams(c.id, params)
	if err != nil {
		return err
	}
	if c.era == EraStateless {
		if err := checkName(c.id, in.Hints.Name, p.name); err != nil {
			return err
		}
	}
	var full *Error
	// A swap may close an executor between finding it and keeping it open; the
	// revision after it has the tool or not. Swaps are rare: a second look is
	// enough, more would mean that something is broken.
	for range 3 {
		st := e.state.Load()
		t, state := st.catalog.Tool(p.name)
		// Who may not see a tool learns no more than that it is unknown.
		if state == catalog.Unknown || !t.Visible(c.principal, st.policy) {
			return refuse(KindInvalidParams, c.id, st.unknown(p.name, c.principal))
		}
		c.tool, c.state = t, st
		if c.arguments == nil {
			if full, err = e.admit(c, p.arguments); err != nil {
				return err
			}
		}
		if c.era == EraStateless {
			if err := checkParams(c.id, in.Hints.Params, t.HeaderParams, c.arguments); err != nil {
				return err
			}
		}
		if e.answerItself(c, state) {
			c.giveBack()
			return nil
		}
		if full != nil {
			return full
		}
		var ok bool
		if c.executor, c.releaseTool, ok = t.Acquire(); ok {
			c.progressToken = p.token
			c.prompt = tool.IsPrompt(c.executor)
			c.trace = p.trace && st.trace
			return nil
		}
	}
	return refuse(KindInternal, c.id, "internal error: the tool is being replaced, try again")
}

// admit reserves a place and decodes the arguments. What the engine answers
// itself needs no place, so small arguments are decoded without one: full is
// then the refusal for a call that must run.
func (e *Engine) admit(c *Call, arguments []byte) (full, err *Error) {
	full = e.reserve(c)
	if full != nil && len(arguments) > maxUnreserved {
		return full, full
	}
	c.arguments, err = decodeArguments(c.id, arguments)
	return full, err
}

// answerItself answers calls that must not reach the tool: of one that is
// switched off, and with arguments that break the schema. Both are results, so
// that the model learns of them (SEP-1303).
func (e *Engine) answerItself(c *Call, state catalog.State) bool {
	var text, outcome string
	if state == catalog.Disabled {
		text, outcome = fmt.Sprintf("tool %q is disabled: the operator of this server has switched it off; list the tools again to see which there are", c.tool.Name), OutcomeDisabled
	} else if err := c.tool.Input.Validate(c.arguments); err != nil {
		text, outcome = fmt.Sprintf("invalid arguments for tool %q: %s", c.tool.Name, err), OutcomeInvalidArguments
	} else {
		return false
	}
	c.answer = c.encode(tool.Failure(text))
	e.observeCall(c.tool.Name, outcome, 0)
	return true
}

func (e *Engine) reserve(c *Call) *Error {
	if e.limits == nil {
		return nil
	}
	release, err := e.limits.Call(c.principal.Key)
	if err == nil {
		c.releaseReserve = release
		return nil
	}
	kind := KindOverloaded
	exceeded, ok := errors.AsType[*limit.Exceeded](err)
	if !ok {
		return refuse(kind, c.id, err.Error())
	}
	if exceeded.Reason == limit.ReasonPrincipalCalls {
		kind = KindTooMany
	}
	refused := refuse(kind, c.id, exceeded.Error())
	refused.RetryAfter, refused.Reason = exceeded.RetryAfter, exceeded.Reason
	return refused
}

// giveBack gives the place back before the call ends.
func (c *Call) giveBack() {
	if c.releaseReserve != nil {
		c.releaseReserve()
		c.releaseReserve = nil
	}
}

func readToolParams(id, params []byte) (toolParams, *Error) {
	var p toolParams
	name, ok := optional(params, "name")
	if !ok || !isString(name) {
		return p, refuse(KindInvalidParams, id, "invalid params: name must be a string")
	}
	p.name = unquote(name)
	if p.arguments, ok = optional(params, "arguments"); ok && !isObject(p.arguments) {
		return p, refuse(KindInvalidParams, id, "invalid params: arguments must be an object")
	}
	if !ok {
		p.arguments = nil
	}
	meta, ok := optional(params, "_meta")
	if !ok {
		return p, nil
	}
	if !isObject(meta) {
		return p, refuse(KindInvalidParams, id, "invalid params: _meta must be an object")
	}
	if token, ok := optional(meta, metaProgressToken); ok {
		if !isString(token) && !isNumber(token) || len(token) > maxIDLength {
			return p, refuse(KindInvalidParams, id, "invalid params: progressToken must be a string or a number of at most 256 bytes")
		}
		p.token = token
	}
	trace, _ := member(meta, metaTrace)
	p.trace = string(trace) == "true"
	return p, nil
}

func decodeArguments(id, raw []byte) (map[string]any, *Error) {
	if raw == nil {
		return map[string]any{}, nil
	}
	v, err := config.DecodeValue(raw)
	if errors.Is(err, config.ErrTooManyValues) {
		return nil, refuse(KindInvalidParams, id, "invalid params: arguments: "+config.ErrTooManyValues.Error())
	}
	arguments, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, refuse(KindInvalidParams, id, "invalid params: arguments hold a value that is out of range")
	}
	return arguments, nil
}

// runTool runs the executor and answers with what it returns.
func (c *Call) runTool(ctx context.Context, sink Sink) {
	running := ctx
	if !c.prompt {
		var cancel context.CancelCauseFunc
		running, cancel = c.cancellable(ctx)
		defer cancel(nil)
	}
	start := time.Now()
	result, err := c.execute(running, sink)
	// Nothing of the call may follow its response.
	c.notes.close(ctx)
	outcome := tool.Outcome(result, err)
	if c.outcome.Load() == cancelled || ctx.Err() != nil {
		c.engine.observeCall(c.tool.Name, tool.OutcomeCancelled, time.Since(start))
		return
	}
	if err != nil {
		c.logFailure(ctx, outcome, err)
		result = failure(err)
	}
	c.respond(ctx, sink, c.encode(result))
	c.engine.observeCall(c.tool.Name, outcome, time.Since(start))
}

// execute contains a panic of the executor: one tool's fault must not end the
// streams of all clients.
func (c *Call) execute(ctx context.Context, sink Sink) (result tool.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.engine.logger.ErrorContext(ctx, "Tool panicked", "tool", c.tool.Name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			result, err = tool.Result{}, &tool.Error{Message: "internal error", Outcome: OutcomePanic}
		}
	}()
	c.sink = toolSink{call: c, sink: sink}
	return c.executor.Run(ctx, tool.Call{
		Name: c.tool.Name, Arguments: c.arguments, Principal: c.principal, Trace: c.trace,
	}, &c.sink)
}

func (c *Call) logFailure(ctx context.Context, outcome string, err error) {
	level := slog.LevelDebug
	if outcome == tool.OutcomeError || outcome == tool.OutcomeInvalidOutput {
		level = slog.LevelWarn
	}
	c.engine.logger.Log(ctx, level, "Tool failed", "tool", c.tool.Name, "outcome", outcome, "error", err)
}

// failure is the result that tells the model of a failed tool.
func failure(err error) tool.Result {
	result := tool.Failure(tool.Message(err))
	if known, ok := errors.AsType[*tool.Error](err); ok {
		result.Trace = known.Trace
	}
	return result
}

// encode makes the response that carries a result, with the members that the
// client's revision knows.
func (c *Call) encode(r tool.Result) []byte {
	size := 96 + len(c.id) + len(r.Content) + len(r.Structured)
	if c.era == EraStateless {
		size += len(c.state.head)
	}
	b := make([]byte, 0, size)
	b = append(append(append(b, `{"jsonrpc":"2.0","id":`...), c.id...), `,"result":{`...)
	b = c.appendMeta(b, r.Trace)
	b = append(b, `"content":`...)
	if r.Content == nil {
		b = append(b, "[]"...)
	} else {
		b = appendLine(b, r.Content)
	}
	if r.Structured != nil && c.version >= Version20250618 {
		b = appendLine(append(b, `,"structuredContent":`...), r.Structured)
	}
	if r.IsError {
		b = append(b, `,"isError":true`...)
	}
	return append(b, "}}"...)
}

func (c *Call) appendMeta(b []byte, trace *tool.Trace) []byte {
	var encoded []byte
	if c.trace && trace != nil {
		// A struct of numbers and strings always encodes.
		encoded, _ = json.Marshal(trace)
	}
	switch {
	case c.era == EraStateless:
		b = append(b, c.state.head...)
		if encoded != nil {
			b = append(append(b, `,"`+metaTrace+`":`...), encoded...)
		}
		return append(b, "},"...)
	case encoded != nil:
		return append(append(append(b, `"_meta":{"`+metaTrace+`":`...), encoded...), "},"...)
	default:
		return b
	}
}

func (e *Engine) observeCall(name, outcome string, took time.Duration) {
	if e.observer != nil {
		e.observer.ToolCall(name, outcome, took)
	}
}
