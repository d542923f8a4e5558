// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mux

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions are what Serve needs.
type ServerOptions struct {
	Handler http.Handler
	// TLS is what requests have as theirs.
	TLS    *tls.ConnectionState
	Logger *slog.Logger
	// Retire, when it is closed, lets no more requests begin; the other side then
	// closes the connection once it has the answers to those that have. May be nil.
	Retire <-chan struct{}
}

// Serve answers the requests of a connection until it ends, or ctx does, and
// returns when all handlers have. Requests have ctx's values, and end with the
// connection, after it: what they still say because of that is not sent.
func Serve(ctx context.Context, c net.Conn, o ServerOptions) {
	conn := newConn(c)
	server := &server{ServerOptions: o, ctx: context.WithoutCancel(ctx), remote: c.RemoteAddr().String(), work: make(chan job), closed: conn.closed}
	conn.began = server.began
	stop := context.AfterFunc(ctx, func() { conn.fail(ErrClosed) })
	defer stop()
	var writing sync.WaitGroup
	writing.Go(conn.write)
	writing.Go(func() { conn.retire(o.Retire) })
	conn.read()
	writing.Wait()
	server.handlers.Wait()
}

// retire says that no more requests begin, once that is so. It ends with the
// connection.
func (c *conn) retire(when <-chan struct{}) {
	select {
	case <-when:
		c.leave()
		// On a connection that has ended there is nobody to tell.
		_ = c.enqueue(appendFrameHead(make([]byte, 0, frameHead), kindAway, 0, 0))
	case <-c.closed:
	}
}

type server struct {
	ServerOptions
	ctx      context.Context //nolint:containedctx // It is the connection's.
	remote   string
	handlers sync.WaitGroup
	work     chan job
	closed   <-chan struct{}
	idle     atomic.Int32 // handlers' goroutines that wait for work
}

// job is one request.
type job struct {
	w      *responseWriter
	r      *http.Request
	cancel context.CancelFunc
}

// maxIdle bounds the goroutines that wait for the next request: their stacks have
// grown already.
const maxIdle = 16

// began runs the handler of a request.
func (v *server) began(s *stream, h head) {
	ctx, cancel := context.WithCancel(v.ctx)
	s.mu.Lock()
	s.cancel = cancel
	if s.err != nil {
		cancel()
	}
	s.mu.Unlock()
	path, query, _ := strings.Cut(h.second, "?")
	length := int64(-1)
	if n, err := strconv.ParseInt(h.fields.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		length = n
	}
	w := &responseWriter{s: s, header: make(http.Header, 8)}
	r := (&http.Request{
		Method: h.first, URL: &url.URL{Path: path, RawQuery: query}, RequestURI: h.second,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h.fields, Host: "peer", RemoteAddr: v.remote,
		Body: body{w}, ContentLength: length, TLS: v.TLS,
	}).WithContext(ctx)
	j := job{w: w, r: r, cancel: cancel}
	select {
	case v.work <- j:
	default:
		v.handlers.Go(func() { v.handle(j) })
	}
}

// handle serves one request after the other.
func (v *server) handle(j job) {
	for {
		v.serve(j.w, j.r)
		j.cancel()
		j = job{}
		if v.idle.Add(1) > maxIdle {
			v.idle.Add(-1)
			return
		}
		select {
		case j = <-v.work:
			v.idle.Add(-1)
		case <-v.closed:
			return
		}
	}
}

func (v *server) serve(w *responseWriter, r *http.Request) {
	defer w.s.c.remove(w.s)
	defer w.release()
	defer v.recovered(w, r)
	v.Handler.ServeHTTP(w, r)
	if w.send(true) != nil {
		w.s.c.reset(w.s)
	}
}

// recovered is deferred: it ends the answer of a handler that panicked.
func (v *server) recovered(w *responseWriter, r *http.Request) {
	cause := recover() //nolint:revive // It is the function that is deferred.
	if cause == nil {
		return
	}
	if err, ok := cause.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		v.Logger.ErrorContext(r.Context(), "Recovered from a panic", "cause", cause, "stack", string(debug.Stack()))
	}
	w.s.c.reset(w.s)
}

// body is a request's.
type body struct {
	w *responseWriter
}

// Read implements io.Reader.
func (b body) Read(p []byte) (int, error) { return b.w.s.readUntil(b.w.readDeadline, p) }

// Close implements io.Closer.
func (body) Close() error { return nil }

// maxBuffered is how much of an answer waits for a flush, in bytes.
const maxBuffered = 8 << 10

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// responseWriter is used by one handler at a time, as every http.ResponseWriter.
type responseWriter struct {
	s       *stream
	header  http.Header
	status  int
	sent    bool
	pending *bytes.Buffer
	err     error // why a part of the answer was not sent

	readDeadline, writeDeadline time.Time
}

// Header implements http.ResponseWriter.
func (w *responseWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.pending == nil {
		w.pending, _ = answers.Get().(*bytes.Buffer)
	}
	w.pending.Write(b)
	if w.pending.Len() < maxBuffered {
		return len(b), nil
	}
	return len(b), w.send(false)
}

// FlushError is for http.ResponseController.
func (w *responseWriter) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.send(false)
}

// SetReadDeadline is for http.ResponseController; it bounds the reads that follow.
func (w *responseWriter) SetReadDeadline(t time.Time) error {
	w.readDeadline = t
	return nil
}

// SetWriteDeadline is for http.ResponseController; it bounds the writes that follow.
func (w *responseWriter) SetWriteDeadline(t time.Time) error {
	w.writeDeadline = t
	return nil
}

// send sends what is pending. After an error the answer cannot go on.
func (w *responseWriter) send(end bool) error {
	if w.err == nil {
		w.err = w.trySend(end)
	}
	return w.err
}

func (w *responseWriter) trySend(end bool) error {
	var b []byte
	if w.pending != nil {
		b = w.pending.Bytes()
		defer w.pending.Reset()
	}
	if !w.sent {
		w.sent = true
		w.WriteHeader(http.StatusOK)
		rest, err := w.s.sendHead(w.writeDeadline, &head{first: strconv.Itoa(w.status), fields: w.header}, b, end)
		if err != nil || len(rest) == 0 {
			return err
		}
		b = rest
	}
	if len(b) == 0 && !end {
		return w.s.failed()
	}
	return w.s.sendBody(w.writeDeadline, b, end)
}

func (w *responseWriter) release() {
	if w.pending != nil && w.pending.Cap() <= maxSpare {
		w.pending.Reset()
		answers.Put(w.pending)
	}
	w.pending = nil
}

// failed is why nothing more can be sent.
func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func uvarint(b []byte, n int) []byte {
	return binary.AppendUvarint(b, uint64(n)) //nolint:gosec // G115: a length.
}
