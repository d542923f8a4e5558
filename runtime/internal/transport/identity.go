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

// request is the context of one request with all that is known of it: one value,
// so that each request allocates one.
type request struct {
	context.Context //nolint:containedctx // It is a context itself.

	// id and session are what log lines name.
	id, session string
	principal   auth.Principal
	// by can tell again who sends the request, and found it in generation.
	by         auth.Authenticator
	generation uint64
	// ended is called at the end of the request, or, if that is outlived, of its call.
	ended func()
	// forwarded says that the client's socket is another replica's.
	forwarded, outlived bool
}

// Value implements context.Context.
func (r *request) Value(key any) any {
	if key == (requestKey{}) {
		return r
	}
	return r.Context.Value(key)
}

// requestOf finds what is known of a context's request, nil outside of one.
func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// WithRequest notes the id of a request, and the session that it names, for all
// log lines in its course; see LogAttrs. The session may be empty.
func WithRequest(ctx context.Context, id, session string) context.Context {
	return &request{Context: ctx, id: id, session: session}
}

// OnEnd has ended called by End, for a request whose context is WithRequest's and not
// shared yet.
func OnEnd(r *http.Request, ended func()) {
	if known := requestOf(r.Context()); known != nil {
		known.ended = ended
	}
}

// End is called when the handler of a request returns. A call that outlives that ends
// the request later.
func End(r *http.Request) {
	if known := requestOf(r.Context()); known != nil && known.ended != nil && !known.outlived {
		known.ended()
	}
}

// outlive gives what the caller has to call once instead of End.
func outlive(r *http.Request) (end func()) {
	known := requestOf(r.Context())
	if known == nil || known.ended == nil {
		return func() {}
	}
	known.outlived = true
	return known.ended
}

// MarkForwarded notes that a peer forwards a request, in its context, which must be
// WithRequest's and not shared yet: the client's socket is counted there.
func MarkForwarded(ctx context.Context) {
	if r := requestOf(ctx); r != nil {
		r.forwarded = true
	}
}

// IsForwarded reports what MarkForwarded has noted.
func IsForwarded(ctx context.Context) bool {
	r := requestOf(ctx)
	return r != nil && r.forwarded
}

// Origin is what log lines name of a request that opened something which
// outlives it, such as a stream, and all that has to be kept of the request.
type Origin struct {
	request, principal string
}

// OriginOf is the origin of what the request of a context opens.
func OriginOf(ctx context.Context) Origin {
	if r := requestOf(ctx); r != nil {
		return Origin{request: r.id, principal: r.principal.Name}
	}
	return Origin{}
}

// Context is for log lines that are written when the request is long over. It
// never ends.
func (o Origin) Context(session string) context.Context {
	return &request{Context: context.Background(), id: o.request, session: session, principal: auth.Principal{Name: o.principal}}
}

// LogAttrs are the attributes of a log line that is written with a request's
// context: requestId, session, hashed because its id lets others take it over,
// and principal, the caller's name. Those that are unknown are left out, all of
// them outside of a request. They are also there for a call that outlives its
// request, since its context keeps the values.
func LogAttrs(ctx context.Context, hash func(session string) string) []slog.Attr {
	r := requestOf(ctx)
	if r == nil {
		return nil
	}
	attrs := append(make([]slog.Attr, 0, 3), slog.String("requestId", r.id))
	if r.session != "" {
		attrs = append(attrs, slog.String("session", hash(r.session)))
	}
	if r.principal.Name != "" {
		attrs = append(attrs, slog.String("principal", r.principal.Name))
	}
	return attrs
}

// Identify finds out who sends a request, and notes that in its context, which
// must be WithRequest's and not shared yet, for Principal, LogAttrs and
// Core.Accept. The error is an *auth.Error.
func Identify(r *http.Request, by auth.Authenticator) (auth.Principal, error) {
	known := requestOf(r.Context())
	if known == nil {
		return auth.Principal{}, errNotConfirmed
	}
	// The generation comes first: keys that change meanwhile belong to a later
	// one, so that confirm looks again.
	generation := generationOf(by)
	principal, err := by.Authenticate(r)
	if err != nil {
		return auth.Principal{}, err
	}
	known.principal, known.by, known.generation = principal, by, generation
	return principal, nil
}

// Principal is who sends the request. Before Identify it is nobody, whose key
// owns no session.
func Principal(ctx context.Context) auth.Principal {
	if r := requestOf(ctx); r != nil {
		return r.principal
	}
	return auth.Principal{}
}

// generationOf is the generation of an authenticator's keys, zero if it has none.
func generationOf(by auth.Authenticator) uint64 {
	if keys, ok := by.(auth.Generational); ok {
		return keys.Generation()
	}
	return 0
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
	before := requestOf(r.Context())
	if before == nil || before.by == nil {
		return auth.Principal{}, errNotConfirmed
	}
	// The same keys say the same of the same header; a token's time may be over.
	if before.generation != 0 && !before.principal.Verifier && before.generation == generationOf(before.by) {
		return before.principal, nil
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
