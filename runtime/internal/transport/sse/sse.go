// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sse is HTTP+SSE, the transport of revision 2024-11-05
// (basic/transports, "HTTP with SSE"): GET /sse opens a stream whose first event
// names the address for messages, POST there is acknowledged, and everything
// that the server says comes on the stream. Newer revisions call it deprecated.
package sse

import (
	"context"
	"errors"
	"net/http"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

const (
	modeWarn     = "Warn"
	modeDisabled = "Disabled"
	// deprecated is when this transport was replaced, 2025-03-26 (RFC 9745,
	// section 2.1).
	deprecated = "@1742947200"
)

// Transport serves HTTP+SSE.
type Transport struct {
	core *transport.Core
}

// New makes the transport.
func New(core *transport.Core) *Transport { return &Transport{core: core} }

// enabled refuses everything if the transport is switched off, and marks
// answers as deprecated if it is on its way out.
func (t *Transport) enabled(w http.ResponseWriter, r *http.Request) bool {
	switch t.core.Settings().SSEMode {
	case modeDisabled:
		t.core.Refuse(w, r, transport.Refusal{Status: http.StatusNotFound, Code: "not_found", Message: "the HTTP+SSE transport is switched off; use /mcp", Close: r.ContentLength != 0})
		return false
	case modeWarn:
		w.Header().Set("Deprecation", deprecated)
	}
	return true
}

// Stream serves GET /sse: a session that ends with its stream, unless the client
// comes back soon.
func (t *Transport) Stream(w http.ResponseWriter, r *http.Request) {
	if !t.enabled(w, r) {
		return
	}
	if r.Method != http.MethodGet {
		t.core.RefuseMethod(w, r, http.MethodGet)
		return
	}
	if !transport.ParseAccept(r.Header).Stream {
		t.core.RefuseAccept(w, r, stream.MediaType)
		return
	}
	release, ok := t.core.OpenStream(w, r)
	if !ok {
		return
	}
	s, err := t.open(r)
	if err != nil {
		release()
		t.core.RefuseSession(w, r, err)
		return
	}
	out := t.core.NewOutbox()
	id := s.ID()
	// The request's context would keep all of the request for as long as the stream.
	origin := transport.OriginOf(r.Context())
	ended := func(stream.CloseReason) { //nolint:contextcheck // What is logged at the end is not within the request.
		s.Detach(out)
		release()
		t.warn(origin, s)
	}
	// From here on a revocation finds the session; it may have come before.
	if !t.core.Confirm(w, r) {
		s.Close(stream.Revoked)
		release()
		return
	}
	if err := s.Attach(out); err != nil {
		release()
		t.core.RefuseSession(w, r, err)
		return
	}
	options := t.core.StreamOptions("sse")
	// Relative, so that it also holds under the prefix of an exposure. Its id is
	// what a client shows that comes back.
	options.First = &stream.Message{Event: "endpoint", ID: id, Data: []byte("messages?sessionId=" + id)}
	options.Render = func(bits uint32) []stream.Message {
		all := transport.RenderLegacy(bits)
		if bits&session.Pending != 0 {
			all = append(s.SaidSince(out), all...)
		}
		return all
	}
	t.core.ServeStream(w, r, out, options, ended)
}

// open gives the session of a client that comes back, or makes one. A new client
// has no protocol version to send yet: one that sends it has lost its session, and
// goes on where it can without an initialize that it will not send again.
func (t *Transport) open(r *http.Request) (*session.Session, error) {
	principal := transport.Principal(r.Context()).Key
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		s, ok := t.core.Sessions.Get(last, principal)
		ok = ok && s.Era == engine.EraSSE
		t.core.Sessions.Returned(ok)
		if ok {
			return s, nil
		}
	}
	return t.core.Sessions.Create(principal, engine.EraSSE, engine.Continue(r.Header.Get("Mcp-Protocol-Version")))
}

// warn names the client of a session of a transport that is on its way out.
func (t *Transport) warn(origin transport.Origin, s *session.Session) {
	if t.core.Settings().SSEMode != modeWarn {
		return
	}
	name, version := s.State.Client()
	t.core.Logger.WarnContext(origin.Context(s.ID()), "A client used the deprecated HTTP+SSE transport",
		"client", name, "clientVersion", version)
}

// Message serves POST /messages.
func (t *Transport) Message(w http.ResponseWriter, r *http.Request) {
	if !t.enabled(w, r) {
		return
	}
	if r.Method != http.MethodPost {
		t.core.RefuseMethod(w, r, http.MethodPost)
		return
	}
	s, ok := t.session(w, r)
	if !ok {
		return
	}
	body, forget, ok := t.core.ReadBody(w, r)
	if !ok {
		return
	}
	outlives := false
	defer func() {
		if !outlives {
			forget()
		}
	}()
	if err := s.Use(); err != nil {
		t.core.RefuseSession(w, r, err)
		return
	}
	call, err := t.core.Accept(r.Context(), r, engine.Input{Message: body, Era: engine.EraSSE, Version: "", Session: s.State})
	if err != nil {
		defer s.Unuse()
		if !t.core.RefusedCredentials(w, r, err) {
			t.refuse(w, r, s, transport.EngineError(err))
		}
		return
	}
	// The call belongs to the session, not to this request.
	ctx := context.WithoutCancel(r.Context())
	sink := sink{s}
	if call.Immediate() || !call.IsRequest() {
		// A full outbox holds the POST up, and with it a client that asks but
		// does not read.
		call.Run(ctx, sink)
		s.Unuse()
	} else {
		outlives = true
		t.core.Go(func() {
			defer forget()
			defer s.Unuse()
			call.Run(ctx, sink)
		})
	}
	t.core.WriteJSON(w, r, http.StatusAccepted, nil)
}

func (t *Transport) session(w http.ResponseWriter, r *http.Request) (*session.Session, bool) {
	id := transport.QuerySession(r)
	if id == "" {
		t.core.Refuse(w, r, transport.Refusal{Status: http.StatusBadRequest, Code: "missing_session_id", Message: "the query must have the sessionId of an open stream", Close: true})
		return nil, false
	}
	s, ok := t.core.Sessions.Get(id, transport.Principal(r.Context()).Key)
	switch {
	case !ok || s.Era != engine.EraSSE:
		t.core.RefuseAbsentSession(w, r, id)
	case !s.Listening():
		// Most clients open another session when they come back: the answer would
		// never reach them.
		t.core.Refuse(w, r, transport.Refusal{
			Status: http.StatusServiceUnavailable, Code: "no_stream", RetryAfter: time.Second, Close: true,
			Message: "the stream of this session has ended: connect to it again first, with the id of its endpoint event as Last-Event-ID",
		})
	default:
		return s, true
	}
	return nil, false
}

// refuse answers a message that was not accepted. An error that belongs to a
// request travels on the stream like every answer; what cannot be answered
// there, and what the client should try again, is the status of the POST.
func (t *Transport) refuse(w http.ResponseWriter, r *http.Request, s *session.Session, e *engine.Error) {
	if no, ok := transport.Busy(e); ok {
		t.core.Refuse(w, r, no)
		return
	}
	if e.ID == nil {
		t.core.Refuse(w, r, transport.Refusal{Status: http.StatusBadRequest, Code: e.Kind.String(), Body: e.JSON()})
		return
	}
	err := s.Say(r.Context(), transport.Event(engine.Message{Data: e.JSON(), Response: true}))
	if closed := (*stream.ClosedError)(nil); errors.As(err, &closed) {
		t.core.RefuseUnknownSession(w, r)
		return
	}
	t.core.WriteJSON(w, r, http.StatusAccepted, nil)
}

// sink sends a call's messages to its session's stream.
type sink struct {
	session *session.Session
}

func (s sink) Send(ctx context.Context, m engine.Message) error {
	return s.session.Say(ctx, transport.Event(m))
}
