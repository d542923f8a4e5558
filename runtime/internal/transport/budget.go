// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// DefaultBodyBudget is Options.BodyBudget's default in bytes.
	DefaultBodyBudget = 64 << 20
	// leastBodies is how many of the largest bodies a budget always holds.
	leastBodies = 4
)

// bodyBudget bounds the bytes of all bodies that are held at once.
type bodyBudget struct {
	free *semaphore.Weighted
	size int64
}

func newBodyBudget(size, maxRequestSize int64) *bodyBudget {
	if size <= 0 {
		size = DefaultBodyBudget
	}
	size = max(size, leastBodies*maxRequestSize)
	return &bodyBudget{free: semaphore.NewWeighted(size), size: size}
}

// bodyShare is the part of a budget that one body has.
type bodyShare struct {
	budget *bodyBudget
	held   int64
}

// take reserves n bytes. A body that may be larger than the whole budget, since
// the settings have changed, gets all of it.
func (b *bodyBudget) take(n int64) (*bodyShare, bool) {
	n = min(n, b.size)
	return &bodyShare{budget: b, held: n}, b.free.TryAcquire(n)
}

// shrink gives back all but n bytes.
func (s *bodyShare) shrink(n int64) {
	if n < s.held {
		s.budget.free.Release(s.held - n)
		s.held = n
	}
}

func (s *bodyShare) release() { s.shrink(0) }

// reserveBody takes what a request may send of the budget, or refuses it and
// returns false. An unknown length counts as the largest.
func (c *Core) reserveBody(w http.ResponseWriter, r *http.Request, most int64) (*bodyShare, bool) {
	n := r.ContentLength
	if n < 0 {
		n = most
	}
	share, ok := c.bodies.take(n)
	if !ok {
		c.Refuse(w, r, Refusal{
			Status: http.StatusServiceUnavailable, Code: "overloaded", RetryAfter: time.Second, Close: true,
			Message: "too many bytes of requests are held in memory, try again later",
		})
	}
	return share, ok
}
