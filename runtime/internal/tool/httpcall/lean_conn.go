// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
	"time"
)

// errLongHead is what reading a head ends with that has no end.
var errLongHead = fmt.Errorf("the head of the answer has more than %d bytes", maxHeaderBytes)

// readers are for connections while they are read, 4 KiB each.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// conn is a connection to a backend. One call at a time uses it; nobody reads from
// it in between.
type conn struct {
	net.Conn

	way  *lean
	host string
	// raw and probe look whether it is silent, see alive; abort closes it.
	raw    syscall.RawConn
	probe  func(fd uintptr) bool
	silent bool
	abort  func()
	// since is when it was given back, and reused whether that ever was.
	since  time.Time
	reused bool

	// The others are of one exchange: reader is nil before the answer, stop undoes
	// what closes the connection with the call's context, left is how many bytes the
	// head may still have, wrote whether anything was sent, heard whether anything came.
	reader       *bufio.Reader
	stop         func() bool
	left         int64
	wrote, heard bool
}

// newConn takes a connection that was dialed, and closes what it cannot use.
func newConn(dialed net.Conn, host string, way *lean) (*conn, error) {
	c := &conn{Conn: dialed, way: way, host: host}
	c.abort = func() { _ = dialed.Close() } // The other side sees it or not.
	c.probe = c.listen
	source, ok := dialed.(syscall.Conn)
	err := errors.ErrUnsupported
	if ok {
		c.raw, err = source.SyscallConn()
	}
	if err != nil {
		c.abort()
		return nil, fmt.Errorf("failed to reach the descriptor of a connection: %w", err)
	}
	return c, nil
}

// alive reports whether the connection can carry another request: the backend has
// neither closed it nor said anything that nobody asked for. It does not wait.
func (c *conn) alive() bool {
	c.silent = false
	return c.raw.Read(c.probe) == nil && c.silent
}

// exchange sends a message and reads the head of the answer. The end of its body, or
// of the reading, ends the use of the connection, and so does an error. The
// message is given back.
func (c *conn) exchange(request *http.Request, message *bytes.Buffer) (*http.Response, error) {
	c.wrote, c.heard = false, false
	// Closed, and not only given a deadline that has passed: the backend learns of it
	// also while nobody reads. The context bounds the writing and all reading.
	c.stop = context.AfterFunc(request.Context(), c.abort)
	n, err := c.Write(message.Bytes())
	c.wrote = n > 0
	putMessage(message)
	if err != nil {
		c.end(false)
		return nil, fmt.Errorf("failed to send the request: %w", err)
	}
	response, err := c.receive(request)
	if err != nil {
		c.end(false)
		return nil, fmt.Errorf("failed to read the head of the answer: %w", err)
	}
	keep := !response.Close && response.StatusCode >= http.StatusOK
	if response.Body == http.NoBody {
		c.end(keep)
	} else {
		ctx := request.Context()
		response.Body = &leanBody{from: response.Body, conn: c, keep: keep, ended: func() error { return ended(ctx) }}
	}
	if response.StatusCode < 300 || response.StatusCode >= 400 {
		response.Request = nil // Only Location needs it, and the body may take long.
	}
	return response, nil
}

// receive reads the head of the answer, and those that only announce it (RFC 9110
// §15.2) within the same bound.
func (c *conn) receive(request *http.Request) (*http.Response, error) {
	c.left = maxHeaderBytes
	c.reader, _ = readers.Get().(*bufio.Reader)
	c.reader.Reset(c)
	if _, err := c.reader.Peek(1); err != nil {
		return nil, err
	}
	c.heard = true
	if trace := httptrace.ContextClientTrace(request.Context()); trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	for {
		response, err := http.ReadResponse(c.reader, request)
		if err != nil {
			return nil, err
		}
		if code := response.StatusCode; code < 100 || code == http.StatusSwitchingProtocols || code >= http.StatusOK {
			c.left = math.MaxInt64
			return response, nil
		}
	}
}

// Read implements io.Reader for the buffer, within the bound of a head.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongHead
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// end ends the use by one exchange. The connection is kept if keep says so, its
// context has not closed it, and nothing came beyond the answer.
func (c *conn) end(keep bool) {
	keep = c.stop() && keep && c.reader != nil && c.reader.Buffered() == 0
	c.stop = nil
	if c.reader != nil {
		c.reader.Reset(nil)
		readers.Put(c.reader)
		c.reader = nil
	}
	if !keep || !c.way.idle.put(c) {
		c.abort()
	}
}

// leanBody is the body of an answer. It gives the connection back at its end, and
// closes it when it is closed before.
type leanBody struct {
	from io.Reader // nil after the end
	conn *conn
	keep bool
	// ended is why the context has ended, nil if it has not.
	ended func() error
	why   error
}

// Read implements io.Reader.
func (b *leanBody) Read(p []byte) (int, error) {
	if b.from == nil {
		return 0, b.why
	}
	n, err := b.from.Read(p)
	if err == nil {
		return n, nil
	}
	whole := errors.Is(err, io.EOF)
	if why := b.ended(); !whole && why != nil {
		err = why
	}
	b.finish(whole && b.keep, err)
	return n, err
}

// Close implements io.Closer.
func (b *leanBody) Close() error {
	if b.from != nil {
		b.finish(false, http.ErrBodyReadAfterClose)
	}
	return nil
}

func (b *leanBody) finish(keep bool, why error) {
	c := b.conn
	b.from, b.conn, b.ended, b.why = nil, nil, nil, why
	c.end(keep)
}
