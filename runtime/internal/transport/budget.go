// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net/http"
	"time"

	"fairlead.dev/fairlead/runtime/internal/limit"
)

const (
	// DefaultBudget is the budget's size in bytes where nothing is known of the
	// machine's memory.
	DefaultBudget = 64 << 20
	// leastBodies is how many of the largest bodies a budget always holds.
	leastBodies = 4
	// reasonBuffers is what refusals for want of budget are counted as.
	reasonBuffers = "buffers"
)

// NewBudget makes a budget of size bytes, or of DefaultBudget if that is zero, and
// of at least four of the largest bodies.
func NewBudget(size, maxRequestSize int64) *limit.Bytes {
	if size <= 0 {
		size = DefaultBudget
	}
	return limit.NewBytes(max(size, leastBodies*maxRequestSize))
}

// refuseBytes refuses a request because too many bytes are held.
func (c *Core) refuseBytes(w http.ResponseWriter, r *http.Request) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusServiceUnavailable, Code: "overloaded", Reason: reasonBuffers, RetryAfter: time.Second,
		Close: r.ContentLength != 0, Message: "too many bytes of requests and of messages wait in memory, try again later",
	})
}
