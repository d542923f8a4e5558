// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// batch is how many events are taken at once.
const batch = 128

// interest is what is waited for: bytes or the peer's end, reported once. The
// kernel adds failures.
const interest = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT

// Poller watches connections. It is safe for concurrent use.
type Poller struct {
	epoll *os.File
	done  chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards what follows; held for calls that do not block, never while Ready runs
	fd     int        // of epoll; -1 after Close
	table  table
	events [batch]unix.EpollEvent // the goroutine's own, without mu
}

// New starts a Poller; Close ends it. On systems without epoll the error is
// errors.ErrUnsupported.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("failed to create an epoll instance: %w", err)
	}
	// An epoll descriptor can itself be polled: in Go's poller, the goroutine
	// waits for it without a thread of its own.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to set up an epoll instance: %w", err), unix.Close(fd))
	}
	p := &Poller{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{})}
	raw, err := p.epoll.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failed to set up an epoll instance: %w", err), p.epoll.Close())
	}
	go p.run(raw)
	return p, nil
}

// Close ends all watches, which get no more Ready, and waits for one that runs.
// The connections stay open. Later calls of Watch and Arm fail with ErrClosed.
func (p *Poller) Close() error {
	p.mu.Lock()
	closed := p.fd < 0
	p.fd = -1
	p.table = table{}
	p.mu.Unlock()
	var err error
	if !closed {
		err = p.epoll.Close()
	}
	<-p.done
	return err
}

// Watch begins to watch c and calls w.Ready once when something happens, which
// may be before Watch returns. Each watch must be forgotten, before or after c
// is closed: closing c ends the reports, not the watch. A connection can be
// watched once at a time.
func (p *Poller) Watch(c syscall.Conn, w Watcher) (Token, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("failed to watch a connection: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return 0, ErrClosed
	}
	t := p.table.add(w, raw)
	if err := p.control(raw, unix.EPOLL_CTL_ADD, t); err != nil {
		p.table.remove(t)
		return 0, fmt.Errorf("failed to watch a connection: %w", err)
	}
	return t, nil
}

// Arm has Ready called once more. It fails if the connection was closed, if t
// was forgotten (ErrForgotten) or the Poller closed (ErrClosed).
func (p *Poller) Arm(t Token) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return ErrClosed
	}
	w := p.table.get(t)
	if w == nil {
		return ErrForgotten
	}
	if err := p.control(w.raw, unix.EPOLL_CTL_MOD, t); err != nil {
		return fmt.Errorf("failed to go on watching a connection: %w", err)
	}
	return nil
}

// Forget ends a watch: no Ready begins for it any more, though one may be
// running. A token that is void already, or zero, is no error.
func (p *Poller) Forget(t Token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.table.get(t)
	if w == nil {
		return
	}
	// It fails if the connection is closed: the kernel has forgotten it then.
	_ = p.control(w.raw, unix.EPOLL_CTL_DEL, t)
	p.table.remove(t)
}

// Watched is how many watches there are.
func (p *Poller) Watched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.used
}

// control changes what the kernel watches; the caller holds mu. It goes through
// the connection, which lends its descriptor only while that is open: the bare
// number may be another connection's by now.
func (p *Poller) control(raw syscall.RawConn, operation int, t Token) error {
	event := unix.EpollEvent{Events: interest, Fd: int32(t.place()), Pad: int32(t.generation())} //nolint:gosec // G115: bits, not numbers.
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.EpollCtl(p.fd, operation, int(fd), &event)
	})
	return errors.Join(err, failed)
}

// run reports events until epoll is closed.
func (p *Poller) run(raw syscall.RawConn) {
	defer close(p.done)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n = wait(int(fd), p.events[:])
			return n > 0
		})
		if err != nil {
			return // Closed.
		}
		for i := range p.events[:n] {
			p.report(&p.events[i])
		}
	}
}

// wait takes the events that are there. An error can only be a signal that came
// in between: nothing is lost, the next round takes them.
func wait(fd int, events []unix.EpollEvent) int {
	for {
		n, err := unix.EpollWait(fd, events, 0)
		if !errors.Is(err, unix.EINTR) {
			return n
		}
	}
}

// report calls the watcher of an event, unless it was forgotten meanwhile.
func (p *Poller) report(event *unix.EpollEvent) {
	t := newToken(uint32(event.Fd), uint32(event.Pad)) //nolint:gosec // G115: bits, not numbers.
	p.mu.Lock()
	var watcher Watcher
	if w := p.table.get(t); w != nil {
		watcher = w.watcher
	}
	p.mu.Unlock()
	if watcher == nil {
		return
	}
	var happened Events
	if event.Events&unix.EPOLLIN != 0 {
		happened |= Readable
	}
	if event.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0 {
		happened |= HungUp
	}
	if event.Events&unix.EPOLLERR != 0 {
		happened |= Broken
	}
	watcher.Ready(t, happened)
}
