// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"log/slog"

	"fairlead.dev/fairlead/runtime/internal/auth"
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

type principalKey struct{}

// WithPrincipal notes who sends a request. Of a request that WithRequest knows
// it also notes the name for log lines, those with the context before included,
// and must come before that context is shared.
func WithPrincipal(ctx context.Context, p auth.Principal) context.Context {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		r.principal = p.Name
	}
	return context.WithValue(ctx, principalKey{}, p)
}

// Principal is who sends the request. Without WithPrincipal it is nobody, whose
// key owns no session.
func Principal(ctx context.Context) auth.Principal {
	p, _ := ctx.Value(principalKey{}).(auth.Principal)
	return p
}
