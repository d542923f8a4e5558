// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
)

// boundHeap has the collector work harder near the memory limit in bytes, 0 for
// none: from 70 % of it on, which leaves room for stacks and buffers. Whoever
// sets GOMEMLIMIT knows better.
func boundHeap(memory int64, getenv func(string) string) {
	if memory > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory / 10 * 7)
	}
}

// garbage is how much may pile up between two collections, in percent of what is
// in use. That is little, a few MiB, but for the sessions: with Go's 100 the heap
// is collected every few hundred calls, which takes a tenth of their CPU and a
// quarter of that of a burst of progress (measured on 2026-11-21).
const garbage = 400

// paceCollector has the collector run less often; near the memory limit it runs
// as often as it must. Whoever sets GOGC knows better.
func paceCollector(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}

// byteBudget is the part of the memory limit that bodies, answers of backends and
// the messages that wait may take in sum, a quarter; 0, for the default, without a
// limit.
func byteBudget(memory int64) int64 { return memory / 4 }

const (
	// lull is how long nothing must have happened before memory is returned.
	lull = time.Second
	// returnPeriod is how often that is done at most: it costs a collection.
	returnPeriod = time.Minute
)

// returner gives memory that a burst has left back to the system, once the burst
// is over: Go keeps it for longer, and a pod's use is what others see of it.
type returner struct {
	acts   atomic.Int64
	active chan struct{} // of one: something has happened
	free   func(context.Context)
}

func newReturner(free func(context.Context)) *returner {
	return &returner{active: make(chan struct{}, 1), free: free}
}

// act notes that a request or a session began or ended.
func (r *returner) act() {
	r.acts.Add(1)
	select {
	case r.active <- struct{}{}:
	default:
	}
}

// run works until ctx ends. At rest it does nothing.
func (r *returner) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.active:
		}
		for seen := int64(-1); seen != r.acts.Load(); {
			seen = r.acts.Load()
			if !wait(ctx, lull) {
				return
			}
		}
		select {
		case <-r.active: // It was seen.
		default:
		}
		r.free(ctx)
		if !wait(ctx, returnPeriod-lull) {
			return
		}
	}
}

// freeMemory gives back to the system what a burst, or the start, has left.
func (s *server) freeMemory(ctx context.Context) {
	debug.FreeOSMemory()
	if err := releaseProgram(); err != nil {
		s.logger.DebugContext(ctx, "Failed to release the pages of the program", "error", err)
	}
}

// sessionActs tells a returner of sessions that begin and end, beside the
// metrics: those that nobody uses end without a request.
type sessionActs struct {
	session.Observer
	returner *returner
}

// Sessions implements session.Observer.
func (a sessionActs) Sessions(era string, delta int) {
	a.Observer.Sessions(era, delta)
	a.returner.act()
}
