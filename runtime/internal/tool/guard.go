// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package tool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fairlead.dev/fairlead/runtime/config"
)

// Options are what every backend is guarded with.
type Options struct {
	// Name is the tool's, for messages.
	Name string
	// Timeout bounds a call, the wait for a free slot included; it is positive.
	Timeout time.Duration
	// MaxConcurrency bounds the calls that run at once; it is positive.
	MaxConcurrency int
	// Output validates Result.Structured of results that are no errors; nil
	// validates nothing.
	Output *config.Schema
}

// errTimeout is the cause of a context that a Guard's timeout ended.
var errTimeout = errors.New("the tool's timeout passed")

// Guard returns an Executor that runs inner within a timeout, a bounded number
// of times at once, and checks what it returns. One Guard belongs to one tool
// and outlives revisions that leave the tool alone, so that the number of calls
// is bounded across them.
func Guard(inner Executor, o Options) Executor {
	return &guard{inner: inner, prompt: IsPrompt(inner), options: o, slots: make(chan struct{}, o.MaxConcurrency)}
}

// guard implements Guard.
type guard struct {
	inner   Executor
	prompt  bool
	options Options
	slots   chan struct{}
}

// Prompt implements Prompter. The wait for a free slot does not count: those who
// hold one answer at once.
func (g *guard) Prompt() bool { return g.prompt }

// Streams implements Streamer.
func (g *guard) Streams() bool { return IsStreaming(g.inner) }

// Run implements Executor.
func (g *guard) Run(ctx context.Context, call Call, sink Sink) (Result, error) {
	bounded, taken := ctx, g.take()
	if !taken || !g.prompt {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeoutCause(ctx, g.options.Timeout, errTimeout)
		defer cancel()
	}
	if !taken {
		if err := g.wait(bounded); err != nil {
			return Result{}, err
		}
	}
	defer func() { <-g.slots }()

	result, err := g.inner.Run(bounded, call, sink)
	if err != nil {
		return Result{}, g.explain(bounded, err)
	}
	if err := g.check(result); err != nil {
		return Result{}, err
	}
	return result, nil
}

// take takes a slot if one is free.
func (g *guard) take() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait waits for a slot.
func (g *guard) wait(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), errTimeout) {
			return g.cancelled(context.Cause(ctx))
		}
		return &Error{
			Outcome: OutcomeBusy,
			Message: fmt.Sprintf("tool %q is busy: it runs at most %d calls at once and none ended within %s; try again later", g.options.Name, g.options.MaxConcurrency, g.options.Timeout),
		}
	}
}

// explain turns an error of the backend into one that names the tool and, where
// the timeout is the reason, the time.
func (g *guard) explain(ctx context.Context, err error) error {
	var trace *Trace
	known, ok := errors.AsType[*Error](err)
	if ok {
		trace = known.Trace
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTimeout):
		return &Error{
			Outcome: OutcomeTimeout, Err: err, Trace: trace,
			Message: fmt.Sprintf("tool %q timed out after %s", g.options.Name, g.options.Timeout),
		}
	case cause != nil:
		return g.cancelled(err)
	case ok:
		return err
	default:
		return &Error{Message: fmt.Sprintf("tool %q failed; the server's log has the reason", g.options.Name), Err: err}
	}
}

// cancelled says that the caller went away.
func (g *guard) cancelled(err error) error {
	return &Error{Outcome: OutcomeCancelled, Err: err, Message: fmt.Sprintf("the call of tool %q was cancelled", g.options.Name)}
}

// check validates a result against the tool's output schema.
func (g *guard) check(result Result) error {
	if g.options.Output == nil || result.IsError {
		return nil
	}
	invalid := func(reason string, err error) error {
		return &Error{
			Outcome: OutcomeInvalidOutput, Err: err, Trace: result.Trace,
			Message: fmt.Sprintf("tool %q returned a result that breaks its output schema: %s", g.options.Name, reason),
		}
	}
	if result.Structured == nil {
		return invalid("there is no structured content; the backend must answer with a JSON object", nil)
	}
	value, err := config.DecodeValue(result.Structured)
	if err != nil {
		return invalid("it is not valid JSON", err)
	}
	if err := g.options.Output.Validate(value); err != nil {
		return invalid(err.Error(), nil)
	}
	return nil
}
