// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Client is the side of a connection that asks. It is safe for concurrent use.
type Client struct {
	c       *conn
	running sync.WaitGroup
}

// NewClient takes a connection over, which is ready for use.
func NewClient(c net.Conn) *Client {
	client := &Client{c: newConn(c)}
	client.running.Go(client.c.read)
	client.running.Go(client.c.write)
	return client
}

// Close ends the connection and all requests on it.
func (c *Client) Close() { c.c.fail(ErrClosed) }

// Wait waits until a connection that has ended holds nothing any more.
func (c *Client) Wait() { c.running.Wait() }

// Closed is closed when the connection has ended.
func (c *Client) Closed() <-chan struct{} { return c.c.closed }

// Away reports whether the other side takes no more requests.
func (c *Client) Away() bool { return c.c.isAway() }

// Busy is how many requests run.
func (c *Client) Busy() int { return c.c.busy() }

// Request is what is asked.
type Request struct {
	Method string
	// Target is the path, with the query if there is one.
	Target string
	// Header's names are in canonical form.
	Header http.Header
	Body   []byte
}

// Response is the answer. Its body must be read to its end, or Close called.
type Response struct {
	Status int
	Header http.Header
	s      *stream
	stop   func() bool
}

// Read reads the body. After a deadline of the connection's or the other side's end
// the error is not io.EOF.
func (r *Response) Read(p []byte) (int, error) { return r.s.readUntil(time.Time{}, p) }

// Close ends the request if it has not ended.
func (r *Response) Close() {
	r.stop()
	r.s.finish()
}

// finish forgets the stream, and tells the other side if it may go on there: what
// was said of that when the request's context ended may have overtaken its head.
func (s *stream) finish() {
	s.c.remove(s)
	s.mu.Lock()
	over := s.end || errors.Is(s.err, ErrReset) || errors.Is(s.err, ErrAway)
	s.mu.Unlock()
	if !over {
		s.c.reset(s)
	}
}

// buffers are for heads on their way out.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

// Do sends a request and returns when the head of the answer has come. A handler
// reads the whole request before it answers, or the answer is short. The request
// ends with ctx. sent tells that something of it may have left.
func (c *Client) Do(ctx context.Context, q *Request) (response *Response, sent bool, err error) {
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	s, err := c.c.open()
	if err != nil {
		return nil, false, err
	}
	stop := context.AfterFunc(ctx, func() {
		s.broken(context.Cause(ctx))
		s.c.reset(s)
	})
	h, err := s.ask(q)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // The answer is to having given up.
	}
	if err != nil {
		stop()
		s.finish()
		return nil, !errors.Is(err, ErrAway), err
	}
	status, err := strconv.Atoi(h.first)
	if err != nil || status < 200 || status > 999 {
		stop()
		s.finish()
		return nil, true, fmt.Errorf("%w: status %q", errMalformed, h.first)
	}
	return &Response{Status: status, Header: h.fields, s: s, stop: stop}, true, nil
}

func (s *stream) ask(q *Request) (*head, error) {
	rest, err := s.sendHead(time.Time{}, &head{first: q.Method, second: q.Target, fields: q.Header}, q.Body, true)
	if err == nil && len(rest) > 0 {
		err = s.sendBody(time.Time{}, rest, true)
	}
	if err != nil && err != errAnswered { //nolint:errorlint // It is never wrapped.
		return nil, err
	}
	for {
		s.mu.Lock()
		h, err := s.head, s.err
		var changed <-chan struct{}
		if h == nil && err == nil {
			changed = s.waitLocked()
		}
		s.mu.Unlock()
		switch {
		case h != nil:
			return h, nil
		case err != nil:
			return nil, err
		}
		<-changed
	}
}

// sendHead sends a head and as much of the body as fits into one frame, and returns
// the rest.
func (s *stream) sendHead(deadline time.Time, h *head, b []byte, end bool) (rest []byte, err error) {
	if h.count() > maxFields {
		return nil, fmt.Errorf("the head has more than %d fields", maxFields)
	}
	if space := s.c.full(); space != nil {
		if err := await(deadline, space); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	n := min(len(b), maxData, s.window)
	s.window -= n
	s.mu.Unlock()
	headBuf, _ := buffers.Get().(*[]byte)
	encoded := h.append((*headBuf)[:0])
	*headBuf = encoded
	defer buffers.Put(headBuf)
	if len(encoded) > maxHead {
		return nil, fmt.Errorf("the head is larger than %d bytes", maxHead)
	}
	k := kindHead
	if end && n == len(b) {
		k |= last
	}
	var prefix [frameHead + 10]byte
	length := uvarint(prefix[frameHead:frameHead], len(encoded))
	appendFrameHead(prefix[:0], k, s.id, len(length)+len(encoded)+n)
	return b[n:], s.c.enqueue(prefix[:frameHead+len(length)], encoded, b[:n])
}
