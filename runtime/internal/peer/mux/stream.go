// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// maxStreams bounds the requests that run on one connection.
const maxStreams = 8 << 10

// ErrReset is why a body ends that the other side has given up.
var ErrReset = errors.New("the other side gave the request up")

// stream is one request and its answer on one side: a body that comes, and one that
// goes.
type stream struct {
	c  *conn
	id uint32

	mu sync.Mutex // guards what follows; never held across I/O
	// cancel, if set, is called when the other side gives up.
	cancel func()
	head   *head  // of the answer, on the side that asks
	in     []byte // what has come and was not read
	end    bool   // nothing more will come
	err    error  // why nothing more will come or go
	// room is what the other side may still send, eaten what was read and not granted
	// again, and window what may be sent.
	room, eaten, window int
	wake                chan struct{} // closed at each change; nil if nobody waits
}

func newStream(c *conn, id uint32) *stream {
	return &stream{c: c, id: id, room: window, window: window}
}

// changedLocked wakes whoever waits.
func (s *stream) changedLocked() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// waitLocked gives a channel that is closed at the next change.
func (s *stream) waitLocked() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// receive takes a part of the body that comes.
func (s *stream) receive(data []byte, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(data) > s.room || s.end && s.err == nil {
		return errMalformed
	}
	s.room -= len(data)
	s.in = append(s.in, data...)
	s.end = s.end || end
	s.changedLocked()
	return nil
}

func (s *stream) answered(h head, data []byte, end bool) error {
	s.mu.Lock()
	twice := s.head != nil
	if !twice {
		s.head = &h
	}
	s.mu.Unlock()
	if twice {
		return errMalformed
	}
	return s.receive(data, end)
}

func (s *stream) grant(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > window || s.window+int(n) > window {
		return errMalformed
	}
	s.window += int(n)
	s.changedLocked()
	return nil
}

// broken ends both directions.
func (s *stream) broken(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	cancel := s.cancel
	s.changedLocked()
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// readUntil reads the body that comes, until a deadline if there is one.
func (s *stream) readUntil(deadline time.Time, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		s.mu.Lock()
		if len(s.in) > 0 {
			n := copy(p, s.in)
			if s.in = s.in[n:]; len(s.in) == 0 {
				s.in = nil
			}
			s.eaten += n
			granted := 0
			if s.eaten >= window/2 && !s.end && s.err == nil {
				granted = s.eaten
				s.eaten, s.room = 0, s.room+granted
			}
			s.mu.Unlock()
			if granted > 0 {
				f := appendFrameHead(make([]byte, 0, frameHead+4), kindWindow, s.id, 4)
				// If the connection has ended, the next read tells.
				_ = s.c.enqueue(binary.BigEndian.AppendUint32(f, uint32(granted)))
			}
			return n, nil
		}
		end, err := s.end, s.err
		var changed <-chan struct{}
		if !end && err == nil {
			changed = s.waitLocked()
		}
		s.mu.Unlock()
		switch {
		case end:
			return 0, io.EOF
		case err != nil:
			return 0, err
		}
		if err := await(deadline, changed); err != nil {
			return 0, err
		}
	}
}

// sendBody sends a part of the body that goes, waiting for the window and for room
// in the queue. It stops with errAnswered when the whole answer has come meanwhile.
func (s *stream) sendBody(deadline time.Time, b []byte, end bool) error {
	for {
		if space := s.c.full(); space != nil {
			if err := await(deadline, space); err != nil {
				return err
			}
			continue
		}
		n, changed, err := s.reserve(min(len(b), maxData))
		if err != nil {
			return err
		}
		if n == 0 && len(b) > 0 {
			if err := await(deadline, changed); err != nil {
				return err
			}
			continue
		}
		k := kindData
		if end && n == len(b) {
			k |= last
		}
		if err := s.c.enqueue(appendFrameHead(make([]byte, 0, frameHead), k, s.id, n), b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
}

// errAnswered says that the rest of a request is of no use.
var errAnswered = errors.New("the answer came before the whole request was sent")

// reserve takes up to n bytes from the window. If it is empty, changed tells when
// that may be different.
func (s *stream) reserve(n int) (got int, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return 0, nil, s.err
	case s.head != nil && s.end:
		return 0, nil, errAnswered
	case s.window == 0:
		return 0, s.waitLocked(), nil
	}
	n = min(n, s.window)
	s.window -= n
	return n, nil, nil
}

// await waits for a change until a deadline, if there is one.
func await(deadline time.Time, changed <-chan struct{}) error {
	if deadline.IsZero() {
		<-changed
		return nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}
