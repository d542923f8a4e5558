// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/session"
)

// Refusal is an answer that says no.
type Refusal struct {
	// Status is the HTTP status.
	Status int
	// Code names the reason for programs, in snake_case.
	Code string
	// Reason is what metrics count instead of Code, if it is finer; empty: Code.
	Reason string
	// Message tells people what to do. It must be safe to show to clients.
	Message string
	// RetryAfter, if set, is sent in whole seconds, rounded up.
	RetryAfter time.Duration
	// Body replaces the plain body, where the era wants a JSON-RPC error.
	Body []byte
	// Close ends the connection after the answer, because the rest of the
	// request was not read.
	Close bool
}

// Refuse answers a request with one JSON body, {"error","message"}. Legacy
// clients that probe for the stateless era must not take it for one of its
// errors (2026-07-28 basic/versioning), and they cannot: "error" is a string.
func (c *Core) Refuse(w http.ResponseWriter, r *http.Request, no Refusal) {
	c.refused(cmp.Or(no.Reason, no.Code))
	h := w.Header()
	if no.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((no.RetryAfter+time.Second-1)/time.Second)))
	}
	if no.Close {
		h.Set("Connection", "close")
	}
	body := no.Body
	if body == nil {
		// Marshalling two strings cannot fail.
		body, _ = json.Marshal(struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}{no.Code, no.Message})
	}
	if r.Method == http.MethodHead {
		body = nil
	}
	c.WriteJSON(w, r, no.Status, body)
}

// RefuseLeaving refuses a session or stream because the replica drains.
func (c *Core) RefuseLeaving(w http.ResponseWriter, r *http.Request) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusServiceUnavailable, Code: "leaving", RetryAfter: time.Second, Close: true,
		Message: "this replica takes leave; connect again to reach another",
	})
}

// RefuseMethod answers 405 with the methods that are allowed.
func (c *Core) RefuseMethod(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	c.Refuse(w, r, Refusal{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "use " + allow})
}

// RefuseForbidden answers the operator's verifier, the only caller that may do
// less than its credentials let it reach.
func (c *Core) RefuseForbidden(w http.ResponseWriter, r *http.Request) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusForbidden, Code: engine.KindForbidden.String(), Close: r.ContentLength != 0,
		Message: "the verifier may only discover the server and list its tools, in the stateless era",
	})
}

// Busy is the refusal of an error of the engine that says how long to wait.
func Busy(e *engine.Error) (Refusal, bool) {
	no := Refusal{Code: e.Kind.String(), Message: e.Message, RetryAfter: e.RetryAfter, Body: e.JSON()}
	if e.Reason == limit.ReasonMemory {
		no.Reason = e.Reason
	}
	switch e.Kind {
	case engine.KindTooMany:
		no.Status = http.StatusTooManyRequests
	case engine.KindOverloaded:
		no.Status = http.StatusServiceUnavailable
	default:
		return Refusal{}, false
	}
	return no, true
}

// RefusedCredentials answers for an error of Accept that is about the credentials
// and reports whether it was one; all others are the engine's.
func (c *Core) RefusedCredentials(w http.ResponseWriter, r *http.Request, err error) bool {
	_, ok := errors.AsType[*auth.Error](err)
	if ok {
		c.RefuseCredentials(w, r, err)
	}
	return ok
}

// EngineError gives the *engine.Error that every error of the engine is.
func EngineError(err error) *engine.Error {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e
	}
	return &engine.Error{Kind: engine.KindInternal, Code: -32603, Message: "internal error"}
}

// RefuseUnknownSession answers 404, which tells a client to begin anew.
func (c *Core) RefuseUnknownSession(w http.ResponseWriter, r *http.Request) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusNotFound, Code: "unknown_session", Close: r.ContentLength != 0,
		Message: "there is no such session; it may have ended: initialize again",
	})
}

// RefuseAbsentSession answers for a session that is not here: one that has moved
// since the request was found to belong here is asked for again.
func (c *Core) RefuseAbsentSession(w http.ResponseWriter, r *http.Request, id string) {
	if c.Sessions.HasMoved(id, Principal(r.Context()).Key) {
		c.RefuseSession(w, r, session.ErrMoved)
		return
	}
	c.RefuseUnknownSession(w, r)
}

// AdmitSession says whether a session may begin, or refuses the request. What a
// peer forwards begins none.
func (c *Core) AdmitSession(w http.ResponseWriter, r *http.Request) bool {
	err := c.streams.Session()
	if err == nil {
		return true
	}
	c.refuseExceeded(w, r, err)
	return false
}

// refuseExceeded answers for an error of Streams.
func (c *Core) refuseExceeded(w http.ResponseWriter, r *http.Request, err error) {
	no := Refusal{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "this replica takes nothing new now", RetryAfter: time.Second}
	if exceeded, ok := errors.AsType[*limit.Exceeded](err); ok {
		no.Status, no.Message, no.RetryAfter = exceeded.Status, exceeded.Error(), exceeded.RetryAfter
		if exceeded.Reason == limit.ReasonStreams {
			no.Code = exceeded.Reason
		} else {
			no.Reason = exceeded.Reason
		}
	}
	c.Refuse(w, r, no)
}

// RefuseSession answers for an error of the session package.
func (c *Core) RefuseSession(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, session.ErrSealed):
		c.RefuseLeaving(w, r)
	case errors.Is(err, session.ErrFull):
		c.Refuse(w, r, Refusal{Status: http.StatusServiceUnavailable, Code: "too_many_sessions", Message: err.Error(), RetryAfter: 5 * time.Second})
	case errors.Is(err, session.ErrMoved):
		c.Refuse(w, r, Refusal{Status: http.StatusServiceUnavailable, Code: "session_moves", Message: err.Error() + "; try again", RetryAfter: time.Second, Close: r.ContentLength != 0})
	case errors.Is(err, session.ErrTooMany):
		c.Refuse(w, r, Refusal{Status: http.StatusTooManyRequests, Code: "too_many_requests", Message: err.Error(), RetryAfter: time.Second})
	default:
		c.RefuseUnknownSession(w, r)
	}
}
