// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// maxRequestID bounds the ids that are taken from clients, in bytes.
const maxRequestID = 64

// statusWriter notes what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the deadlines and flushes below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// identified is the outermost of the chain: it gives the request an id, keeps a
// panic from ending the process, and logs.
func (h *Handler) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		w := &statusWriter{ResponseWriter: writer}
		id := requestID(r.Header.Get("X-Request-Id"))
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if h.InFlight != nil {
			h.InFlight(1)
			defer h.InFlight(-1)
		}
		began := time.Now()
		logger := h.Logger.With("requestID", id)
		defer func() {
			h.recovered(w, r, logger, recover()) //nolint:revive // The function that is deferred calls recover.
			if ctx := r.Context(); logger.Enabled(ctx, slog.LevelDebug) {
				// The query may hold a session id, the path cannot.
				logger.DebugContext(ctx, "Answered a request", "method", r.Method, "path", r.URL.Path, "status", w.status,
					"seconds", time.Since(began).Seconds(), "session", h.Core.HashID(transport.SessionID(r)))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// recovered answers for a handler that panicked, or ends its connection if the
// answer had begun.
func (h *Handler) recovered(w *statusWriter, r *http.Request, logger *slog.Logger, cause any) {
	if cause == nil {
		return
	}
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	logger.ErrorContext(r.Context(), "Recovered from a panic", "cause", cause, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusInternalServerError, Code: "internal_error", Message: "something went wrong; the log of the server has more under this X-Request-Id", Close: true})
}

// requestID is the client's id if it is fit for logs, else a new one.
func requestID(given string) string {
	if given == "" || len(given) > maxRequestID || strings.ContainsFunc(given, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')
	}) {
		return strings.ToLower(rand.Text())
	}
	return given
}

// authenticate says who sends the request, or refuses it.
func (h *Handler) authenticate(w http.ResponseWriter, r *http.Request) (auth.Principal, bool) {
	principal, err := h.Auth.Authenticate(r)
	if err == nil {
		return principal, true
	}
	no := transport.Refusal{Status: http.StatusUnauthorized, Code: auth.CodeInvalid, Message: "the credentials could not be checked"}
	if refused := (*auth.Error)(nil); errors.As(err, &refused) {
		no.Status, no.Code, no.Message = refused.Status, refused.Code, refused.Message
		if refused.Challenge != "" {
			w.Header().Set("WWW-Authenticate", refused.Challenge)
		}
	}
	h.Core.Refuse(w, r, no)
	return auth.Principal{}, false
}
