// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/peer/mux"
)

const (
	// maxCalls and maxStreams bound what is on its way to one peer at once: requests,
	// and streams, which last and must not use the former up.
	maxCalls   = 512
	maxStreams = 4096
	// maxWaiting bounds the requests that wait for a place among maxCalls, and
	// slotTimeout how long each does.
	maxWaiting  = 1024
	slotTimeout = 500 * time.Millisecond
	// downtime is how long nobody tries to reach a peer again after it could not be
	// reached: each try may hold a request up for long.
	downtime = time.Second
)

// link is all that goes from this replica to one other.
type link struct {
	addr    netip.AddrPort
	calls   chan struct{}
	streams chan struct{}
	waiting chan struct{}
	dialing chan struct{} // holds something while a connection is being opened

	mu     sync.Mutex // guards what follows; never held across I/O
	client *mux.Client
	with   *identity     // with which client was opened
	old    []*mux.Client // were opened with others, and still have requests
	down   time.Time     // until when nobody dials
	reason error         // why
	used   time.Time
}

func newLink(addr netip.AddrPort) *link {
	return &link{
		addr: addr, calls: make(chan struct{}, maxCalls), streams: make(chan struct{}, maxStreams),
		waiting: make(chan struct{}, maxWaiting), dialing: make(chan struct{}, 1),
	}
}

// answer is what came back. Its body must be read, and done called.
type answer struct {
	*mux.Response
	slots chan struct{}
}

// done ends the request, if it has not ended by itself.
func (a *answer) done() {
	a.Close()
	<-a.slots
}

// send sends a request and returns when the head of the answer has come. The error
// is one of errRefused, errUnreachable, errBusy and errLost.
func (l *link) send(ctx context.Context, id *identity, stream bool, q *mux.Request) (*answer, error) {
	slots := l.calls
	if stream {
		slots = l.streams
	}
	if err := l.reserve(ctx, slots); err != nil {
		return nil, err
	}
	for {
		client, err := l.take(ctx, id)
		if err != nil {
			<-slots
			return nil, err
		}
		response, sent, err := client.Do(ctx, q)
		switch {
		case err == nil:
			return &answer{Response: response, slots: slots}, nil
		case sent:
			<-slots
			return nil, fmt.Errorf("%w: %w", errLost, err)
		case ctx.Err() != nil:
			<-slots
			return nil, fmt.Errorf("%w: %w", errUnreachable, ctx.Err())
		}
		// It ended just now, and gets no second use.
		if !client.Away() {
			client.Close()
		}
	}
}

// reserve waits for a place, for a little while and not with too many others.
func (l *link) reserve(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.waiting <- struct{}{}:
	default:
		return errBusy
	}
	defer func() { <-l.waiting }()
	timer := time.NewTimer(slotTimeout)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return errBusy
}

// take gives the connection, and opens one if there is none. Everybody waits for
// whoever does.
func (l *link) take(ctx context.Context, id *identity) (*mux.Client, error) {
	if client, err := l.kept(id); client != nil || err != nil {
		return client, err
	}
	select {
	case l.dialing <- struct{}{}:
		defer func() { <-l.dialing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errUnreachable, ctx.Err())
	}
	if client, err := l.kept(id); client != nil || err != nil {
		return client, err
	}
	// Others wait for it too, and dial has bounds of its own.
	client, err := dial(context.WithoutCancel(ctx), l.addr, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if !errors.Is(err, errRefused) {
			l.down, l.reason = time.Now().Add(downtime), err
		}
		return nil, err
	}
	l.client, l.with = client, id
	return client, nil
}

// kept gives the connection that there is, nil if there is none, or an error if there
// is none and the peer could not be reached just now.
func (l *link) kept(id *identity) (*mux.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = time.Now()
	if l.client != nil && (closed(l.client) || l.client.Away()) {
		// One that is away closes by itself.
		l.client = nil
	}
	l.renewLocked(id)
	switch {
	case l.client != nil:
		return l.client, nil
	case l.used.Before(l.down):
		return nil, l.reason
	default:
		return nil, nil //nolint:nilnil // Neither is what is meant.
	}
}

func closed(c *mux.Client) bool {
	select {
	case <-c.Closed():
		return true
	default:
		return false
	}
}

// renewLocked puts a connection aside that was opened with another identity: what
// runs on it goes on.
func (l *link) renewLocked(id *identity) {
	if l.client != nil && l.with != id {
		l.old = append(l.old, l.client)
		l.client = nil
	}
}

// sweep gives up connections of other identities that have nothing to do, which are to
// be closed without a lock. It reports whether the link is of no use any more.
func (l *link) sweep(now time.Time, id *identity) (idle []*mux.Client, unused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewLocked(id)
	kept := l.old[:0]
	for _, c := range l.old {
		if c.Busy() > 0 {
			kept = append(kept, c)
		} else {
			idle = append(idle, c)
		}
	}
	clear(l.old[len(kept):])
	l.old = kept
	if now.Sub(l.used) <= memory || len(l.old) > 0 || l.client != nil && l.client.Busy() > 0 {
		return idle, false
	}
	if l.client != nil {
		idle = append(idle, l.client)
		l.client = nil
	}
	return idle, true
}

func closeAll(all []*mux.Client) {
	for _, c := range all {
		c.Close()
	}
}

// cut closes all connections, and with them what is on its way. wait waits until
// they hold nothing any more.
func (l *link) cut() (wait func()) {
	l.mu.Lock()
	if l.client != nil {
		l.old = append(l.old, l.client)
		l.client = nil
	}
	all := slices.Clone(l.old)
	l.mu.Unlock()
	closeAll(all)
	return func() {
		for _, c := range all {
			c.Wait()
		}
	}
}
