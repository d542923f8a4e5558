// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/runtime/internal/park"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// leaver is something with an open stream that a drain closes.
type leaver interface {
	// Busy reports that a call is running whose answer the stream carries.
	Busy() bool
	// Leave closes the stream.
	Leave(reason stream.CloseReason)
}

// leave is the drain: see Run. ctx ends it at once.
func (s *server) leave(ctx context.Context, clients *http.Server, parked *park.Listener) {
	d := s.drain.Load()
	if s.options.Drain != nil {
		d = s.options.Drain
	}
	s.draining.Store(true)
	s.core.Part()
	s.logger.InfoContext(ctx, "Leaving: not ready any more, serving everything until endpoints caught up", "settle", d.Settle.String())
	var told sync.WaitGroup
	if s.links != nil {
		// Peers that leave at the same time hand nothing over to each other.
		told.Go(func() { s.links.Leave(ctx) })
	}
	defer told.Wait()
	if !wait(ctx, d.Settle) {
		return
	}
	s.core.Leave()
	// The pod has until the later of the two: its grace period is computed so.
	deadline := time.Now().Add(max(d.Window, d.CallTimeout))
	hand := s.newHandOver()
	s.closeStreams(ctx, hand, d, deadline)
	s.finish(ctx, clients, parked, hand, deadline)
	s.logger.InfoContext(ctx, "Left", "sessionsHandedOver", hand.moved.Load())
}

// closeStreams closes all streams over the window, and gives the sessions to peers:
// those to which nobody listens at once, the others with their streams. Peers that
// do not answer have until the deadline: then the rest closes without them.
func (s *server) closeStreams(ctx context.Context, hand *handOver, d *Drain, deadline time.Time) {
	moves, end := context.WithDeadline(ctx, deadline)
	defer end()
	var silent sync.WaitGroup
	moving, stop := context.WithCancel(moves)
	silent.Go(func() { hand.keepMoving(moving) })
	defer silent.Wait()
	defer stop()
	var group errgroup.Group
	group.SetLimit(maxHandOvers)
	leavers := s.leavers(moves, hand, &group)
	s.logger.InfoContext(ctx, "Leaving: closing streams", "streams", len(leavers), "window", d.Window.String())
	closeEvenly(ctx, leavers, d.Window, d.CallTimeout)
	_ = group.Wait() // No move fails.
	// A stream that was opening when the list was made is not on it.
	for _, l := range s.leavers(moves, hand, &group) {
		l.Leave(stream.Drain)
	}
	_ = group.Wait()
}

// finish answers what runs until the deadline, and whoever still comes: only
// then is the port closed. After that there is as long as it takes to write
// what is left.
func (s *server) finish(ctx context.Context, clients *http.Server, parked *park.Listener, hand *handOver, deadline time.Time) {
	calls, cancelCalls := context.WithDeadline(ctx, deadline)
	defer cancelCalls()
	if err := s.quiet(calls, hand); err != nil {
		s.logger.WarnContext(ctx, "Leaving: ending the calls that still run")
	}
	s.moveRest(ctx, hand, deadline)
	if left := s.sessions.Count(); left > 0 {
		s.logger.WarnContext(ctx, "Leaving: ending the sessions that no other replica took over", "sessions", left, "error", hand.lastError())
	}
	for _, open := range s.sessions.All() {
		open.Close(stream.Drain)
	}
	rest, cancelRest := context.WithTimeout(ctx, endgame)
	defer cancelRest()
	written := make(chan error, 1)
	go func() { written <- s.streams.Close(rest) }()
	s.retire(rest, parked)
	if err := clients.Shutdown(rest); err != nil {
		s.logger.WarnContext(ctx, "Leaving: cut the requests that still ran", "error", err)
	}
	if err := <-written; err != nil {
		s.logger.WarnContext(ctx, "Leaving: cut the streams that were still being written", "error", err)
	}
}

// moveRest gives away the sessions that the last calls have freed, and those of callers
// that never pause, which are free only between two calls. There is a little time for
// that beside the endgame, also if the deadline has just passed.
func (s *server) moveRest(ctx context.Context, hand *handOver, deadline time.Time) {
	if soon := time.Now().Add(lastMoves); deadline.Before(soon) {
		deadline = soon
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	hand.moveRest(ctx)
}

// retire ends what clients that were idle and peers have begun, each of which may
// take a part of the endgame, so that the others are not cut for a slow one.
func (s *server) retire(ctx context.Context, parked *park.Listener) {
	idle, cancel := context.WithTimeout(ctx, endgame/3)
	defer cancel()
	if err := parked.Drain(idle); err != nil {
		s.logger.WarnContext(ctx, "Leaving: requests still run on connections that were idle")
	}
	if s.links == nil {
		return
	}
	peers, cancelPeers := context.WithTimeout(ctx, endgame/3)
	defer cancelPeers()
	s.links.Retire(peers)
}

// quiet waits until no request is being answered; meanwhile the sessions of those
// that end move on.
func (s *server) quiet(ctx context.Context, hand *handOver) error {
	moving, stop := context.WithCancel(ctx)
	var moved sync.WaitGroup
	moved.Go(func() { hand.keepMoving(moving) })
	defer moved.Wait()
	defer stop()
	return s.handler.Quiet(ctx)
}

// leavers are all that has an open stream. group runs what their Leave begins.
func (s *server) leavers(ctx context.Context, hand *handOver, group *errgroup.Group) []leaver {
	var all []leaver
	for _, open := range s.sessions.All() {
		if open.Listening() {
			all = append(all, departing{Session: open, hand: hand, ctx: ctx, moving: group})
		}
	}
	for _, open := range s.stateless.Listens() {
		all = append(all, open)
	}
	if s.links != nil {
		for _, open := range s.links.Streams() {
			all = append(all, open)
		}
	}
	return all
}

// The steps in which closeEvenly looks, between which a stream may close late.
const (
	minStep = 5 * time.Millisecond
	maxStep = 250 * time.Millisecond
)

// closeEvenly closes all streams spread over window, so that their clients do
// not come back at the same moment. A busy one is passed over until its calls
// have ended, at most for callTimeout. It returns when all are closed.
func closeEvenly(ctx context.Context, all []leaver, window, callTimeout time.Duration) {
	if len(all) == 0 {
		return
	}
	total := len(all)
	step := min(max(window/time.Duration(total), minStep), maxStep)
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	began := time.Now()
	for len(all) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		passed := time.Since(began)
		due := total
		if passed < window {
			due = int(int64(total) * int64(passed) / int64(window))
		}
		all = closeDue(all, due-(total-len(all)), passed >= max(window, callTimeout))
	}
}

// closeDue closes up to n that are not busy, or simply all, and returns the
// others.
func closeDue(all []leaver, n int, now bool) []leaver {
	var left []leaver
	for i, l := range all {
		if n <= 0 && !now {
			if left == nil {
				return all[i:] // Nearly always, and without a copy.
			}
			return append(left, all[i:]...)
		}
		if l.Busy() && !now {
			left = append(left, l)
			continue
		}
		l.Leave(stream.Drain)
		n--
	}
	return left
}

// wait reports false if ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
