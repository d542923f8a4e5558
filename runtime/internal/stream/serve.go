// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
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

// withDefaults fills in what is missing.
func (o Options) withDefaults() Options {
	if o.Heartbeat <= 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.Observer == nil {
		o.Observer = silent{}
	}
	return o
}

// setHead adds to a header what every stream has.
func (o *Options) setHead(header http.Header) {
	maps.Copy(header, o.Head)
	header.Set("Content-Type", MediaType)
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
}

// appendFirst appends the first message, if there is one.
func (o *Options) appendFirst(dst []byte) []byte {
	if o.First == nil {
		return dst
	}
	return appendMessage(dst, o.First, "")
}

// Serve is the plain writer of a stream: it sends the head at once, then
// writes what is put into out, all that has piled up in one write under a
// deadline, until out is closed or the client is gone. It returns when nothing
// more will be written; out is closed then. What was sent before Serve began
// is written too.
func Serve(w http.ResponseWriter, r *http.Request, out *Outbox, opts Options) CloseReason {
	newPlain(w, out, opts.withDefaults()).serve(r)
	return out.Reason()
}

func plainReason(r *http.Request, err error) CloseReason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return WriteTimeout
	case r.Context().Err() != nil:
		return ClientGone
	default:
		return WriteFailed
	}
}

// plain is the writer that keeps a handler's goroutine and its ResponseWriter.
type plain struct {
	w       http.ResponseWriter
	control *http.ResponseController
	out     *Outbox
	opts    Options
	began   time.Time
	ready   chan struct{} // holds at most one token: the outbox waits for a writer
	quiet   *time.Timer   // since the last write
	// headless is set while the head waits for the first write.
	headless bool
	// mover, if set, takes an answer over that is not brief; see Host.Answer.
	mover *mover
}

func newPlain(w http.ResponseWriter, out *Outbox, opts Options) *plain {
	return &plain{
		w: w, control: http.NewResponseController(w), out: out, opts: opts, began: time.Now(),
		ready: make(chan struct{}, 1), quiet: time.NewTimer(opts.Heartbeat),
	}
}

// serve returns when nothing more will be written, or when the stream was moved:
// it has another writer then.
func (s *plain) serve(r *http.Request) (moved bool) {
	defer s.quiet.Stop()
	err := s.begin()
	s.opts.Observer.StreamOpened(s.opts.Transport)
	if err == nil {
		s.out.attach(s)
		s.start(false)
		err = s.loop(r.Context())
	}
	if errors.Is(err, errMoved) {
		return true
	}
	if err != nil {
		s.out.Close(plainReason(r, err))
	}
	s.out.drop()
	reason := s.out.Reason()
	if reason == WriteTimeout || reason == WriteFailed {
		s.cut()
	}
	s.opts.Observer.StreamClosed(s.opts.Transport, reason, time.Since(s.began))
	return false
}

// start implements writer.
func (s *plain) start(bool) { s.ready <- struct{}{} }

// interrupt implements writer. A write that is under way ends by its deadline:
// net/http has no other way.
func (*plain) interrupt() {}

// begin sends the head, which proxies and clients wait for, and the first
// message with it. What is queued already takes the head along.
func (s *plain) begin() error {
	s.opts.setHead(s.w.Header())
	if s.opts.First == nil && s.out.Bytes() > 0 {
		s.headless = true
		return nil
	}
	return s.write(s.opts.appendFirst(nil), true)
}

func (s *plain) loop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.mover.late():
			s.mover.due = true
			if s.out.claim() { // Else start was called, or is about to be.
				s.start(false)
			}
		case <-s.ready:
			if done, err := s.drain(ctx); done || err != nil {
				return err
			}
		case <-s.quiet.C:
			if err := s.write([]byte(ping), true); err != nil {
				return err
			}
		}
	}
}

// drain writes until there is nothing more now, or ever again: done. When it fails,
// the batch is not used again: the outbox gives back messages that lie in it.
func (s *plain) drain(ctx context.Context) (done bool, err error) {
	b := newBatch()
	for {
		if s.moves(0) && !s.out.spent() && s.move(b) {
			return false, errMoved
		}
		// It is asked also when ctx has ended: what was taken before is written.
		switch s.out.next(b) {
		case resting:
			b.free()
			return false, nil
		case ended:
			b.free()
			// The last deadline stays set: the server still has to write the
			// end of the body under it.
			return true, s.deadline(time.Now().Add(s.opts.WriteTimeout))
		case writing:
		}
		b.encode(&s.opts)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if s.moves(len(b.rest)) && s.move(b) {
			return false, errMoved
		}
		if err := s.writeBatch(b); err != nil {
			return false, err
		}
	}
}

// writeBatch writes b, and the end of the body along with the last of it.
func (s *plain) writeBatch(b *batch) error {
	if len(b.rest) > 0 {
		last := s.out.spent()
		if last && s.headless {
			// It was all said at once: nothing is left that a chunk would end.
			s.w.Header().Set("Content-Length", strconv.Itoa(len(b.rest)))
		}
		s.headless = false
		if err := s.write(b.rest, !last); err != nil {
			return err
		}
	}
	b.written(s.opts.Observer)
	return nil
}

// cut ends the connection of a client that does not read, or cannot get the rest. Its
// handler may still have a call to see to, and net/http would keep the connection until
// then, or say that it was all. Over HTTP/2
// others share it: there the deadline has ended the stream.
func (s *plain) cut() {
	conn, _, err := s.control.Hijack()
	if err != nil {
		return
	}
	if tcp, ok := bare(conn); ok {
		// Nobody waits until it has taken what is left, TLS's farewell included.
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
	_ = conn.Close()
}

// bare finds the TCP connection below one that a listener or TLS has wrapped.
func bare(conn net.Conn) (*net.TCPConn, bool) {
	for {
		if tcp, ok := conn.(*net.TCPConn); ok {
			return tcp, true
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		conn = wrapper.NetConn()
	}
}

// piece is how much is written under one deadline, so that a large message may
// take longer than a small one.
const piece = 64 << 10

// write sends b, and the head with the first call, under a deadline that is
// cleared afterwards: one that has passed would fail the next heartbeat on a
// healthy connection. Without flush, the last piece may wait for the end.
func (s *plain) write(b []byte, flush bool) error {
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
		b = b[n:]
		if len(b) == 0 && !flush {
			return nil
		}
		if err := s.control.Flush(); err != nil {
			return err
		}
		if len(b) == 0 {
			s.quiet.Reset(s.opts.Heartbeat)
			return s.deadline(time.Time{})
		}
	}
}

// deadline bounds the writes that follow. A ResponseWriter without deadlines
// exists only in memory, where writes do not wait.
func (s *plain) deadline(t time.Time) error {
	if err := s.control.SetWriteDeadline(t); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
