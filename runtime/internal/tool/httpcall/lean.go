// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
)

const (
	// maxLeanBody bounds the bodies that are sent before the answer is read, in
	// bytes (16 KiB): with larger ones, a backend that answers before it has read
	// all and its caller could wait for each other.
	maxLeanBody = 16 << 10
	// maxLeanRequest bounds such a request with its head, in bytes (32 KiB).
	maxLeanRequest = 32 << 10
)

// transport sends requests and keeps connections.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// lean asks backends by HTTP/1.1 over plain TCP on the goroutine of the call, which
// net/http does with two more for each connection and buffers for both. While a
// call waits it holds one buffer to read with. What is no small request of that
// kind goes through plain, and what net/http would refuse too. Responses and
// their bodies are for one goroutine. It is safe for concurrent use; how many
// connections there are, is bounded by how many calls run at once.
type lean struct {
	plain *http.Transport
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	idle  idleConns
	// unpack is whether answers that are compressed are unpacked.
	unpack bool
}

// CloseIdleConnections implements transport.
func (l *lean) CloseIdleConnections() {
	l.idle.close()
	l.plain.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper. errors.Is finds the context's error in
// what a call returns whose context has ended, also in the middle of the body. Only
// the response of a redirect has its Request.
func (l *lean) RoundTrip(request *http.Request) (*http.Response, error) {
	for fresh := false; ; fresh = true {
		if !suits(request) {
			return l.plain.RoundTrip(request)
		}
		message, err := render(request)
		if err != nil {
			return nil, fmt.Errorf("failed to write the request: %w", err)
		}
		large := message.Len() > maxLeanRequest
		if !large {
			response, broken, err := l.attempt(request, message, fresh)
			if err != nil && !broken {
				return nil, err
			}
			if err == nil {
				if l.unpack {
					unpack(request, response)
				}
				return response, nil
			}
		}
		if request, err = rewound(request); err != nil {
			return nil, err
		}
		if large {
			return l.plain.RoundTrip(request)
		}
	}
}

// attempt sends a message once and reads the head of its answer. broken says that
// it is to be sent again, over a fresh connection: the one that was kept from
// before broke, and sending again does no harm.
func (l *lean) attempt(request *http.Request, message *bytes.Buffer, fresh bool) (response *http.Response, broken bool, err error) {
	ctx := request.Context()
	c, err := l.connect(request, fresh)
	if err != nil {
		putMessage(message)
		return nil, false, err
	}
	response, err = c.exchange(request, message)
	if err == nil {
		return response, false, nil
	}
	if why := ended(ctx); why != nil {
		return nil, false, why
	}
	return nil, c.reused && !c.heard && (!c.wrote || replayable(request)), err
}

// connect takes a connection that was kept, unless it must be a fresh one, or dials.
func (l *lean) connect(request *http.Request, fresh bool) (*conn, error) {
	ctx, host := request.Context(), request.URL.Host
	if why := ended(ctx); why != nil {
		return nil, why
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(host)
	}
	var c *conn
	if !fresh {
		c = l.idle.take(host)
	}
	if c == nil {
		port := request.URL.Port()
		if port == "" {
			port = "80"
		}
		dialed, err := l.dial(ctx, "tcp", net.JoinHostPort(request.URL.Hostname(), port))
		if err == nil {
			c, err = newConn(dialed, host, l)
		}
		if err != nil {
			if why := ended(ctx); why != nil {
				return nil, why
			}
			return nil, err
		}
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn, Reused: c.reused, WasIdle: c.reused})
	}
	return c, nil
}

// ended is why a context has ended: its error, and its cause if that says more; nil
// if it has not.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// messages are for requests until they are sent.
var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putMessage(message *bytes.Buffer) {
	if message.Cap() <= 2*maxLeanRequest {
		message.Reset()
		messages.Put(message)
	}
}

// render writes a request to a message, for putMessage.
func render(request *http.Request) (*bytes.Buffer, error) {
	message, _ := messages.Get().(*bytes.Buffer)
	if err := request.Write(message); err != nil {
		putMessage(message)
		return nil, err
	}
	return message, nil
}

// rewound is a request whose body can be read once more.
func rewound(request *http.Request) (*http.Request, error) {
	if request.Body == nil {
		return request, nil
	}
	body, err := request.GetBody()
	if err != nil {
		return nil, fmt.Errorf("failed to read the request's body again: %w", err)
	}
	again := request.WithContext(request.Context())
	again.Body = body
	return again, nil
}

// replayable is net/http's judgement of what may be sent again although the
// backend may have read it (RFC 9110 §9.2.2, without what only a client knows).
func replayable(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return request.Header["Idempotency-Key"] != nil || request.Header["X-Idempotency-Key"] != nil
}

// suits reports whether a request is an ordinary one.
func suits(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	if r.URL == nil || r.URL.Scheme != "http" || !ordinary(r.URL.Host, ".-_:[]") || r.Close || r.TransferEncoding != nil || r.Trailer != nil {
		return false
	}
	small := r.Body == nil || r.ContentLength > 0 && r.ContentLength <= maxLeanBody && r.GetBody != nil
	return canProbe && small && r.Header != nil && sendable(r.Header)
}

// sendable reports whether a header can be sent as it is, without looking too
// closely.
func sendable(header http.Header) bool {
	for name, values := range header {
		if !ordinary(name, "-_") {
			return false
		}
		for _, value := range values {
			for i := range len(value) {
				if value[i] < ' ' && value[i] != '\t' || value[i] == 0x7f {
					return false
				}
			}
		}
	}
	return true
}

// ordinary reports whether a name has only letters, digits and those of marks.
func ordinary(name, marks string) bool {
	for i := range len(name) {
		c := name[i]
		if lower := c | 0x20; (lower < 'a' || lower > 'z') && (c < '0' || c > '9') && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return name != ""
}
