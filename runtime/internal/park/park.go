// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package park takes idle keep-alive connections away from net/http. A
// connection that has waited for its next request for a moment gives up its
// goroutine and its buffers, about 17 KiB, and waits with a poll.Poller instead.
// When bytes come it is handed to the server once more, as if just accepted.
//
//	l := park.New(inner, poller, park.Options{})
//	server.ConnState = l.ConnState
//	server.Serve(l)
//
// net/http is left at the one moment at which it holds nothing: between two
// requests, without a byte of the next. See Conn.
package park

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fairlead.dev/fairlead/runtime/internal/poll"
)

// Defaults of Options.
const (
	DefaultAfter = 500 * time.Millisecond
	// DefaultIdle is longer than load balancers keep a connection (GCLB 600 s,
	// Traefik 90 s), so that it is they who close first.
	DefaultIdle   = 620 * time.Second
	DefaultHead   = 10 * time.Second
	DefaultWaking = 256
	// DefaultMax is for systems that do not tell how many descriptors a process
	// may have; a quarter of these otherwise.
	DefaultMax = 1 << 16
)

// notSentLowat is how much the kernel takes beyond what it has sent, in bytes:
// without it a client that does not read holds megabytes of kernel memory.
const notSentLowat = 32 << 10

// crowd is how many awake connections there may be before they are parked
// earlier, down to earliest: when all clients wake at once, as after a change
// that was announced to them, they do not all keep their buffers at once.
const (
	crowd    = 1024
	earliest = 10 * time.Millisecond
)

// Options tune a Listener. The zero value of each means its default.
type Options struct {
	// After is how long a connection waits in net/http before it is parked.
	After time.Duration
	// Idle is how long a parked connection is kept; it is closed at most a
	// sixteenth later.
	Idle time.Duration
	// Head is how long the first four bytes of a head may take, once one of them
	// came: the server's ReadHeaderTimeout, which begins only after these.
	Head time.Duration
	// Max is how many connections are parked at most: another closes the one
	// that was parked longest.
	Max int
	// Waking is how many connections that were parked may be on their way to
	// their first read; others wait in line.
	Waking int
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&o.After, DefaultAfter)
	set(&o.Idle, DefaultIdle)
	set(&o.Head, DefaultHead)
	if o.Max <= 0 {
		o.Max = DefaultMax
		if n := descriptors(); n > 0 {
			o.Max = n / 4
		}
	}
	if o.Waking <= 0 {
		o.Waking = DefaultWaking
	}
	return o
}

// Listener hands out new connections and those that were parked and have
// something to read.
type Listener struct {
	inner   net.Listener
	poller  *poll.Poller
	options Options

	fresh  chan net.Conn
	failed chan error
	wake   chan struct{} // of one: somebody in line may go
	done   chan struct{} // closed by Close
	group  sync.WaitGroup

	leaving atomic.Bool  // Drain was called
	awake   atomic.Int64 // connections that net/http has
	owed    atomic.Int64 // of these, the ones that were parked and whose request is not served yet

	mu     sync.Mutex // guards what follows; held for calls that do not block
	closed bool
	parked list // the longest parked first
	line   list // those that have something to read
	waking int  // handed out and before their first read
}

// New makes a Listener of inner, which it owns from then on; it serves one
// http.Server. Connections that are not TCP are passed on as they are, and
// without a poller, which is nil where there is no epoll, none is parked.
func New(inner net.Listener, poller *poll.Poller, o Options) *Listener {
	l := &Listener{
		inner: inner, poller: poller, options: o.withDefaults(),
		fresh: make(chan net.Conn), failed: make(chan error, 1), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	l.group.Go(l.accept)
	l.group.Go(l.expire)
	return l
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept implements net.Listener. It is to be called by one http.Server, whose
// ConnState hook is that of this Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		select {
		case <-l.done:
			return nil, net.ErrClosed
		case err := <-l.failed:
			return nil, err
		case c := <-l.fresh:
			tcp, ok := c.(*net.TCPConn)
			if !ok {
				return c, nil
			}
			// A matter of memory alone: a connection without it serves.
			_ = boundUnsent(tcp)
			l.awake.Add(1)
			return &Conn{TCPConn: tcp, listener: l}, nil
		case <-l.wake:
			if c := l.next(); c != nil {
				return c, nil
			}
		}
	}
}

// Return hands a connection to the server again that was hijacked from it: it waits for
// its next request as if it had never been away. Whoever hijacked it has written the
// answer to its last one, and has not read but what is in ahead. The Listener owns the
// connection from then on.
func (l *Listener) Return(tcp *net.TCPConn, ahead []byte) {
	c := &Conn{TCPConn: tcp, listener: l, ahead: ahead}
	switch {
	case !l.leaving.Load():
		if len(ahead) == 0 {
			c.state.Store(idle) // The first deadline is for the next request.
		}
	case len(ahead) == 0 && !hasBytes(tcp):
		_ = tcp.Close()
		return
	default:
		l.owed.Add(1)
		c.owed.Store(true)
	}
	l.awake.Add(1)
	select {
	case l.fresh <- c:
	case <-l.done:
		_ = c.Close()
	}
}

// Close implements net.Listener: it closes the inner listener and all
// connections that are parked. Those that net/http has are its own.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	parked, line := l.parked.clear(), l.line.clear()
	l.mu.Unlock()
	close(l.done)
	err := l.inner.Close()
	for _, p := range parked {
		l.poller.Forget(p.token)
		_ = p.conn.Close()
	}
	for _, p := range line {
		_ = p.conn.Close()
	}
	l.group.Wait()
	return err
}

// Parked is how many connections are parked, or wait in line to be handed out.
func (l *Listener) Parked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parked.n + l.line.n
}

// drainPeriod is how often Drain looks.
const drainPeriod = 5 * time.Millisecond

// Drain ends parking for good: connections on which a request has arrived are
// handed out and those requests served, the others are closed. It returns when
// that is done, or ctx's error before that. The listener still accepts; the
// server's Shutdown, which drops requests that arrive from then on, comes after.
func (l *Listener) Drain(ctx context.Context) error {
	l.leaving.Store(true)
	l.mu.Lock()
	parked := l.parked.clear()
	l.mu.Unlock()
	for _, p := range parked {
		l.poller.Forget(p.token)
		l.dismiss(p)
	}
	ticker := time.NewTicker(drainPeriod)
	defer ticker.Stop()
	for !l.drained() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

func (l *Listener) drained() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed || l.line.n == 0 && l.owed.Load() == 0
}

// accept brings new connections until the inner listener is closed.
func (l *Listener) accept() {
	const first, longest = 5 * time.Millisecond, time.Second
	pause := first
	for {
		c, err := l.inner.Accept()
		if err == nil {
			pause = first
			select {
			case l.fresh <- c:
			case <-l.done:
				_ = c.Close()
			}
			continue
		}
		if !lacksResources(err) {
			l.failed <- err
			return
		}
		// net/http would pause too, but then nobody in line would go meanwhile.
		select {
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-l.done:
		}
	}
}

// lacksResources says whether a later Accept may succeed (accept(2)).
func lacksResources(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
