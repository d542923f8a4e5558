// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mux

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// writeTimeout bounds one write: a side that takes nothing for so long is given
	// up.
	writeTimeout = 10 * time.Second
	// maxQueued is from how many queued bytes on bodies wait.
	maxQueued = 1 << 20
	// maxSpare bounds the buffer that is kept between two writes, in bytes.
	maxSpare   = 64 << 10
	readBuffer = 32 << 10
)

// ErrClosed is why requests end on a connection that was closed here.
var ErrClosed = errors.New("the connection was closed")

// ErrAway is why a request was not begun, and will not be: the other side takes no
// more.
var ErrAway = errors.New("the other side takes no more requests")

// conn is what both sides of a connection have in common. It has two goroutines,
// one that reads and one that writes.
type conn struct {
	net net.Conn
	// began serves a request of which the head has come; nil on the side that asks.
	began func(s *stream, h head)

	mu      sync.Mutex // guards what follows; never held across I/O
	streams map[uint32]*stream
	next    uint32
	queue   []byte        // frames that wait to be written
	spare   []byte        // a buffer for the next queue
	space   chan struct{} // closed when the queue was taken; nil if nobody waits
	err     error
	away    bool // no more requests begin

	kick   chan struct{} // has something if the queue has
	closed chan struct{} // closed with err
}

func newConn(c net.Conn) *conn {
	return &conn{net: c, streams: map[uint32]*stream{}, kick: make(chan struct{}, 1), closed: make(chan struct{})}
}

// fail ends the connection and all that runs on it. Only the first call has an
// effect.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	all := c.streams
	c.streams = nil
	// Nobody takes the queue any more.
	c.leaveSpaceLocked()
	c.mu.Unlock()
	close(c.closed)
	_ = c.net.Close()
	for _, s := range all {
		s.broken(err)
	}
}

// enqueue hands frames to the writer.
func (c *conn) enqueue(frames ...[]byte) error {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	for _, f := range frames {
		c.queue = append(c.queue, f...)
	}
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
	return nil
}

// full gives a channel that is closed when there may be room, nil if there is room.
func (c *conn) full() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) < maxQueued || c.err != nil {
		return nil
	}
	if c.space == nil {
		c.space = make(chan struct{})
	}
	return c.space
}

// leaveSpaceLocked lets those look again who wait for room.
func (c *conn) leaveSpaceLocked() {
	if c.space != nil {
		close(c.space)
		c.space = nil
	}
}

// write writes what is queued, all of it at once, until the connection ends. It is
// a goroutine of its own, which the scheduler lets run after those that are ready to
// queue more: under load, many frames share a system call and a record.
func (c *conn) write() {
	for {
		select {
		case <-c.kick:
		case <-c.closed:
			return
		}
		c.mu.Lock()
		b := c.queue
		c.queue, c.spare = c.spare[:0], nil
		c.leaveSpaceLocked()
		c.mu.Unlock()
		err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err == nil {
			_, err = c.net.Write(b)
		}
		if err != nil {
			c.fail(fmt.Errorf("failed to write: %w", err))
			return
		}
		if cap(b) <= maxSpare {
			c.mu.Lock()
			c.spare = b
			c.mu.Unlock()
		}
	}
}

// read takes what the other side sends until the connection ends.
func (c *conn) read() {
	r := bufio.NewReaderSize(c.net, readBuffer)
	var payload []byte
	for {
		err := c.readFrame(r, &payload)
		if err != nil {
			c.fail(fmt.Errorf("failed to read: %w", err))
			return
		}
	}
}

func (c *conn) readFrame(r *bufio.Reader, buf *[]byte) error {
	h, err := r.Peek(frameHead)
	if err != nil {
		return err
	}
	n := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	k, id := kind(h[3]), binary.BigEndian.Uint32(h[4:])
	// A peeked head stays.
	_, _ = r.Discard(frameHead)
	if n > maxFrame {
		return errMalformed
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	payload := (*buf)[:n]
	if _, err = io.ReadFull(r, payload); err != nil {
		return err
	}
	if cap(*buf) > maxSpare {
		*buf = nil
	}
	return c.take(k&^last, id, payload, k&last != 0)
}

// take deals with one frame. payload may be used until it returns.
func (c *conn) take(k kind, id uint32, payload []byte, end bool) error {
	s := c.find(id)
	switch {
	case k == kindHead:
		return c.takeHead(s, id, payload, end)
	case k == kindAway:
		c.leave()
		return nil
	case s == nil:
		return nil // It has ended here, which the other side did not know yet.
	}
	switch k {
	case kindData:
		return s.receive(payload, end)
	case kindWindow:
		if len(payload) != 4 {
			return errMalformed
		}
		return s.grant(binary.BigEndian.Uint32(payload))
	case kindReset:
		s.broken(ErrReset)
		return nil
	case kindRefused:
		// It may overtake kindAway. Whoever asks again must not take the connection
		// for broken, on which others wait for their answers.
		c.leave()
		s.broken(ErrAway)
		return nil
	default:
		return errMalformed
	}
}

// takeHead begins a request, or the answer to one.
func (c *conn) takeHead(s *stream, id uint32, payload []byte, end bool) error {
	h, data, err := parseHead(payload)
	switch {
	case err != nil:
		return err
	case c.began != nil && c.isAway():
		return c.enqueue(appendFrameHead(make([]byte, 0, frameHead), kindRefused, id, 0))
	case c.began != nil:
		if s, err = c.accept(id); err != nil {
			return err
		}
		if err = s.receive(data, end); err == nil {
			c.began(s, h)
		}
		return err
	case s != nil:
		return s.answered(h, data, end)
	}
	return nil
}

func (c *conn) find(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// accept makes the stream of a request of the other side.
func (c *conn) accept(id uint32) (*stream, error) {
	s := newStream(c, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[id] != nil || len(c.streams) >= maxStreams {
		return nil, errMalformed
	}
	if c.err != nil {
		return nil, c.err
	}
	c.streams[id] = s
	return s, nil
}

// open makes the stream of a request to the other side.
func (c *conn) open() (*stream, error) {
	s := newStream(c, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if c.away {
		return nil, ErrAway
	}
	if len(c.streams) >= maxStreams {
		return nil, errors.New("too many requests run on the connection")
	}
	for c.streams[c.next] != nil {
		c.next++ // After four thousand millions of others one still runs.
	}
	s.id = c.next
	c.next++
	c.streams[s.id] = s
	return s, nil
}

func (c *conn) remove(s *stream) {
	c.mu.Lock()
	if c.streams[s.id] == s {
		delete(c.streams, s.id)
	}
	over := c.away && c.began == nil && len(c.streams) == 0
	c.mu.Unlock()
	if over {
		c.fail(ErrAway)
	}
}

// leave begins no more requests. The side that asks closes the connection when those
// that run have ended.
func (c *conn) leave() {
	c.mu.Lock()
	c.away = true
	over := c.began == nil && len(c.streams) == 0
	c.mu.Unlock()
	if over {
		c.fail(ErrAway)
	}
}

func (c *conn) isAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// busy is how many requests run.
func (c *conn) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

func (c *conn) reset(s *stream) {
	// On a connection that has ended there is nothing to end.
	_ = c.enqueue(appendFrameHead(make([]byte, 0, frameHead), kindReset, s.id, 0))
}
