// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire is an HTTP/1.1 client on bare connections, so that the client of
// a benchmark stays cheap beside the server that it measures.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// readBuffer is small: thousands of connections are open at once.
const readBuffer = 2048

// smallWindow is the receive buffer of a client that will not read, in bytes, so
// that what is sent to it stays with the server.
const smallWindow = 16 << 10

// Header is what requests say beside the usual: whole lines, each with its end.
type Header string

// Line is a header of one line.
func Line(name, value string) Header { return Header(name + ": " + value + "\r\n") }

// Conn is a keep-alive connection to one server. It serves one request at a
// time.
type Conn struct {
	net.Conn

	// Key is the API key of every request.
	Key    string
	addr   string
	reader *bufio.Reader
	out    []byte
}

// Head is the start of an answer.
type Head struct {
	Status  int
	Session string
	// Close says that the connection ends with the answer.
	Close   bool
	chunked bool
	length  int
}

// RefusedError means that a request was refused.
type RefusedError struct {
	Status int
	Body   string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Dial connects to addr.
func Dial(ctx context.Context, addr, key string) (*Conn, error) {
	return dial(ctx, net.Dialer{}, addr, key)
}

// DialNarrow is Dial for a client that will not read.
func DialNarrow(ctx context.Context, addr, key string) (*Conn, error) {
	narrow := func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, smallWindow)
		})
		return errors.Join(failed, err)
	}
	return dial(ctx, net.Dialer{Control: narrow}, addr, key)
}

func dial(ctx context.Context, d net.Dialer, addr, key string) (*Conn, error) {
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c, Key: key, addr: addr, reader: bufio.NewReaderSize(c, readBuffer)}, nil
}

// Abandon resets the connection. That leaves nothing in TIME_WAIT, of which a
// hundred thousand would use up the ports of the client.
func (c *Conn) Abandon() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // Then it ends as usual.
	}
	return c.Close()
}

// Post sends a JSON-RPC message and reads the whole answer into body, whose
// memory it reuses.
func (c *Conn) Post(path string, header Header, message, body []byte) (Head, []byte, error) {
	if err := c.Request(path, header, message); err != nil {
		return Head{}, nil, err
	}
	head, err := c.head()
	if err != nil {
		return head, nil, err
	}
	if head.chunked {
		body, err = c.chunks(body[:0])
		return head, body, err
	}
	if head.length < 0 {
		return head, nil, fmt.Errorf("an answer of status %d without a length", head.Status)
	}
	body = slices.Grow(body[:0], head.length)[:head.length]
	_, err = io.ReadFull(c.reader, body)
	return head, body, err
}

// Request sends a JSON-RPC message whose answer nobody reads yet.
func (c *Conn) Request(path string, header Header, message []byte) error {
	c.begin("POST", path, header)
	c.out = append(c.out, "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(message)), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, message...)
	_, err := c.Write(c.out)
	return err
}

// Get opens an event stream.
func (c *Conn) Get(path string, header Header) (*Stream, error) {
	c.begin("GET", path, header)
	c.out = append(c.out, "Accept: text/event-stream\r\n\r\n"...)
	if _, err := c.Write(c.out); err != nil {
		return nil, err
	}
	head, err := c.head()
	if err != nil {
		return nil, err
	}
	if head.Status != 200 {
		return nil, &RefusedError{Status: head.Status, Body: "GET " + path}
	}
	c.out = nil
	s := &Stream{Conn: c, lines: c.reader}
	if head.chunked {
		s.lines = bufio.NewReaderSize(httputil.NewChunkedReader(c.reader), readBuffer)
	}
	return s, nil
}

func (c *Conn) begin(method, path string, header Header) {
	c.out = append(c.out[:0], method...)
	c.out = append(c.out, ' ')
	c.out = append(c.out, path...)
	c.out = append(c.out, " HTTP/1.1\r\nHost: "...)
	c.out = append(c.out, c.addr...)
	c.out = append(c.out, "\r\nAuthorization: Bearer "...)
	c.out = append(c.out, c.Key...)
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, header...)
}

func (c *Conn) head() (Head, error) {
	head := Head{length: -1}
	line, err := c.line()
	if err != nil {
		return head, err
	}
	if len(line) < 12 {
		return head, fmt.Errorf("no status line: %q", line)
	}
	if head.Status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return head, err
	}
	if head.Status == 202 || head.Status == 204 {
		head.length = 0
	}
	for {
		if line, err = c.line(); err != nil || len(line) == 0 {
			return head, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case strings.EqualFold(string(name), "content-length"):
			if head.length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return head, err
			}
		case strings.EqualFold(string(name), "mcp-session-id"):
			head.Session = string(bytes.TrimSpace(value))
		case strings.EqualFold(string(name), "transfer-encoding"):
			head.chunked = true
		case strings.EqualFold(string(name), "connection"):
			head.Close = strings.EqualFold(string(bytes.TrimSpace(value)), "close")
		}
	}
}

func (c *Conn) line() ([]byte, error) {
	line, err := c.reader.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

func (c *Conn) chunks(body []byte) ([]byte, error) {
	for {
		line, err := c.line()
		if err != nil {
			return body, err
		}
		size, err := strconv.ParseInt(string(line), 16, 32)
		if err != nil {
			return body, err
		}
		at := len(body)
		body = slices.Grow(body, int(size)+2)[:at+int(size)+2]
		if _, err := io.ReadFull(c.reader, body[at:]); err != nil {
			return body, err
		}
		body = body[:at+int(size)]
		if size == 0 {
			return body, nil
		}
	}
}

// Stream is an open event stream.
type Stream struct {
	*Conn

	lines *bufio.Reader
}

// Next returns the data of the next event, of which it skips what does not fit
// the buffer. It is valid until the next call.
func (s *Stream) Next() ([]byte, error) {
	for {
		line, err := s.lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = s.lines.ReadSlice('\n')
		}
		if err != nil {
			return nil, err
		}
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if long {
				return []byte(`{"long":true}`), nil
			}
			return bytes.TrimSpace(data), nil
		}
	}
}
