// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package streamable is Streamable HTTP with sessions, the transport of
// revisions 2025-03-26 to 2025-11-25 (basic/transports, "Streamable HTTP").
package streamable

import (
	"context"
	"net/http"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

const (
	sessionHeader = "Mcp-Session-Id"
	versionHeader = "Mcp-Protocol-Version"
	name          = "streamable"
	// Methods are those that the endpoint allows.
	Methods = "GET, POST, DELETE"
)

// Transport serves the legacy side of /mcp.
type Transport struct {
	core *transport.Core
}

// New makes the transport.
func New(core *transport.Core) *Transport { return &Transport{core: core} }

// Stream serves GET: the stream on which the server speaks up by itself. The
// newest stream of a session takes the place of the one before.
func (t *Transport) Stream(w http.ResponseWriter, r *http.Request) {
	if !transport.ParseAccept(r.Header).Stream {
		t.core.RefuseAccept(w, r, stream.MediaType)
		return
	}
	s, ok := t.session(w, r, true)
	if !ok || !t.version(w, r) {
		return
	}
	release, ok := t.core.OpenStream(w, r)
	if !ok {
		return
	}
	options := t.core.StreamOptions(name)
	options.Head = http.Header{sessionHeader: {s.ID()}}
	last := r.Header.Get("Last-Event-ID")
	out := t.core.NewOutbox()
	if session.Resumable(last) {
		t.resume(w, r, resumption{s, last, out, options, release})
		return
	}
	var err error
	if options.First, options.Log, err = s.Listen(out, last); err != nil {
		release()
		t.core.RefuseSession(w, r, err)
		return
	}
	options.Render = transport.RenderLegacy
	t.core.ServeStream(w, r, out, options, func(stream.CloseReason) {
		s.Detach(out)
		release()
	})
}

// resumption is a GET that asks for the rest of a POST's answer.
type resumption struct {
	session *session.Session
	last    string
	out     *stream.Outbox
	options stream.Options
	release func()
}

// resume goes on with an answer whose stream the client has lost (2025-11-25
// basic/transports, "Resumability and Redelivery"): what it has not seen, and then
// what still comes, until the response.
func (t *Transport) resume(w http.ResponseWriter, r *http.Request, q resumption) {
	reply, ok := q.session.Resume(q.last, q.out)
	if !ok {
		q.release()
		// Clients that resume an answer which they have take this for its end.
		w.Header().Set("Allow", "POST, DELETE")
		t.core.Refuse(w, r, transport.Refusal{
			Status: http.StatusMethodNotAllowed, Code: "nothing_to_resume",
			Message: "nothing is left of the answer that the Last-Event-ID header names; a GET without it listens",
		})
		return
	}
	q.options.Render = reply.Render
	t.core.ServeStream(w, r, q.out, q.options, func(stream.CloseReason) {
		reply.Detach(q.out)
		q.release()
	})
}

// Delete serves DELETE: the client ends its session.
func (t *Transport) Delete(w http.ResponseWriter, r *http.Request) {
	s, ok := t.session(w, r, true)
	if !ok || !t.version(w, r) {
		return
	}
	s.Close(stream.SessionEnded)
	t.core.WriteJSON(w, r, http.StatusNoContent, nil)
}

// Post serves POST with a body that was read already. forget is called once, when
// nothing refers to the body any more, which may be after Post has returned.
func (t *Transport) Post(w http.ResponseWriter, r *http.Request, body []byte, forget func()) {
	p := &post{t: t, w: w, r: r, accepts: transport.ParseAccept(r.Header), forget: forget}
	defer p.done()
	if !p.accepts.JSON && !p.accepts.Stream {
		t.core.RefuseAccept(w, r, "application/json and text/event-stream")
		return
	}
	s, ok := t.session(w, r, false)
	if !ok || !t.version(w, r) {
		return
	}
	if s != nil {
		if err := s.Use(); err != nil {
			t.core.RefuseSession(w, r, err)
			return
		}
		p.session = s
	}
	if !engine.IsBatch(body) {
		p.single(body)
		return
	}
	messages, err := engine.Split(body, maxBatch)
	if err != nil {
		t.refuse(w, r, transport.EngineError(err))
		return
	}
	p.batch(messages)
}

// session finds the session that the request names. Without a name it gives
// nil, unless one is required.
func (t *Transport) session(w http.ResponseWriter, r *http.Request, required bool) (*session.Session, bool) {
	id := r.Header.Get(sessionHeader)
	if id == "" {
		if required {
			t.refuseMissing(w, r)
		}
		return nil, !required
	}
	s, ok := t.core.Sessions.Get(id, transport.Principal(r.Context()).Key)
	if !ok || s.Era != engine.EraStreamable {
		t.core.RefuseAbsentSession(w, r, id)
		return nil, false
	}
	return s, true
}

func (t *Transport) refuseMissing(w http.ResponseWriter, r *http.Request) {
	t.core.Refuse(w, r, transport.Refusal{
		Status: http.StatusBadRequest, Code: "missing_session_id",
		Message: "the Mcp-Session-Id header is missing: initialize first, and send the id that comes with the answer",
	})
}

// version refuses a protocol version that no session can have negotiated, or
// more than one: a proxy may read another of them. On POST the engine says the
// former too, but after the session was looked up.
func (t *Transport) version(w http.ResponseWriter, r *http.Request) bool {
	if len(r.Header.Values(versionHeader)) > 1 {
		t.core.Refuse(w, r, transport.Refusal{
			Status: http.StatusBadRequest, Code: engine.KindHeaderMismatch.String(),
			Message: "the MCP-Protocol-Version header is given more than once",
		})
		return false
	}
	v := r.Header.Get(versionHeader)
	if v == "" || engine.LegacyVersion(v) {
		return true
	}
	t.core.Refuse(w, r, transport.Refusal{
		Status: http.StatusBadRequest, Code: engine.KindUnsupportedVersion.String(),
		Message: "the MCP-Protocol-Version header names a revision that sessions here do not speak",
	})
	return false
}

// refuse answers a body or a message that was not accepted and is no request.
func (t *Transport) refuse(w http.ResponseWriter, r *http.Request, e *engine.Error) {
	if no, ok := transport.Busy(e); ok {
		t.core.Refuse(w, r, no)
		return
	}
	if e.Kind == engine.KindNotInitialized && r.Header.Get(sessionHeader) == "" {
		t.refuseMissing(w, r)
		return
	}
	t.core.Refuse(w, r, transport.Refusal{Status: http.StatusBadRequest, Code: e.Kind.String(), Body: e.JSON()})
}

// input is the engine's view of a message. A call that a client began is not
// cancelled by a broken connection (basic/transports, "Sending Messages to the
// Server"), which is why ctx does not end with the request.
func (p *post) input(message []byte, batch bool) (context.Context, engine.Input) {
	in := engine.Input{
		Message: message, Era: engine.EraStreamable, Version: p.r.Header.Get(versionHeader), Batch: batch,
	}
	if p.session != nil {
		in.Session = p.session.State
	}
	return context.WithoutCancel(p.r.Context()), in
}
