// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"
)

// DefaultHeartbeat is how long a stream may be quiet before a comment is
// written (15 s), and DefaultWriteTimeout how long one write may take (10 s).
const (
	DefaultHeartbeat    = 15 * time.Second
	DefaultWriteTimeout = 10 * time.Second
)

// Options tune Serve.
type Options struct {
	// Transport is a label for the Observer.
	Transport string
	// Heartbeat is the quiet time before a comment; zero means
	// DefaultHeartbeat.
	Heartbeat time.Duration
	// WriteTimeout bounds each write; zero means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// Head is added to the header of the response.
	Head http.Header
	// First, if set, is written together with the head, before everything in
	// the outbox.
	First *Message
	// Render makes messages of dirty bits when the writer is ready for them;
	// nil ignores the bits.
	Render func(bits uint32) []Message
	// Log, if set, keeps all that is written but First, and gives it ids.
	Log Log
	// Observer may be nil.
	Observer Observer
}

// Serve is the plain writer of a stream: it sends the head at once, then
// writes what is put into out, all that has piled up in one write under a
// deadline, until out is closed or the client is gone. It returns when nothing
// more will be written; out is closed then. What was sent before Serve began
// is written too.
func Serve(w http.ResponseWriter, r *http.Request, out *Outbox, opts Options) CloseReason {
	if opts.Heartbeat <= 0 {
		opts.Heartbeat = DefaultHeartbeat
	}
	if opts.WriteTimeout <= 0 {
		opts.WriteTimeout = DefaultWriteTimeout
	}
	if opts.Observer == nil {
		opts.Observer = silent{}
	}
	began := time.Now()
	s := &writer{w: w, control: http.NewResponseController(w), out: out, opts: opts}
	err := s.begin()
	opts.Observer.StreamOpened(opts.Transport)
	if err == nil {
		err = s.loop(r)
	}
	if err != nil {
		out.Close(reasonOf(r, err))
	}
	out.drop()
	reason := out.Reason()
	opts.Observer.StreamClosed(opts.Transport, reason, time.Since(began))
	return reason
}

func reasonOf(r *http.Request, err error) CloseReason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return WriteTimeout
	case r.Context().Err() != nil:
		return ClientGone
	default:
		return WriteFailed
	}
}

// writer is the side of Serve that owns the ResponseWriter.
type writer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	out     *Outbox
	opts    Options
	spare   []entry
}

// begin sends the head, which proxies and clients wait for, and the first
// message with it.
func (s *writer) begin() error {
	header := s.w.Header()
	maps.Copy(header, s.opts.Head)
	header.Set("Content-Type", MediaType)
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
	var first []byte
	if m := s.opts.First; m != nil {
		first = appendMessage(nil, m, "")
	}
	return s.write(first)
}

func (s *writer) loop(r *http.Request) error {
	quiet := time.NewTimer(s.opts.Heartbeat)
	defer quiet.Stop()
	for {
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-s.out.done:
			return s.finish()
		case <-s.out.ready:
			wrote, err := s.drain()
			if err != nil {
				return err
			}
			if wrote {
				quiet.Reset(s.opts.Heartbeat)
			}
		case <-quiet.C:
			if err := s.write([]byte(ping)); err != nil {
				return err
			}
			quiet.Reset(s.opts.Heartbeat)
		}
	}
}

// finish writes what is left in a closed outbox. The last deadline stays set:
// the server still has to write the end of the body under it.
func (s *writer) finish() error {
	if s.out.Reason().broken() {
		return nil
	}
	if _, err := s.drain(); err != nil {
		return err
	}
	// Nothing changes the last message once the outbox is closed.
	if m := s.out.last; m != nil {
		if err := s.write(s.append(nil, m)); err != nil {
			return err
		}
		s.opts.Observer.MessageWritten(m.Kind, 0)
	}
	return s.deadline(time.Now().Add(s.opts.WriteTimeout))
}

// maxSpare bounds the buffers that outlive a write, in bytes and entries; piece
// is how much is written under one deadline, so that a large message may take
// longer than a small one.
const (
	maxSpare        = DefaultLimit
	maxSpareEntries = 16
	piece           = 64 << 10
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// drain writes all that has piled up in one write. wrote is false when there
// was nothing.
func (s *writer) drain() (wrote bool, err error) {
	batch, dirty := s.out.take(s.spare)
	s.spare = nil
	var rendered []Message
	if dirty != 0 && s.opts.Render != nil {
		rendered = s.opts.Render(dirty)
	}
	if len(batch) == 0 && len(rendered) == 0 {
		return false, nil
	}
	buf, _ := buffers.Get().(*[]byte)
	b := (*buf)[:0]
	for i := range batch {
		b = s.append(b, &batch[i].Message)
	}
	for i := range rendered {
		b = s.append(b, &rendered[i])
	}
	err = s.write(b)
	if cap(b) <= maxSpare {
		*buf = b
		buffers.Put(buf)
	}
	if err != nil {
		return false, err
	}
	for i := range batch {
		s.opts.Observer.MessageWritten(batch[i].Kind, time.Since(batch[i].since))
	}
	for i := range rendered {
		s.opts.Observer.MessageWritten(rendered[i].Kind, 0)
	}
	clear(batch)
	if cap(batch) <= maxSpareEntries {
		s.spare = batch[:0]
	}
	return true, nil
}

// append appends a message that leaves now, under the id that the log gives it.
func (s *writer) append(dst []byte, m *Message) []byte {
	id := ""
	if s.opts.Log != nil {
		id = s.opts.Log.Keep(*m)
	}
	return appendMessage(dst, m, id)
}

// write sends b, and the head with the first call, under a deadline that is
// cleared afterwards: one that has passed would fail the next heartbeat on a
// healthy connection.
func (s *writer) write(b []byte) error {
	for {
		n := min(len(b), piece)
		if err := s.deadline(time.Now().Add(s.opts.WriteTimeout)); err != nil {
			return err
		}
		if n > 0 {
			if _, err := s.w.Write(b[:n]); err != nil {
				return err
			}
		}
		if err := s.control.Flush(); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return s.deadline(time.Time{})
		}
	}
}

// deadline bounds the writes that follow. A ResponseWriter without deadlines
// exists only in memory, where writes do not wait.
func (s *writer) deadline(t time.Time) error {
	if err := s.control.SetWriteDeadline(t); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
