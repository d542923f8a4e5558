// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"net/http"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/peer"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// ServeForwarded implements peer.Handler: it serves what a client sent to another
// replica, which has judged name, origin and credentials. The answer's log lines
// and its X-Request-Id are those of the request there.
func (h *Handler) ServeForwarded(w http.ResponseWriter, r *http.Request, f peer.Forwarded) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		transport.MarkForwarded(r.Context())
		r, serve := h.endpoint(r)
		if serve == nil {
			h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusNotFound, Code: "not_found", Message: "the endpoints are /mcp and /sse"})
			return
		}
		if _, err := transport.Identify(r, vouched{h, f.Principal}); err != nil {
			// Either side may be behind the other with its Secrets for a moment. What
			// the caller had here is gone if it is the other.
			h.Core.Refuse(w, r, transport.Refusal{
				Status: http.StatusServiceUnavailable, Code: "credentials_differ", RetryAfter: time.Second, Close: r.ContentLength != 0,
				Message: "the replica that has this session does not know the caller; try again",
			})
			return
		}
		serve(w, r)
	})
	h.identify(next, w, r, requestID(f.RequestID))
}

// vouched stands for the credentials that a peer has seen.
type vouched struct {
	handler   *Handler
	principal auth.Principal
}

// Authenticate implements auth.Authenticator.
func (v vouched) Authenticate(*http.Request) (auth.Principal, error) {
	return v.handler.Vouch(v.principal)
}

// Generation implements auth.Generational: the rules are those of the handler.
func (v vouched) Generation() uint64 {
	if keys, ok := v.handler.Auth.(auth.Generational); ok {
		return keys.Generation()
	}
	return 0
}
