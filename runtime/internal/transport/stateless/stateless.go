// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stateless is Streamable HTTP of revision 2026-07-28
// (basic/transports/streamable-http): every POST stands alone, and a client
// that hangs up cancels.
package stateless

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

const (
	name        = "stateless"
	paramPrefix = "Mcp-Param-"
	// maxParams bounds the Mcp-Param-* headers that are looked at.
	maxParams = 64
)

// single are the headers that may come once, beside the Mcp-Param-* ones.
var single = []string{"Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version"}

// Transport serves the stateless side of /mcp.
type Transport struct {
	core    *transport.Core
	listens listens
	calls   calls
}

// New makes the transport.
func New(core *transport.Core) *Transport {
	return &Transport{core: core, listens: listens{open: map[*Listen]struct{}{}}, calls: calls{running: map[*running]struct{}{}}}
}

// RefuseMethod answers 405 to everything but POST.
func (t *Transport) RefuseMethod(w http.ResponseWriter, r *http.Request) {
	t.core.RefuseMethod(w, r, http.MethodPost)
}

// Post serves POST with a body that was read already. Mcp-Session-Id and
// Last-Event-ID mean nothing here and are ignored. forget is called once, when nothing
// refers to the body any more, which may be after Post has returned.
func (t *Transport) Post(w http.ResponseWriter, r *http.Request, body []byte, forget func()) {
	outlived := false
	defer func() {
		if !outlived {
			forget()
		}
	}()
	accepts := transport.ParseAccept(r.Header)
	if !accepts.JSON && !accepts.Stream {
		t.core.RefuseAccept(w, r, "application/json and text/event-stream")
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	running := t.calls.begin(transport.Principal(ctx).Key, cancel)
	defer func() {
		if !outlived {
			t.calls.end(running)
		}
	}()
	call, err := t.core.Accept(ctx, r, engine.Input{
		Message: body, Era: engine.EraStateless, Version: r.Header.Get("Mcp-Protocol-Version"), Hints: hints(r.Header),
	})
	if err != nil {
		if !t.core.RefusedCredentials(w, r, err) {
			t.refuse(w, r, transport.EngineError(err))
		}
		return
	}
	answer := transport.AnswerOptions{Transport: name, Accepts: accepts, Immediate: call.Immediate(), Gone: func() { cancel(nil) }}
	if call.Streams() {
		outlived = true
		t.outlive(w, r, call, answer, running, forget)
		return
	}
	defer call.Release()
	switch {
	case !call.IsRequest():
		call.Run(ctx, nil)
		t.core.WriteJSON(w, r, http.StatusAccepted, nil)
	case call.Subscription() != nil:
		if !accepts.Stream {
			t.core.RefuseAccept(w, r, "text/event-stream")
			return
		}
		t.listen(w, r, call.Subscription())
	default:
		t.core.NewAnswer(w, r, answer).Run(ctx, call)
	}
}

// outlive answers with a call that may go on when the handler has returned: until its
// client hangs up, or its caller is revoked.
func (t *Transport) outlive(w http.ResponseWriter, r *http.Request, call *engine.Call, o transport.AnswerOptions, running *running, forget func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	t.calls.pass(running, cancel)
	o.Gone = func() { cancel(nil) }
	t.core.Outlive(ctx, w, r, call, o, func() {
		cancel(nil)
		t.calls.end(running)
		forget()
	})
}

// statuses are those of errors that are not bad requests.
var statuses = map[engine.Kind]int{
	engine.KindMethodNotFound: http.StatusNotFound,
	engine.KindInternal:       http.StatusInternalServerError,
	engine.KindForbidden:      http.StatusForbidden,
}

// refuse answers with the error and the status that the revision asks for.
func (t *Transport) refuse(w http.ResponseWriter, r *http.Request, e *engine.Error) {
	no, busy := transport.Busy(e)
	if !busy {
		no = transport.Refusal{Status: cmp.Or(statuses[e.Kind], http.StatusBadRequest), Code: e.Kind.String(), Body: e.JSON()}
	}
	t.core.Refuse(w, r, no)
}

// hints are the headers that repeat parts of the body. net/http has put their
// names into canonical form.
func hints(h http.Header) engine.Hints {
	hints := engine.Hints{Method: h.Get("Mcp-Method"), Name: h.Get("Mcp-Name")}
	for key, values := range h {
		param, ok := strings.CutPrefix(key, paramPrefix)
		if len(values) > 1 && (ok || slices.Contains(single, key)) {
			hints.Repeated = key
		}
		if ok && len(values) > 0 && len(hints.Params) < maxParams {
			if hints.Params == nil {
				hints.Params = map[string]string{}
			}
			hints.Params[strings.ToLower(param)] = values[0]
		}
	}
	return hints
}
