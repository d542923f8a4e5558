// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpcall answers calls from an HTTP backend. A request is built from
// the plan, the validated arguments and mounted secrets only: nothing of the
// client's own request, its credential above all, reaches a backend.
package httpcall

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

const (
	// dialTimeout bounds the connection to one backend, the resolution of its
	// name included.
	dialTimeout = 10 * time.Second
	// idleTimeout is how long an idle connection is kept.
	idleTimeout = 90 * time.Second
	// maxHeaderBytes bounds the header of an answer (64 KiB).
	maxHeaderBytes = 64 << 10
)

// Options are what an Executor needs beside its plan.
type Options struct {
	// Tool is the tool's name, for messages.
	Tool string
	// SecretsDir holds <secret>/<key> for headers that come from Secrets.
	SecretsDir string
	// AllowLoopback lets backends be on this machine; never in a cluster.
	AllowLoopback bool
	// MaxConcurrency bounds connections; the caller bounds calls. It is
	// positive.
	MaxConcurrency int
	// MaxResponseSize bounds an answer's body in bytes, decompressed; of an
	// answer that streams, it bounds each event. It is positive.
	MaxResponseSize int64
	// Structured is true when the tool has an output schema: a JSON object then
	// also becomes structured content.
	Structured bool
	// Version is this program's, for User-Agent.
	Version string
	// Held bounds what is held of answers beyond their first 64 KiB; nil: nothing
	// does.
	Held *limit.Bytes
	// Resolver resolves backends' names; nil is the system's.
	Resolver *net.Resolver

	// plain has everything go through net/http, for tests.
	plain bool
}

// Executor asks one tool's backend through a connection pool of its own.
type Executor struct {
	plan      *config.HTTPPlan
	options   Options
	secrets   []*secretHeader
	userAgent string
	transport transport
	closed    atomic.Bool
}

// New returns an Executor for plan. Nothing is dialed and no secret is read
// before the first call.
func New(plan *config.HTTPPlan, o Options) *Executor {
	e := &Executor{
		plan: plan, options: o, userAgent: "fairlead/" + o.Version,
		transport: newTransport(plan, o),
	}
	for _, source := range plan.HeadersFrom {
		e.secrets = append(e.secrets, &secretHeader{source: source, secretsDir: o.SecretsDir})
	}
	return e
}

// Streams implements tool.Streamer.
func (e *Executor) Streams() bool { return e.plan.Stream != "" }

// newTransport returns the pool of one tool: as many idle connections as calls,
// so that none is dialed twice, no proxy from the environment, and every dial
// guarded.
func newTransport(plan *config.HTTPPlan, o Options) transport {
	g := newGuard(plan.Network, o.AllowLoopback, os.Getenv("KUBERNETES_SERVICE_HOST"))
	dialer := &net.Dialer{
		Timeout: dialTimeout, Resolver: o.Resolver, Control: g.control,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
	}
	dial, buffer := dialer.DialContext, 0
	if plan.Stream != "" {
		dial, buffer = narrow(dial), streamBuffer
	}
	plain := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           o.MaxConcurrency,
		MaxIdleConnsPerHost:    o.MaxConcurrency,
		MaxConnsPerHost:        o.MaxConcurrency,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// A compressed stream would arrive in lumps.
		DisableCompression: plan.Stream != "",
		ReadBufferSize:     buffer,
	}
	if o.plain {
		return plain
	}
	return &lean{plain: plain, dial: dial, idle: idleConns{limit: o.MaxConcurrency}, unpack: plan.Stream == ""}
}

// streamWindow is how much the kernel takes from a backend that streams before its
// events are read, in bytes; Linux doubles it for its own needs. Left alone it grows
// to megabytes for a client that does not keep up.
const streamWindow = 32 << 10

// streamBuffer is for a burst of events, in bytes: twice what net/http takes.
const streamBuffer = 8 << 10

// narrow bounds what the kernel holds for a connection that nobody reads from.
func narrow(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(streamWindow) // Without it more is held, nothing else.
		}
		return conn, err
	}
}

// Close closes the idle connections. Calls that still run end normally, and
// their connections with them.
func (e *Executor) Close() {
	e.closed.Store(true)
	e.transport.CloseIdleConnections()
}

// Run implements tool.Executor. Answers with a status of 400 or more, and
// redirects, are results with IsError; what keeps the answer from coming is an
// error.
func (e *Executor) Run(ctx context.Context, call tool.Call, sink tool.Sink) (tool.Result, error) {
	request, secrets, err := e.request(ctx, call)
	if err != nil {
		return tool.Result{}, err
	}
	var timer *stopwatch
	if call.Trace {
		timer = newStopwatch(request, e.plan.HeadersFrom)
		request = request.WithContext(timer.attach(ctx))
	}
	result, err := e.exchange(request, secrets, timer, sink)
	if e.closed.Load() {
		e.transport.CloseIdleConnections()
	}
	if timer == nil {
		return result, err
	}
	trace := timer.stop()
	if err != nil {
		return tool.Result{}, withTrace(err, trace)
	}
	result.Trace = trace
	return result, nil
}

// exchange sends the request and reads the answer.
func (e *Executor) exchange(request *http.Request, secrets redactor, timer *stopwatch, sink tool.Sink) (tool.Result, error) {
	// RoundTrip, not a Client: it follows no redirect and keeps no cookie.
	response, err := e.transport.RoundTrip(request)
	if err != nil {
		return tool.Result{}, e.unreachable(err, secrets)
	}
	defer response.Body.Close()
	a := &answer{executor: e, response: response, body: &countingReader{from: response.Body}, secrets: secrets}
	if timer != nil {
		defer func() { timer.answered(response.StatusCode, a.body.count) }()
	}
	return a.result(request.Context(), sink)
}

// request renders the request of a call; secrets are what must never be
// shown.
func (e *Executor) request(ctx context.Context, call tool.Call) (request *http.Request, secrets redactor, err error) {
	rendered, err := e.plan.Render(tool.Vars(call))
	if err != nil {
		// It is the arguments that do not fit, which is for the caller to mend.
		refused := e.fail("failed to build the request: "+err.Error(), nil)
		refused.Outcome = tool.OutcomeToolError
		return nil, nil, refused
	}
	header := rendered.Header
	if header == nil {
		header = make(http.Header, 4)
	}
	for _, h := range e.secrets {
		value, err := h.read()
		if err != nil {
			return nil, nil, e.fail(err.Error(), nil)
		}
		header.Set(h.source.Name, h.source.Prefix+value.text)
		secrets = append(secrets, value.spellings...)
	}
	setDefault(header, "User-Agent", e.userAgent)
	setDefault(header, "Accept", accepts(e.plan.Stream))
	request = (&http.Request{
		Method: rendered.Method, URL: rendered.URL, Header: header, Host: rendered.URL.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if rendered.Body != nil {
		// GetBody lets the transport send it again when a kept connection
		// turned out to be closed before anything was read.
		request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(rendered.Body)), nil }
		request.Body, _ = request.GetBody()
		request.ContentLength = int64(len(rendered.Body))
	}
	return request, secrets, nil
}

// setDefault sets a header that the plan does not set.
func setDefault(h http.Header, name, value string) {
	if _, ok := h[name]; !ok {
		h[name] = []string{value}
	}
}

// accepts is the Accept header for a kind of stream.
func accepts(stream string) string {
	switch stream {
	case config.StreamSSE:
		return "text/event-stream, application/json;q=0.9, */*;q=0.5"
	case config.StreamNDJSON:
		return "application/x-ndjson, application/json;q=0.9, */*;q=0.5"
	default:
		return "application/json, */*;q=0.8"
	}
}

// fail is an error that names the tool; message is safe for clients, err is for
// logs.
func (e *Executor) fail(message string, err error) *tool.Error {
	return &tool.Error{Message: fmt.Sprintf("tool %q: %s", e.options.Tool, message), Err: err}
}

// countingReader counts what is read through it.
type countingReader struct {
	from  io.Reader
	count int64
}

// Read implements io.Reader.
func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.count += int64(n)
	return n, err
}
