// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import "sync/atomic"

const (
	// DefaultBodyBudget is Options.BodyBudget's default in bytes.
	DefaultBodyBudget = 64 << 20
	// leastBodies is how many of the largest bodies a budget always holds.
	leastBodies = 4
)

// bodyBudget bounds the bytes of all bodies that are held at once.
type bodyBudget struct {
	size int64
	held atomic.Int64
}

func newBodyBudget(size, maxRequestSize int64) *bodyBudget {
	if size <= 0 {
		size = DefaultBodyBudget
	}
	return &bodyBudget{size: max(size, leastBodies*maxRequestSize)}
}

// take reserves n bytes.
func (b *bodyBudget) take(n int64) bool {
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

// give takes n bytes back.
func (b *bodyBudget) give(n int64) { b.held.Add(-n) }
