// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/engine"
)

type requestKey struct{}

// request is what the log lines of a request name.
type request struct {
	id, session, principal string
}

// WithRequest notes the id of a request, and the session that it names, for all
// log lines in its course; see LogAttrs. The session may be empty.
func WithRequest(ctx context.Context, id, session string) context.Context {
	return context.WithValue(ctx, requestKey{}, &request{id: id, session: session})
}

// WithSession notes the session that a request has opened, for the log lines
// that are written with the context.
func WithSession(ctx context.Context, session string) context.Context {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return ctx
	}
	opened := *r
	opened.session = session
	return context.WithValue(ctx, requestKey{}, &opened)
}

// LogAttrs are the attributes of a log line that is written with a request's
// context: requestId, session, hashed because its id lets others take it over,
// and principal, the caller's name. Those that are unknown are left out, all of
// them outside of a request. They are also there for a call that outlives its
// request, since its context keeps the values.
func LogAttrs(ctx context.Context, hash func(session string) string) []slog.Attr {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return nil
	}
	attrs := append(make([]slog.Attr, 0, 3), slog.String("requestId", r.id))
	if r.session != "" {
		attrs = append(attrs, slog.String("session", hash(r.session)))
	}
	if r.principal != "" {
		attrs = append(attrs, slog.String("principal", r.principal))
	}
	return attrs
}

type callerKey struct{}

// caller is who sends a request, and who can tell again.
type caller struct {
	principal auth.Principal
	by        auth.Authenticator
}

// WithPrincipal notes who sends a request, and by whom that is found out again
// later; see Core.Accept. Of a request that WithRequest knows
// it also notes the name for log lines, those with the context before included,
// and must come before that context is shared.
func WithPrincipal(ctx context.Context, p auth.Principal, by auth.Authenticator) context.Context {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		r.principal = p.Name
	}
	return context.WithValue(ctx, callerKey{}, caller{p, by})
}

// Principal is who sends the request. Without WithPrincipal it is nobody, whose
// key owns no session.
func Principal(ctx context.Context) auth.Principal {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c.principal
}

// errNotConfirmed refuses who is somebody else than when the request began.
var errNotConfirmed = &auth.Error{
	Status: http.StatusUnauthorized, Code: auth.CodeInvalid, Challenge: `Bearer realm="fairlead", error="invalid_token"`,
	Message: "the credentials are not valid any more",
}

// confirm checks the credentials of a request again, because they may have been
// revoked since. It gives the caller with the roles of now. The error is an
// *auth.Error.
func confirm(r *http.Request) (auth.Principal, error) {
	before, ok := r.Context().Value(callerKey{}).(caller)
	if !ok {
		return auth.Principal{}, errNotConfirmed
	}
	now, err := before.by.Authenticate(r)
	if err == nil && now.Key != before.principal.Key {
		err = errNotConfirmed
	}
	return now, err
}

// Confirm checks the credentials of a request again, once what it opened can be
// found and ended by a revocation: one that came before has not found it. If they
// are not valid any more, or somebody else's, it refuses the request and returns
// false.
func (c *Core) Confirm(w http.ResponseWriter, r *http.Request) bool {
	if _, err := confirm(r); err != nil {
		c.RefuseCredentials(w, r, err)
		return false
	}
	return true
}

// Accept has the engine accept a message of a request, from whom its credentials
// say that it is now: they may have been revoked while the body came. Both happen
// within one revision, so that who is let in by the keys of one is never judged
// by the rules of another, and a revocation finds every call that was accepted
// before it. The error is an *auth.Error or an *engine.Error.
func (c *Core) Accept(ctx context.Context, r *http.Request, in engine.Input) (*engine.Call, error) {
	c.admission.RLock()
	defer c.admission.RUnlock()
	principal, err := confirm(r)
	if err != nil {
		return nil, err
	}
	in.Principal = principal
	return c.Engine.Accept(ctx, in)
}

// Exclude runs swap while no message is being accepted. swap must not block: all
// requests wait for it.
func (c *Core) Exclude(swap func()) {
	c.admission.Lock()
	defer c.admission.Unlock()
	swap()
}

// RefuseCredentials answers for an error of an auth.Authenticator.
func (c *Core) RefuseCredentials(w http.ResponseWriter, r *http.Request, err error) {
	no := Refusal{Status: http.StatusUnauthorized, Code: auth.CodeInvalid, Message: "the credentials could not be checked"}
	if refused := (*auth.Error)(nil); errors.As(err, &refused) {
		no.Status, no.Code, no.Message = refused.Status, refused.Code, refused.Message
		if refused.Challenge != "" {
			w.Header().Set("WWW-Authenticate", refused.Challenge)
		}
	}
	c.Refuse(w, r, no)
}
