// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

const (
	// handOverTimeout bounds how long a peer may take to take one session over.
	handOverTimeout = 2 * time.Second
	// maxHandOvers bounds the sessions that are on their way at once.
	maxHandOvers = 64
	// handOverPeriod is how often is looked for sessions that have become idle.
	handOverPeriod = 100 * time.Millisecond
	// maxFrozen bounds the sessions that wait for their move.
	maxFrozen = 256
	// lastMoves is how long sessions may still move when the drain's time is over;
	// with the endgame it is within the grace period.
	lastMoves = time.Second
)

// successors take sessions over; *peer.Links is one.
type successors interface {
	// Ready are the peers that may be asked.
	Ready() []netip.AddrPort
	// HandOver gives a frozen session to a peer, and returns to which.
	HandOver(ctx context.Context, s session.Snapshot) (to netip.AddrPort, err error)
	// Withdraw ends a session that a peer has taken over.
	Withdraw(ctx context.Context, key session.Key, from netip.AddrPort)
}

// handOver moves the sessions of a replica that takes leave to its peers.
type handOver struct {
	peers    successors // nil: there are none
	sessions *session.Registry
	moved    atomic.Int64
	failed   atomic.Pointer[error] // the last
	failedAt atomic.Int64          // in Unix milliseconds
	// frozen are sessions that have just become idle and wait for their move.
	frozen chan frozen
}

type frozen struct {
	*session.Session
	snapshot session.Snapshot
}

func (s *server) newHandOver() *handOver {
	h := &handOver{sessions: s.sessions, frozen: make(chan frozen, maxFrozen)}
	if s.links != nil {
		h.peers = s.links
	}
	return h
}

// lastError is why a session was not taken over, nil if none was offered.
func (h *handOver) lastError() error {
	if err := h.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// move gives one session to a peer, unless a request of it is running. One that
// nobody takes goes on here.
func (h *handOver) move(ctx context.Context, s *session.Session) {
	if h.peers == nil || ctx.Err() != nil {
		return
	}
	if snapshot, ok := s.Freeze(); ok {
		h.give(ctx, s, snapshot)
	}
}

// give gives a frozen session to a peer.
func (h *handOver) give(ctx context.Context, s *session.Session, snapshot session.Snapshot) {
	limited, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	to, err := h.peers.HandOver(limited, snapshot)
	if err != nil {
		s.Thaw()
		h.failed.Store(&err)
		if ctx.Err() == nil { // Else it was called off here, and tells nothing of the peers.
			h.failedAt.Store(time.Now().UnixMilli())
		}
		return
	}
	if !h.sessions.Moved(s.Key(), to) {
		h.peers.Withdraw(limited, s.Key(), to)
		return
	}
	h.moved.Add(1)
}

// moveAll moves, some at a time, those of the sessions that are neither in use nor
// listened to, or all that are not in use. It returns when each was tried once, and
// reports whether none was in use.
func (h *handOver) moveAll(ctx context.Context, listening bool) (whole bool) {
	if h.peers == nil {
		return true
	}
	whole = true
	ready := len(h.peers.Ready()) > 0
	var moving errgroup.Group
	moving.SetLimit(maxHandOvers)
	for _, s := range h.sessions.All() {
		switch {
		case ctx.Err() != nil:
		case s.InUse():
			whole = whole && !h.sessions.Has(s.Key())
		case ready && (listening || !s.Listening()):
			moving.Go(func() error { h.move(ctx, s); return nil })
		}
	}
	_ = moving.Wait() // No move fails.
	return whole
}

// keepMoving moves sessions to which nobody listens, as soon as they are not in use,
// until ctx ends.
func (h *handOver) keepMoving(ctx context.Context) {
	h.moveUntil(ctx, false, func(bool) bool { return false })
}

// moveRest is keepMoving for all that is left. It returns when nothing is that might
// still move, or ctx ends.
func (h *handOver) moveRest(ctx context.Context) {
	began := time.Now().UnixMilli()
	h.moveUntil(ctx, true, func(whole bool) bool {
		refused := len(h.peers.Ready()) == 0 || h.failedAt.Load() >= began
		return whole && refused || !slices.ContainsFunc(h.sessions.All(), func(s *session.Session) bool { return h.sessions.Has(s.Key()) })
	})
}

// moveUntil moves sessions as soon as they are not in use, those to which nobody
// listens or all, until ctx ends or it is done, which is asked when all were tried that
// were not in use, and told whether these were the whole.
func (h *handOver) moveUntil(ctx context.Context, listening bool, done func(whole bool) bool) {
	if h.peers == nil {
		return
	}
	h.sessions.WhenIdle(h.freeze)
	ticker := time.NewTicker(handOverPeriod)
	defer ticker.Stop()
	var moving errgroup.Group
	moving.SetLimit(maxHandOvers)
	for ctx.Err() == nil {
		if done(h.moveAll(ctx, listening)) {
			break
		}
		h.giveFrozen(ctx, &moving, ticker.C)
	}
	h.sessions.WhenIdle(nil)
	h.empty(ctx, &moving)
	_ = moving.Wait() // No move fails.
}

// empty gives the rest of what freeze keeps away, or takes it back into use if ctx has
// ended.
func (h *handOver) empty(ctx context.Context, moving *errgroup.Group) {
	for {
		select {
		case s := <-h.frozen:
			if ctx.Err() != nil {
				s.Thaw()
				continue
			}
			moving.Go(func() error { h.give(ctx, s.Session, s.snapshot); return nil })
		default:
			return
		}
	}
}

// giveFrozen gives the sessions away that freeze keeps, until it is time to look at all
// again.
func (h *handOver) giveFrozen(ctx context.Context, moving *errgroup.Group, again <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			return
		case s := <-h.frozen:
			moving.Go(func() error { h.give(ctx, s.Session, s.snapshot); return nil })
		}
	}
}

// freeze keeps a session that is idle at this moment so: the next request of a caller
// that never pauses waits, and is served by whoever has the session then.
func (h *handOver) freeze(s *session.Session) {
	if time.Since(time.UnixMilli(h.failedAt.Load())) < time.Second {
		return // Nobody shall wait again and again for peers that take nothing.
	}
	snapshot, ok := s.Freeze()
	if !ok {
		return
	}
	select {
	case h.frozen <- frozen{s, snapshot}:
	default:
		s.Thaw() // It is tried again after the next request.
	}
}

// departing is a session with an open stream, which closes once another replica has
// the session, so that a client that comes back finds it.
type departing struct {
	*session.Session
	hand *handOver
	//nolint:containedctx // It is what bounds Leave, which is called within it.
	ctx    context.Context
	moving *errgroup.Group
}

// Busy reports whether a request is running: its session cannot move yet.
func (d departing) Busy() bool { return d.InUse() }

// Leave implements leaver. It does not wait for the peer, unless many are on their
// way already.
func (d departing) Leave(reason stream.CloseReason) {
	d.moving.Go(func() error {
		d.move()
		// Its client may have gone meanwhile: then there is no stream to close, and the
		// session must not end with one.
		if d.Listening() {
			d.Session.Leave(reason)
		}
		return nil
	})
}

// busyPeriod is how often is looked whether a session that could not move is free.
const busyPeriod = 10 * time.Millisecond

// move moves the session. It may be on its way already, and a request of it may have
// begun since it was not busy: until that is answered, its stream must stay.
func (d departing) move() {
	for {
		d.hand.move(d.ctx, d.Session)
		d.hand.sessions.Settle(d.ctx, d.Key())
		if !d.InUse() || !wait(d.ctx, busyPeriod) {
			return
		}
	}
}
