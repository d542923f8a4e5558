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
	"sync"

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
	// senders are the outboxes of sessions, which calls answer to.
	senders sync.Map // *session.Session -> *stream.Outbox
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

// Stream serves GET /sse: a session that lives as long as its stream.
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
	s, err := t.core.Sessions.Create(transport.Principal(r.Context()).Key, engine.EraSSE, &engine.Session{})
	if err != nil {
		release()
		t.core.RefuseSession(w, r, err)
		return
	}
	out := t.core.NewOutbox()
	t.senders.Store(s, out)
	// The request's context would keep all of the request for as long as the stream.
	origin := transport.OriginOf(r.Context())
	ended := func(reason stream.CloseReason) { //nolint:contextcheck // What is logged at the end is not within the request.
		s.Close(reason)
		t.senders.Delete(s)
		release()
		t.warn(origin, s)
	}
	// From here on a revocation finds the session; it may have come before.
	if !t.core.Confirm(w, r) {
		ended(stream.Revoked)
		return
	}
	if err := s.Attach(out); err != nil {
		ended(stream.Completed)
		t.core.RefuseSession(w, r, err)
		return
	}
	options := t.core.StreamOptions("sse")
	// Relative, so that it also holds under the prefix of an exposure.
	options.First = &stream.Message{Event: "endpoint", Data: []byte("messages?sessionId=" + s.ID())}
	options.Render = transport.RenderLegacy
	t.core.ServeStream(w, r, out, options, ended)
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
	s, out, ok := t.session(w, r)
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
			t.refuse(w, r, out, transport.EngineError(err))
		}
		return
	}
	// The call belongs to the session, not to this request.
	ctx := context.WithoutCancel(r.Context())
	sink := sink{out}
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

func (t *Transport) session(w http.ResponseWriter, r *http.Request) (*session.Session, *stream.Outbox, bool) {
	id := transport.QuerySession(r)
	if id == "" {
		t.core.Refuse(w, r, transport.Refusal{Status: http.StatusBadRequest, Code: "missing_session_id", Message: "the query must have the sessionId of an open stream", Close: true})
		return nil, nil, false
	}
	s, ok := t.core.Sessions.Get(id, transport.Principal(r.Context()).Key)
	if ok {
		if out, ok := t.senders.Load(s); ok {
			return s, out.(*stream.Outbox), true
		}
	}
	t.core.RefuseUnknownSession(w, r)
	return nil, nil, false
}

// refuse answers a message that was not accepted. An error that belongs to a
// request travels on the stream like every answer; what cannot be answered
// there, and what the client should try again, is the status of the POST.
func (t *Transport) refuse(w http.ResponseWriter, r *http.Request, out *stream.Outbox, e *engine.Error) {
	if no, ok := transport.Busy(e); ok {
		t.core.Refuse(w, r, no)
		return
	}
	if e.ID == nil {
		t.core.Refuse(w, r, transport.Refusal{Status: http.StatusBadRequest, Code: e.Kind.String(), Body: e.JSON()})
		return
	}
	err := out.Send(r.Context(), transport.Event(engine.Message{Data: e.JSON(), Response: true}))
	if closed := (*stream.ClosedError)(nil); errors.As(err, &closed) {
		t.core.RefuseUnknownSession(w, r)
		return
	}
	t.core.WriteJSON(w, r, http.StatusAccepted, nil)
}

// sink sends a call's messages to its session's stream.
type sink struct {
	out *stream.Outbox
}

func (s sink) Send(ctx context.Context, m engine.Message) error {
	return s.out.Send(ctx, transport.Event(m))
}
