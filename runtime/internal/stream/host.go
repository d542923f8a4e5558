// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/poll"
)

// HostOptions tune a Host.
type HostOptions struct {
	// Poller finds clients that hang up; the Host does not close it. Without
	// one, as on systems that have none, all streams are served the plain way.
	Poller *poll.Poller
	// Plain serves all streams the plain way: by Serve, with a goroutine each.
	Plain bool
	// Brief is how long an answer stays with net/http before its connection is taken
	// over; zero means DefaultBrief.
	Brief time.Duration
	// Return gets the connection of an answer that was written to its end, to read
	// the next request from it: first what is in ahead, which the client has sent
	// already. It owns the connection from then on. Without it, Answer closes the
	// connections that it took over.
	Return func(c *net.TCPConn, ahead []byte)
}

// Host runs the long-lived streams of one replica. Those on a bare TCP
// connection of HTTP/1.1 are lean: the connection is taken away from net/http,
// and an idle stream has neither a goroutine nor a buffer. All others, such as
// those over TLS and HTTP/2, are plain. Both behave alike. A Host is safe for
// concurrent use.
type Host struct {
	poller   *poll.Poller // nil if all streams are plain
	wheel    *wheel
	open     sync.WaitGroup // of lean streams
	brief    time.Duration
	giveBack func(c *net.TCPConn, ahead []byte) // nil: connections of answers are closed

	mu     sync.Mutex // guards closed, and open against a Wait that has begun
	closed bool
}

// NewHost makes a Host. Close ends it.
func NewHost(o HostOptions) *Host {
	h := &Host{brief: cmp.Or(o.Brief, DefaultBrief), giveBack: o.Return}
	if o.Poller != nil && !o.Plain {
		h.poller = o.Poller
		h.wheel = newWheel()
	}
	return h
}

// Serve sends the head and then writes what is put into out, until out is closed
// or the client is gone. ended is called once, when nothing more will be written;
// out is closed then. Serve may return before that or after it, so that whoever
// calls it has nothing left to do but in ended, and must not touch w and r again.
// r's context may end when Serve returns.
func (h *Host) Serve(w http.ResponseWriter, r *http.Request, out *Outbox, opts Options, ended func(CloseReason)) {
	if !takeable(r) || !h.enter() {
		ended(Serve(w, r, out, opts))
		return
	}
	if !h.take(w, r, out, opts.withDefaults(), ended) {
		h.open.Done()
		ended(Serve(w, r, out, opts))
	}
}

// takeable reports whether a request came over a connection that can be taken
// over. The address tells a TCP connection from the streams of a peer's link and
// from connections in memory.
func takeable(r *http.Request) bool {
	_, tcp := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return tcp && r.ProtoMajor == 1 && r.TLS == nil
}

// enter counts a lean stream, unless there can be none (any more).
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.poller == nil || h.closed {
		return false
	}
	h.open.Add(1)
	return true
}

// Close ends all lean streams, after what is queued in them, and waits for their
// writers, and for answers until their senders close them. When ctx ends before,
// it cuts those that are left and returns ctx's error. Streams that open later, and
// all plain ones, are net/http's to end.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	first := !h.closed && h.poller != nil
	h.closed = true
	h.mu.Unlock()
	if !first {
		return nil
	}
	h.wheel.stop()
	for _, l := range h.wheel.all() {
		if l.answer == nil {
			l.out.Close(Shutdown)
		}
	}
	written := make(chan struct{})
	go func() {
		h.open.Wait()
		close(written)
	}()
	select {
	case <-written:
		return nil
	case <-ctx.Done():
		for _, l := range h.wheel.all() {
			l.out.Close(Shutdown)
			l.interrupt()
		}
		<-written
		return ctx.Err()
	}
}

// now is a time on the Host's own clock.
func (h *Host) now() time.Duration { return time.Since(h.wheel.epoch) }
