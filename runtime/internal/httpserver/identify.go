// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"bufio"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"fairlead.dev/fairlead/runtime/internal/transport"
)

// maxRequestID bounds the ids that are taken from clients, in bytes.
const maxRequestID = 64

// plain are the characters that an id is made of.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

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

// Hijack notes what a stream that takes the connection over begins with.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusOK
	}
	return conn, buffered, err
}

// Unwrap gives http.ResponseController the deadlines and flushes below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// identified is the outermost of the chain: it gives the request an id, which
// log lines in its course name, keeps a panic from ending the process, and logs.
func (h *Handler) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		h.identify(next, writer, r, requestID(r.Header.Get("X-Request-Id")))
	})
}

func (h *Handler) identify(next http.Handler, writer http.ResponseWriter, r *http.Request, id string) {
	w := &statusWriter{ResponseWriter: writer}
	head := w.Header()
	head["X-Request-Id"] = []string{id}
	head["X-Content-Type-Options"] = noSniff
	head["Referrer-Policy"] = noReferrer
	r = r.WithContext(transport.WithRequest(r.Context(), id, transport.SessionID(r)))
	transport.OnEnd(r, h.ended)
	h.count(1)
	defer transport.End(r)
	defer h.done(w, r, time.Now())
	next.ServeHTTP(w, r)
}

// done is deferred: it answers for a handler that panicked, or ends its
// connection if the answer had begun.
func (h *Handler) done(w *statusWriter, r *http.Request, began time.Time) {
	cause, ctx := recover(), r.Context() //nolint:revive // done is the function that is deferred.
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	if cause != nil {
		h.Logger.ErrorContext(ctx, "Recovered from a panic", "cause", cause, "stack", string(debug.Stack()))
		if w.status != 0 {
			panic(http.ErrAbortHandler)
		}
		h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusInternalServerError, Code: "internal_error", Message: "something went wrong; the log of the server has more under this X-Request-Id", Close: true})
	}
	if h.Logger.Enabled(ctx, slog.LevelDebug) {
		// The query may hold a session id, the path cannot.
		h.Logger.DebugContext(ctx, "Answered a request", "method", r.Method, "path", r.URL.Path, "status", w.status,
			"seconds", time.Since(began).Seconds())
	}
}

// Values of headers that every answer has: net/http copies them, and nobody
// changes them in place.
var (
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
)

// requestID is the client's id if it is fit for logs, else a new one.
func requestID(given string) string {
	if len(given) > maxRequestID || strings.Trim(given, plain) != "" || given == "" {
		return newID()
	}
	return given
}

// newID makes an id of 125 random bits in 25 characters. It tells requests
// apart and opens nothing, so that it need not be hard to guess.
func newID() string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	var id [25]byte
	var bits uint64
	for i := range id {
		if i%12 == 0 {
			bits = rand.Uint64() //nolint:gosec // G404: see above.
		}
		id[i] = digits[bits%32]
		bits /= 32
	}
	return string(id[:])
}
