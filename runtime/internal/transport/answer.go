// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// patience is how long an answer may take and still be sent as plain JSON. A
// client that waits longer gets a head and heartbeats.
const patience = 200 * time.Millisecond

// Answer is the response to a POST of one or more requests. It becomes JSON if
// all responses are there within 200 ms and nothing else was sent before, and
// an event stream otherwise. It is an engine.Sink.
type Answer struct {
	core      *Core
	w         http.ResponseWriter // as r nil once the answer is a stream, which may outlive both
	r         *http.Request
	transport string
	accepts   Accepts
	batch     bool
	head      http.Header
	// Gone, if set, is called when the client cannot be reached any more.
	gone    func()
	session *session.Session

	timer *time.Timer // nil if there is nothing to wait for
	// form gets what the handler writes of a call that may outlive it: the stream that
	// the answer becomes, or nil for JSON. Nil if the call runs in the handler.
	form chan *stream.Outbox

	mu        sync.Mutex // guards what follows
	responses [][]byte
	first     [1][]byte      // the memory of responses for one
	out       *stream.Outbox // nil until the answer became a stream
	reply     *session.Reply // made with out, in a session
	served    chan struct{}  // closed when all is written; made with form, or with out
	finished  bool

	failed bool // the call has panicked before there was a stream; set before form is told
}

// AnswerOptions tune NewAnswer.
type AnswerOptions struct {
	// Transport labels the stream.
	Transport string
	Accepts   Accepts
	// Batch makes an array of the JSON responses.
	Batch bool
	// Head is added to the response's header.
	Head http.Header
	// Immediate says that the responses are known already, or come at once, so
	// that there is nothing to wait for.
	Immediate bool
	// Gone is called when the client is found to be gone, once or twice.
	Gone func()
	// Session, if set, keeps what the answer says on an event stream for a client
	// that loses it.
	Session *session.Session
}

func (c *Core) newAnswer(w http.ResponseWriter, r *http.Request, o AnswerOptions) *Answer {
	a := &Answer{
		core: c, w: w, r: r, transport: o.Transport, accepts: o.Accepts, batch: o.Batch, head: o.Head, gone: o.Gone, session: o.Session,
	}
	a.responses = a.first[:0]
	return a
}

// NewAnswer begins an answer to what runs in the handler. Run or Finish must follow.
func (c *Core) NewAnswer(w http.ResponseWriter, r *http.Request, o AnswerOptions) *Answer {
	a := c.newAnswer(w, r, o)
	switch {
	case !a.accepts.JSON:
		go a.write(a.open())
	case a.accepts.Stream && !o.Immediate:
		a.timer = time.AfterFunc(patience, func() {
			if out := a.open(); out != nil {
				a.write(out)
			}
		})
	}
	return a
}

// Run runs the only call that is answered, and returns when its answer is written.
func (a *Answer) Run(ctx context.Context, call *engine.Call) {
	defer a.abandon()
	call.Run(ctx, a)
	a.Finish(ctx)
}

// abandon ends the stream of an answer that is not finished: its call has panicked. It
// reports whether there is one.
func (a *Answer) abandon() bool {
	a.mu.Lock()
	out, finished := a.out, a.finished
	a.finished = true
	a.mu.Unlock()
	if out == nil || finished {
		return false
	}
	if a.reply != nil {
		a.reply.Finish()
	}
	out.Close(stream.WriteFailed)
	<-a.served
	return true
}

// open makes a stream of the answer. It returns nil if it was one already, or
// is finished. Who gets an outbox must write it.
func (a *Answer) open() *stream.Outbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out != nil || a.finished {
		return nil
	}
	a.out = a.core.NewOutbox()
	if a.served == nil {
		a.served = make(chan struct{})
	}
	if a.session != nil {
		a.reply = a.session.NewReply(a.out)
	}
	return a.out
}

// write owns the ResponseWriter until the stream has ended, or needs it no more.
func (a *Answer) write(out *stream.Outbox) {
	options := a.core.StreamOptions(a.transport)
	options.Head = a.head
	if a.reply != nil {
		options.First, options.Log = a.reply.Prime(), a.reply
	}
	w, r := a.w, a.r
	a.w, a.r = nil, nil
	a.core.host.Answer(w, r, out, options, func(reason stream.CloseReason) {
		if a.reply != nil {
			a.reply.Detach(out)
		}
		if reason != stream.Completed && a.gone != nil {
			a.gone()
		}
		close(a.served)
	})
}

// Send implements engine.Sink.
func (a *Answer) Send(ctx context.Context, m engine.Message) error {
	a.mu.Lock()
	out := a.out
	switch {
	case out != nil:
	case m.Response:
		a.responses = append(a.responses, m.Data)
		a.mu.Unlock()
		return nil
	case !a.accepts.Stream:
		// A client that takes nothing but JSON has no place for a notification.
		a.mu.Unlock()
		return nil
	}
	a.mu.Unlock()
	if out == nil {
		switch out = a.open(); {
		case out == nil:
			a.mu.Lock()
			out = a.out
			a.mu.Unlock()
		case a.form != nil:
			a.form <- out
		default:
			go a.write(out)
		}
	}
	if out == nil {
		return &stream.ClosedError{Reason: stream.Completed}
	}
	return a.say(ctx, out, Event(m))
}

// say sends on the stream that the answer became.
func (a *Answer) say(ctx context.Context, out *stream.Outbox, m stream.Message) error {
	if a.reply != nil {
		return a.reply.Send(ctx, m)
	}
	return out.Send(ctx, m)
}

// Finish ends the answer after the last Send. It returns when nothing more will
// be written.
func (a *Answer) Finish(ctx context.Context) {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Lock()
	out := a.out
	a.finished = true
	responses := a.responses
	a.mu.Unlock()
	if out == nil {
		if a.form == nil {
			a.finishJSON(responses)
			return
		}
		a.form <- nil
		<-a.served
		return
	}
	for _, data := range responses {
		// A stream that is gone has told its owner.
		_ = a.say(ctx, out, Event(engine.Message{Data: data, Response: true}))
	}
	if a.reply != nil {
		a.reply.Finish()
	}
	out.Close(stream.Completed)
	<-a.served
}

func (a *Answer) finishJSON(responses [][]byte) {
	if len(responses) == 0 {
		// All requests were cancelled and get no response: a stream without an
		// event says so.
		if a.accepts.Stream {
			out := a.core.NewOutbox()
			out.Close(stream.Completed)
			stream.Serve(a.w, a.r, out, a.core.StreamOptions(a.transport))
			return
		}
		a.w.WriteHeader(http.StatusNoContent)
		return
	}
	maps.Copy(a.w.Header(), a.head)
	body := responses[0]
	if a.batch {
		body = append(append([]byte{'['}, bytes.Join(responses, []byte{','})...), ']')
	}
	a.core.WriteJSON(a.w, a.r, http.StatusOK, body)
}
