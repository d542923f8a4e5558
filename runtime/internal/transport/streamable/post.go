// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package streamable

import (
	"context"
	"net/http"
	"sync"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// maxBatch bounds the messages of one batch. They run at the same time.
const maxBatch = 32

// post is one POST.
type post struct {
	t       *Transport
	w       http.ResponseWriter
	r       *http.Request
	session *session.Session // in use; nil if the request names none
	accepts transport.Accepts
	// forget releases the body.
	forget func()
	// outlived says that a call has taken over what done does.
	outlived bool
}

// done is called when the handler ends.
func (p *post) done() {
	if !p.outlived {
		end(p.session, p.forget)
	}
}

// end gives back what a request or its call has used.
func end(s *session.Session, forget func()) {
	if s != nil {
		s.Unuse()
	}
	forget()
}

// outlive gives what ends the call that goes on when the handler has returned. It
// must not keep anything else of the request.
func (p *post) outlive() (ended func()) {
	p.outlived = true
	s, forget := p.session, p.forget
	return func() { end(s, forget) }
}

// single answers a body of one message.
func (p *post) single(message []byte) {
	ctx, in := p.input(message, false)
	call, err := p.t.core.Accept(ctx, p.r, in)
	if err != nil {
		if p.t.core.RefusedCredentials(p.w, p.r, err) {
			return
		}
		e := transport.EngineError(err)
		if e.ID == nil || e.Kind == engine.KindNotInitialized || e.Kind == engine.KindUnsupportedVersion {
			p.t.refuse(p.w, p.r, e)
			return
		}
		p.answerError(e)
		return
	}
	defer func() {
		if !p.outlived {
			call.Release()
		}
	}()
	var head http.Header
	if p.session == nil && call.Session() != nil {
		if !p.t.core.AdmitSession(p.w, p.r) {
			return
		}
		s, err := p.t.core.Sessions.Create(transport.Principal(ctx).Key, engine.EraStreamable, call.Session())
		if err != nil {
			p.t.core.RefuseSession(p.w, p.r, err)
			return
		}
		// From here on a revocation finds the session; it may have come before.
		if !p.t.core.Confirm(p.w, p.r) {
			s.Close(stream.Revoked)
			return
		}
		head = http.Header{sessionHeader: {s.ID()}}
	}
	if !call.IsRequest() {
		call.Run(ctx, nil)
		p.t.core.WriteJSON(p.w, p.r, http.StatusAccepted, nil)
		return
	}
	options := transport.AnswerOptions{
		Transport: name, Accepts: p.accepts, Head: head, Immediate: call.Immediate(), Session: p.session,
	}
	if call.Streams() {
		p.t.core.Outlive(ctx, p.w, p.r, call, options, p.outlive())
		return
	}
	p.t.core.NewAnswer(p.w, p.r, options).Run(ctx, call)
}

// answerError answers a request that was not accepted: with status 200, since
// the error is the response (JSON-RPC 2.0, section 5), in the form that the
// client takes.
func (p *post) answerError(e *engine.Error) {
	if no, ok := transport.Busy(e); ok {
		p.t.core.Refuse(p.w, p.r, no)
		return
	}
	ctx := p.r.Context()
	answer := p.t.core.NewAnswer(p.w, p.r, transport.AnswerOptions{Transport: name, Accepts: p.accepts, Immediate: true, Session: p.session})
	// The stream's end is reported to its owner.
	_ = answer.Send(ctx, engine.Message{Data: e.JSON(), Response: true})
	answer.Finish(ctx)
}

// batch answers a body of several messages (2025-03-26 basic/transports): the
// responses come in any order, as an array or on one stream.
func (p *post) batch(messages [][]byte) {
	if p.session == nil {
		p.t.refuseMissing(p.w, p.r)
		return
	}
	var calls []*engine.Call
	var refused []*engine.Error
	for _, message := range messages {
		ctx, in := p.input(message, true)
		call, err := p.t.core.Accept(ctx, p.r, in)
		switch {
		case isCredentials(err):
			for _, accepted := range calls {
				accepted.Release()
			}
			p.t.core.RefuseCredentials(p.w, p.r, err)
			return
		case err != nil:
			refused = append(refused, transport.EngineError(err))
		case call.IsRequest():
			calls = append(calls, call)
		default:
			call.Run(ctx, nil)
		}
	}
	if p.session.State.Version() != engine.Version20250326 {
		// Every message was refused for the same reason.
		p.t.refuse(p.w, p.r, refused[0])
		return
	}
	if len(calls) == 0 && len(refused) == 0 {
		p.t.core.WriteJSON(p.w, p.r, http.StatusAccepted, nil)
		return
	}
	p.runAll(context.WithoutCancel(p.r.Context()), calls, refused)
}

func (p *post) runAll(ctx context.Context, calls []*engine.Call, refused []*engine.Error) {
	answer := p.t.core.NewAnswer(p.w, p.r, transport.AnswerOptions{Transport: name, Accepts: p.accepts, Batch: true, Immediate: len(calls) == 0, Session: p.session})
	var running sync.WaitGroup
	for _, call := range calls {
		running.Go(func() { call.Run(ctx, answer) })
	}
	for _, e := range refused {
		if err := answer.Send(ctx, engine.Message{Data: e.JSON(), Response: true}); isClosed(err) {
			break
		}
	}
	running.Wait()
	answer.Finish(ctx)
}

func isCredentials(err error) bool {
	_, ok := err.(*auth.Error) //nolint:errorlint // Accept returns it as it is.
	return ok
}

func isClosed(err error) bool {
	_, ok := err.(*stream.ClosedError) //nolint:errorlint // Send returns it as it is.
	return ok
}
