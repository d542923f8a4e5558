// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// DefaultBudget is Options.Budget's default in bytes.
	DefaultBudget = 64 << 20
	// leastBodies is how many of the largest bodies a budget always holds.
	leastBodies = 4
	// reasonBuffers is what refusals for want of budget are counted as.
	reasonBuffers = "buffers"
)

// budget bounds the bytes that are held at once: those of bodies, which ask
// before, and those in outboxes, which have bounds of their own and are only
// counted.
type budget struct {
	size int64
	held atomic.Int64
}

func newBudget(size, maxRequestSize int64) *budget {
	if size <= 0 {
		size = DefaultBudget
	}
	return &budget{size: max(size, leastBodies*maxRequestSize)}
}

// take reserves n bytes.
func (b *budget) take(n int64) bool {
	for {
		held := b.held.Load()
		if held+n > b.size {
			return false
		}
		if b.held.CompareAndSwap(held, held+n) {
			return true
		}
	}
}

// give takes n bytes back, or counts -n that are there.
func (b *budget) give(n int64) { b.held.Add(-n) }

// full says that nothing may be added.
func (b *budget) full() bool { return b.held.Load() >= b.size }

// refuseBytes refuses a request because too many bytes are held.
func (c *Core) refuseBytes(w http.ResponseWriter, r *http.Request) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusServiceUnavailable, Code: "overloaded", Reason: reasonBuffers, RetryAfter: time.Second,
		Close: r.ContentLength != 0, Message: "too many bytes of requests and of messages wait in memory, try again later",
	})
}
