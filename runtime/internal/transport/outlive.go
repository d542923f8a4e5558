// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// Outlive answers a request with a call that streams, in a goroutine of its own: when
// the answer has become a stream that needs no handler, Outlive returns, and the call
// goes on. Of the request only its context is kept then, and ctx must not end with it.
// ended is called once, when the call is over and its answer written or lost; until
// then the request counts as one that is being answered. See OnEnd, and stream.Host.
func (c *Core) Outlive(ctx context.Context, w http.ResponseWriter, r *http.Request, call *engine.Call, o AnswerOptions, ended func()) {
	a := c.newAnswer(w, r, o)
	a.form, a.served = make(chan *stream.Outbox, 1), make(chan struct{})
	end := outlive(r)
	c.Go(func() {
		defer end()
		defer ended()
		defer a.contain(ctx)
		call.Run(ctx, a)
		a.Finish(ctx)
	})
	a.attend(w, r)
}

// attend is the handler's part of a call that runs elsewhere: it writes the answer, or
// the beginning of one that is long.
func (a *Answer) attend(w http.ResponseWriter, r *http.Request) {
	if out := a.await(r.Context()); out != nil {
		a.write(out)
		return
	}
	defer close(a.served)
	if a.failed {
		a.core.Refuse(w, r, Refusal{Status: http.StatusInternalServerError, Code: "internal_error", Message: "something went wrong; the log of the server has more under this X-Request-Id"})
		return
	}
	a.finishJSON(a.responses)
}

// await gives the stream that the answer becomes, nil for JSON.
func (a *Answer) await(request context.Context) *stream.Outbox {
	wait := time.Duration(0)
	if a.accepts.JSON {
		wait = patience
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	late, gone := timer.C, request.Done()
	if !a.accepts.Stream {
		late = nil
	}
	for {
		select {
		case out := <-a.form:
			return out
		case <-late:
			if out := a.open(); out != nil {
				return out
			}
			late = nil // The call has just decided.
		case <-gone:
			if a.gone != nil {
				a.gone()
			}
			gone = nil
		}
	}
}

// contain keeps a panic of a call that runs in a goroutine of its own from ending the
// process, and its client from waiting.
func (a *Answer) contain(ctx context.Context) {
	cause := recover() //nolint:revive // contain is the function that is deferred.
	if cause == nil {
		return
	}
	a.core.Logger.ErrorContext(ctx, "Recovered from a panic", "cause", cause, "stack", string(debug.Stack()))
	if !a.abandon() {
		a.failed = true
		a.form <- nil
		<-a.served
	}
}
