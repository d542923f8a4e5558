// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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

// How much garbage may pile up between two collections: in percent of what is in
// use, and in bytes once that is much. With Go's 100 a small heap is collected every
// few hundred calls, which takes a tenth of their CPU and a quarter of that of a burst
// of progress (measured on 2026-11-21); a large heap leaves tables of the collector
// behind, which Go never gives back: 8 MiB after 100,000 sessions with 400.
const (
	leastGarbage = 100
	mostGarbage  = 400
	fewGarbage   = 32 << 20
)

// percentFor is the pace of the collector for what is in use, in bytes.
func percentFor(inUse uint64) int {
	return int(min(max(fewGarbage*100/max(inUse, 1), leastGarbage), mostGarbage))
}

// paceCollector has the collector run less often while little is in use; near the
// memory limit it runs as often as it must. Whoever sets GOGC knows better. It goes on
// until ctx ends.
func paceCollector(ctx context.Context, getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(mostGarbage)
		afterCollection(ctx, mostGarbage)
	}
}

// afterCollection sets the pace anew after each collection.
func afterCollection(ctx context.Context, percent int) {
	// This is garbage at once, so that the next collection finds it.
	runtime.AddCleanup(new([16]byte), func(percent int) {
		if ctx.Err() != nil {
			return
		}
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		// Changing it stops the world for a moment: not for a little.
		if next := percentFor(live[0].Value.Uint64()); next < percent*9/10 || next > percent*11/10 {
			debug.SetGCPercent(next)
			percent = next
		}
		afterCollection(ctx, percent)
	}, percent)
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
