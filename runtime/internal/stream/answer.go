// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"time"
)

// DefaultBrief is how long an answer stays with net/http (100 ms), while it is little,
// in bytes: most are over before it would pay to take their connection over and to give
// it back. So much the kernel takes for a client that does not read: it is not net/http
// whose writes wait.
const (
	DefaultBrief = 100 * time.Millisecond
	little       = 24 << 10
)

// Answer is Serve for the answer to a request. Its connection serves the client's next
// request after it: one that was taken over is given back at the end. What the client
// sends meanwhile is that request, and is kept for then.
func (h *Host) Answer(w http.ResponseWriter, r *http.Request, out *Outbox, opts Options, ended func(CloseReason)) {
	s := newPlain(w, out, opts.withDefaults())
	if h.poller != nil && takeable(r) && r.ProtoAtLeast(1, 1) {
		s.mover = &mover{host: h, ended: ended, close: r.Close, timer: time.NewTimer(h.brief)}
		defer s.mover.timer.Stop()
	}
	if !s.serve(r) {
		ended(out.Reason())
	}
}

// errMoved ends a plain writer whose stream has become lean.
var errMoved = errors.New("the stream has moved")

// mover makes a lean stream of a plain one that is not over soon.
type mover struct {
	host  *Host
	ended func(CloseReason)
	close bool // the client wants the connection closed
	timer *time.Timer
	due   bool // the timer has fired
	sent  int  // bytes
}

// late tells that the stream is not brief. m may be nil.
func (m *mover) late() <-chan time.Time {
	if m == nil {
		return nil
	}
	return m.timer.C
}

// moves reports whether the stream is to move before n more bytes are written, which
// it counts. The head is net/http's to send.
func (s *plain) moves(n int) bool {
	if s.mover == nil {
		return false
	}
	s.mover.sent += n
	return !s.headless && (s.mover.due || s.mover.sent > little)
}

// move takes the connection over, and has b written. It returns false if the stream
// stays as it is.
func (s *plain) move(b *batch) bool {
	m := s.mover
	s.mover = nil // It is tried once.
	if !m.host.enter() {
		return false
	}
	conn, buffered, err := s.control.Hijack()
	if err != nil {
		m.host.open.Done()
		return false
	}
	l := &lean{host: m.host, out: s.out, answer: newAnswer(buffered.Reader), opts: s.opts, ended: m.ended}
	l.opts.Head, l.opts.First = nil, nil
	l.answer.keep = !m.close && s.w.Header().Get("Connection") != "close"
	l.began = m.host.now() - time.Since(s.began)
	err = l.adopt(conn)
	s.out.attach(l)
	// A Host that closes just now waits for its answers.
	_ = m.host.wheel.add(l, m.host.now()+l.opts.Heartbeat)
	if err != nil {
		l.fail(leanReason(err))
		b.clear()
	} else {
		l.watchAnswer()
		l.frame(b)
	}
	l.attempt(b)
	return true
}

// answer is what a lean stream knows that answers a request. Its body is chunked
// (RFC 9112, section 7.1).
type answer struct {
	keep   bool        // the client was told that the connection stays
	whole  bool        // the last chunk is written, or among what is
	failed CloseReason // why a write failed, if one did
	ahead  []byte      // what the client had sent after its request
}

func newAnswer(read *bufio.Reader) *answer {
	a := &answer{}
	if n := read.Buffered(); n > 0 {
		ahead, _ := read.Peek(n)
		a.ahead = bytes.Clone(ahead)
	}
	return a
}

// reason is why a write failed. a may be nil.
func (a *answer) reason() CloseReason {
	if a == nil {
		return ""
	}
	return a.failed
}

// watchAnswer is watch for an answer: that the client has sent something does not end it.
func (l *lean) watchAnswer() {
	if token, err := l.host.poller.Watch(l, l); err == nil {
		l.token = token
	}
}

const (
	// chunkHead has room for the size of any batch: zeros before it are allowed.
	chunkHead = "00000000\r\n"
	chunkEnd  = "\r\n"
	lastChunk = "0\r\n\r\n"
	// pingChunk is ping as one chunk.
	pingChunk = "8\r\n" + ping + chunkEnd
)

// ping is the heartbeat on the wire.
func (l *lean) ping() string {
	if l.answer != nil {
		return pingChunk
	}
	return ping
}

// encode is batch.encode, and makes one chunk of the batch if that is due.
func (l *lean) encode(b *batch) {
	if l.answer == nil {
		b.encode(&l.opts)
		return
	}
	b.head = chunkHead
	b.encode(&l.opts)
	l.endChunk(b)
}

// frame makes a chunk of a batch that a plain writer has encoded.
func (l *lean) frame(b *batch) {
	if len(b.rest) == 0 {
		return
	}
	b.buffer = append(append(make([]byte, 0, len(b.rest)+2*len(chunkHead)), chunkHead...), b.rest...)
	l.endChunk(b)
}

// endChunk writes the size of the chunk in the buffer, and what ends it: also the body,
// if nothing follows.
func (l *lean) endChunk(b *batch) {
	size := len(b.buffer) - len(chunkHead)
	if size == 0 {
		b.buffer = b.buffer[:0]
	} else {
		const digits = "0123456789abcdef"
		for i, left := len(chunkHead)-len("\r\n")-1, size; left > 0; i, left = i-1, left/len(digits) {
			b.buffer[i] = digits[left%len(digits)]
		}
		b.buffer = append(b.buffer, chunkEnd...)
	}
	if l.last() {
		b.buffer = append(b.buffer, lastChunk...)
		l.answer.whole = true
	}
	b.rest = b.buffer
}

// last reports whether the client has the whole answer with what the writer has. Whoever
// shuts down closes the connection of one that goes on.
func (l *lean) last() bool { return l.out.spent() && l.out.Reason() != Shutdown }

// terminate writes the end of an answer that did not go with the last of it.
func (l *lean) terminate(b *batch) {
	if l.answer == nil || l.answer.whole || l.answer.failed != "" || !l.last() {
		return
	}
	l.answer.whole = true
	b.buffer = append(b.buffer[:0], lastChunk...)
	b.rest = b.buffer
	if err := l.flush(b); err != nil {
		l.fail(leanReason(err))
	}
}

// giveBack has the next request read from the connection of an answer that the client
// can have whole. It returns false if the connection is to be closed.
func (l *lean) giveBack() bool {
	a := l.answer
	if a == nil || !a.keep || !a.whole || a.failed != "" || l.host.giveBack == nil {
		return false
	}
	l.host.giveBack(l.conn, a.ahead)
	return true
}
