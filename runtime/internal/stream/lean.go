// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"fairlead.dev/fairlead/runtime/internal/poll"
)

// lean is a stream on a connection that was taken over. It is idle nearly
// always, and there are many: it holds nothing that only a write needs.
//
// Its outbox says who may write, one at a time: the handler that opens it, the
// goroutine of run while there is something to write, or, for one write that
// does not wait, the wheel or whoever marks the outbox. Who finds the outbox
// closed and empty closes the connection.
type lean struct {
	host *Host
	conn *net.TCPConn
	raw  syscall.RawConn // conn's
	out  *Outbox
	// answer is nil unless the stream is an answer, whose connection is used again.
	answer *answer
	opts   Options // without Head and First
	ended  func(CloseReason)
	began  time.Duration // on the Host's clock
	wrote  atomic.Int64  // the same, of the last write
	token  poll.Token
	place  place // guarded by the wheel
}

// take takes the connection of a request over and opens a stream on it. It
// returns false if the connection cannot be taken, and nothing was done.
func (h *Host) take(w http.ResponseWriter, r *http.Request, out *Outbox, opts Options, ended func(CloseReason)) bool {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	l := &lean{host: h, out: out, opts: opts, ended: ended, began: h.now()}
	l.opts.Head, l.opts.First = nil, nil
	err = l.adopt(conn)
	out.attach(l)
	if !h.wheel.add(l, l.began+opts.Heartbeat) {
		out.Close(Shutdown)
	}
	if err == nil {
		opts.setHead(w.Header())
		err = l.begin(opts.appendFirst(appendHead(nil, r, w.Header())))
	}
	opts.Observer.StreamOpened(opts.Transport)
	if err == nil {
		err = l.watch(buffered.Reader)
	}
	if err != nil {
		out.fail(leanReason(err))
	}
	if !out.settle() {
		go l.run(newBatch())
	}
	return true
}

// begin writes the head, which proxies and clients wait for, and the first
// message with it.
func (l *lean) begin(head []byte) error {
	b := newBatch()
	defer b.free()
	b.rest = head
	return l.flush(b)
}

// adopt takes the TCP connection below what net/http gave away.
func (l *lean) adopt(conn net.Conn) error {
	tcp, ok := bare(conn)
	if !ok {
		return errors.Join(errors.ErrUnsupported, conn.Close())
	}
	l.conn = tcp
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	l.raw = raw
	boundSilence(raw, 3*l.opts.Heartbeat)
	return nil
}

// appendHead appends the head of a response whose body ends with its connection.
func appendHead(dst []byte, r *http.Request, header http.Header) []byte {
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Connection", "close")
	header.Del("Content-Length")
	header.Del("Transfer-Encoding")
	head := bytes.NewBuffer(dst)
	if r.ProtoAtLeast(1, 1) {
		head.WriteString("HTTP/1.1 200 OK\r\n")
	} else {
		head.WriteString("HTTP/1.0 200 OK\r\n")
	}
	_ = header.Write(head) // A buffer takes all.
	head.WriteString("\r\n")
	return head.Bytes()
}

// watch has l told when the client hangs up. Bytes from the client that came
// with the request already end the stream as later ones do: see Ready.
func (l *lean) watch(buffered *bufio.Reader) error {
	if buffered.Buffered() > 0 {
		return errInbound
	}
	token, err := l.host.poller.Watch(l, l)
	// Without a watch, as when the kernel has no more of them, heartbeats find
	// out that the client is gone.
	if err == nil {
		l.token = token
	}
	return nil
}

// errInbound ends a stream on which the client sends something: it expects no
// answer there, and whatever speaks is no client of this stream.
var errInbound = errors.New("the client sends on an event stream")

// SyscallConn implements syscall.Conn for the Poller.
func (l *lean) SyscallConn() (syscall.RawConn, error) { return l.raw, nil }

// Ready implements poll.Watcher: the client has hung up, the connection broke,
// or there are bytes that nobody will read.
func (l *lean) Ready(_ poll.Token, e poll.Events) {
	if l.answer != nil && e == poll.Readable {
		// The next request waits until this one is answered. Whether its client hangs
		// up, heartbeats find out.
		return
	}
	l.out.Close(ClientGone)
}

// start implements writer.
func (l *lean) start(small bool) {
	b := newBatch()
	if !small {
		go l.run(b)
		return
	}
	switch l.out.next(b) {
	case resting:
		b.free()
		return
	case ended:
	case writing:
		l.encode(b)
	}
	l.attempt(b)
}

// beat is called by the wheel when a heartbeat may be due.
func (l *lean) beat() {
	now := l.host.now()
	next := time.Duration(l.wrote.Load()) + l.opts.Heartbeat
	if next <= now {
		next = now + l.opts.Heartbeat
		if l.out.claim() {
			b := newBatch()
			b.buffer = append(b.buffer[:0], l.ping()...)
			b.rest = b.buffer
			l.attempt(b)
		}
	}
	l.host.wheel.again(l, next)
}

// attempt writes b without waiting. What the socket does not take, and what came
// meanwhile, is left to a goroutine, which waits no longer than a write may take.
func (l *lean) attempt(b *batch) {
	if err := l.try(b); err == nil && len(b.rest) == 0 {
		b.written(l.opts.Observer)
		if l.out.settle() {
			b.free()
			return
		}
	}
	go l.run(b)
}

// run writes b, if something is in it, and then what is in the outbox, until
// there is nothing more.
func (l *lean) run(b *batch) {
	for {
		if err := l.flush(b); err != nil {
			l.fail(leanReason(err))
			b.clear()
		}
		b.written(l.opts.Observer)
		switch l.out.next(b) {
		case resting:
			b.free()
			return
		case ended:
			l.terminate(b)
			b.free()
			l.end()
			return
		case writing:
			l.encode(b)
		}
	}
}

// fail ends a stream that nothing more can be written to.
func (l *lean) fail(reason CloseReason) {
	if l.answer != nil {
		l.answer.failed = reason
	}
	l.out.fail(reason)
}

// flush writes b: at once if the socket takes it, else under a deadline, which is
// cleared afterwards: one that has passed would fail the next write on a healthy
// connection.
func (l *lean) flush(b *batch) error {
	if len(b.rest) == 0 {
		return nil
	}
	if err := l.try(b); err != nil || len(b.rest) == 0 {
		return err
	}
	for len(b.rest) > 0 {
		if err := l.conn.SetWriteDeadline(time.Now().Add(l.opts.WriteTimeout)); err != nil {
			return err
		}
		n, err := l.conn.Write(b.rest[:min(len(b.rest), piece)])
		if err != nil {
			return err
		}
		b.rest = b.rest[n:]
	}
	l.wrote.Store(int64(l.host.now()))
	return l.conn.SetWriteDeadline(time.Time{})
}

// try writes of b what the socket takes at once. Nobody else writes, so that it
// does not wait for a write that does.
func (l *lean) try(b *batch) error {
	if len(b.rest) == 0 {
		return nil
	}
	b.socket.behind = l.out.behind
	n, err := b.socket.write(l.raw, b.rest)
	l.out.behind = b.socket.behind
	b.rest = b.rest[n:]
	if n > 0 {
		l.wrote.Store(int64(l.host.now()))
	}
	return err
}

// interrupt implements writer. It closes the connection, since a deadline could
// be overtaken by the next one.
func (l *lean) interrupt() {
	if l.conn != nil {
		l.hangUp(l.out.Reason())
	}
}

// hangUp closes the connection. A client that does not read is told so at once, and
// the kernel keeps nothing for it.
func (l *lean) hangUp(reason CloseReason) {
	if reason == WriteTimeout {
		_ = l.conn.SetLinger(0)
	}
	_ = l.conn.Close()
}

// end closes the connection, cleanly if the client can still be reached.
func (l *lean) end() {
	reason := l.out.Reason()
	l.host.poller.Forget(l.token)
	l.host.wheel.remove(l)
	if l.conn != nil && !l.giveBack() {
		last := reason
		if failed := l.answer.reason(); failed != "" {
			last = failed // Of an answer that had been said.
		}
		if !last.broken() {
			forgetUnread(l.raw)
			// What fails here has failed for the client too.
			_ = l.conn.CloseWrite()
		}
		l.hangUp(last)
	}
	l.out.drop()
	l.opts.Observer.StreamClosed(l.opts.Transport, reason, l.host.now()-l.began)
	l.ended(reason)
	l.host.open.Done()
}

func leanReason(err error) CloseReason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return WriteTimeout
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ETIMEDOUT),
		errors.Is(err, net.ErrClosed), errors.Is(err, errInbound):
		return ClientGone
	default:
		return WriteFailed
	}
}

// attempt is one write that does not wait. It is kept with a batch, since the
// function that is lent the descriptor would be made anew for each write.
type attempt struct {
	data []byte
	n    int
	err  error
	// behind is whether the kernel has not sent all of it, as far as is known.
	behind bool
	once   func(fd uintptr) bool
}

// substantial is from how many bytes on a write is worth the question whether the
// kernel has sent it.
const substantial = 2 << 10

func (a *attempt) prepare() {
	a.once = func(fd uintptr) bool {
		a.n, a.err = writeNow(fd, a.data)
		if a.n < len(a.data) {
			a.behind = true
		} else if a.n >= substantial {
			a.behind = unsent(fd)
		}
		return true
	}
}

func (a *attempt) write(raw syscall.RawConn, data []byte) (int, error) {
	a.data, a.n, a.err = data, 0, nil
	err := raw.Write(a.once)
	a.data = nil
	if err == nil {
		err = a.err
	}
	return a.n, err
}
