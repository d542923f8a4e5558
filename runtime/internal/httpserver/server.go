// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpserver is the way from a connection to a transport: limits of the
// server, the chain that every request passes, and the endpoints. One concern a
// file.
package httpserver

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/internal/transport/sse"
	"fairlead.dev/fairlead/runtime/internal/transport/stateless"
	"fairlead.dev/fairlead/runtime/internal/transport/streamable"
)

// The bounds of a connection.
const (
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is longer than that of load balancers in front (GCLB 600 s),
	// so that it is they who close first.
	idleTimeout    = 620 * time.Second
	maxHeaderBytes = 32 << 10
)

// NewServer makes a server without a write timeout, which would cut streams:
// every write has a deadline of its own. base ends what the requests run.
func NewServer(base context.Context, h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
}

// Router serves requests of sessions that live on other replicas; *peer.Links is
// one.
type Router interface {
	// Route serves an authenticated request for an endpoint's own path that names
	// the session with an id, and reports whether it did. body is what was read of
	// it already, if anything.
	Route(w http.ResponseWriter, r *http.Request, id string, body []byte) (handled bool)
}

// Options are what a Handler needs. All are required but InFlight, and Router and
// Vouch where there are no other replicas.
type Options struct {
	Core       *transport.Core
	SSE        *sse.Transport
	Streamable *streamable.Transport
	Stateless  *stateless.Transport
	Auth       auth.Authenticator
	Logger     *slog.Logger
	Access     Access
	// Router knows the sessions of other replicas.
	Router Router
	// Vouch gives a principal whom another replica has let in as it is known here.
	Vouch func(auth.Principal) (auth.Principal, error)
	// InFlight is told of each request that begins (1) or ends (-1), with its call if
	// that outlives it.
	InFlight func(delta int)
}

// Handler serves the clients' port. It is safe for concurrent use.
type Handler struct {
	Options
	access  atomic.Pointer[access]
	running atomic.Int64 // requests that are being answered
	ended   func()       // counts one less, made once so that a request allocates nothing
	chain   http.Handler
}

// New makes a Handler.
func New(o Options) *Handler {
	h := &Handler{Options: o}
	h.ended = func() { h.count(-1) }
	h.Configure(o.Access)
	var next http.Handler = http.HandlerFunc(h.route)
	for _, wrap := range []func(http.Handler) http.Handler{h.bounded, h.admitted, h.identified} {
		next = wrap(next)
	}
	h.chain = next
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.chain.ServeHTTP(w, r) }

// Configure takes a new configuration for requests from now on.
func (h *Handler) Configure(a Access) { h.access.Store(newAccess(a)) }

func (h *Handler) count(delta int) {
	h.running.Add(int64(delta))
	if h.InFlight != nil {
		h.InFlight(delta)
	}
}

// quietPeriod is how often Quiet looks.
const quietPeriod = 10 * time.Millisecond

// Quiet waits for a moment in which no request is being answered. It returns
// ctx's error if there is none before ctx ends.
func (h *Handler) Quiet(ctx context.Context) error {
	ticker := time.NewTicker(quietPeriod)
	defer ticker.Stop()
	for h.running.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// bounded bounds how long the rest of a request may take to arrive, also where
// nobody reads it: net/http reads on to reuse the connection.
func (h *Handler) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.Core.Parting() {
			// A client that keeps its connections would still come here when endpoints lead
			// elsewhere.
			w.Header().Set("Connection", "close")
		}
		if r.ContentLength != 0 {
			// Without deadlines there is no connection that could be slow.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.Core.Settings().ReadTimeout))
			if r.Method != http.MethodPost {
				h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusBadRequest, Code: "unexpected_body", Message: "only a POST has a body here", Close: true})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// route finds the endpoint, authenticates and serves.
func (h *Handler) route(w http.ResponseWriter, r *http.Request) {
	r, serve := h.endpoint(r)
	if serve == nil {
		h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusNotFound, Code: "not_found", Message: "the endpoints are /mcp and /sse"})
		return
	}
	principal, err := transport.Identify(r, h.Auth)
	if err != nil {
		h.Core.RefuseCredentials(w, r, err)
		return
	}
	if principal.Verifier && (r.URL.Path != "/mcp" || r.Method != http.MethodPost) {
		h.Core.RefuseForbidden(w, r)
		return
	}
	serve(w, r)
}

// endpoint finds what serves a request, nil if nothing does, and gives the request
// the endpoint's own path: every one is also served below the prefix of the
// exposure.
func (h *Handler) endpoint(r *http.Request) (*http.Request, http.HandlerFunc) {
	if prefix := h.access.Load().prefix; prefix != "" {
		if below, ok := strings.CutPrefix(r.URL.Path, prefix); ok && strings.HasPrefix(below, "/") {
			own := *r.URL
			own.Path = below
			r = r.WithContext(r.Context())
			r.URL = &own
		}
	}
	switch r.URL.Path {
	case "/mcp":
		return r, h.mcp
	case "/sse":
		return r, h.sse
	case "/messages":
		return r, h.messages
	default:
		return r, nil
	}
}

// elsewhere serves what belongs to another replica.
func (h *Handler) elsewhere(w http.ResponseWriter, r *http.Request, body []byte) bool {
	if h.Router == nil || transport.IsForwarded(r.Context()) {
		return false
	}
	id := transport.SessionID(r)
	return id != "" && h.Router.Route(w, r, id, body)
}

func (h *Handler) sse(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !h.elsewhere(w, r, nil) {
		h.SSE.Stream(w, r)
	}
}

func (h *Handler) messages(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !h.elsewhere(w, r, nil) {
		h.SSE.Message(w, r)
	}
}
