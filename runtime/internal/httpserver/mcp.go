// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"net/http"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/internal/transport/streamable"
)

// mcp serves the endpoint that two eras share.
func (h *Handler) mcp(w http.ResponseWriter, r *http.Request) {
	version := r.Header.Get("Mcp-Protocol-Version")
	switch r.Method {
	case http.MethodPost:
		body, release, ok := h.Core.ReadBody(w, r)
		if !ok {
			return
		}
		h.post(w, r, version, body, release)
	case http.MethodGet, http.MethodDelete:
		switch {
		case engine.EraOf(version, nil) == engine.EraStateless:
			h.Stateless.RefuseMethod(w, r)
		case h.elsewhere(w, r, nil):
		case r.Method == http.MethodGet:
			h.Streamable.Stream(w, r)
		default:
			h.Streamable.Delete(w, r)
		}
	default:
		h.Core.RefuseMethod(w, r, streamable.Methods)
	}
}

// post serves a POST whose body was read, and has that released.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, version string, body []byte, release func()) {
	passed := false // Whoever serves it releases the body.
	defer func() {
		// An answer that breaks off on its way from another replica ends in a panic.
		if !passed {
			release()
		}
	}()
	switch {
	case engine.EraOf(version, body) == engine.EraStateless:
		passed = true
		h.Stateless.Post(w, r, body, release)
	case transport.Principal(r.Context()).Verifier:
		h.Core.RefuseForbidden(w, r)
	case h.elsewhere(w, r, body):
	default:
		passed = true
		h.Streamable.Post(w, r, body, release) //nolint:contextcheck // The request carries its context.
	}
}
