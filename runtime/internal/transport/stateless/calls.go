// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stateless

import (
	"context"
	"errors"
	"slices"
	"sync"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// errRevoked is the cause of the context of a call whose caller was revoked.
var errRevoked = errors.New("the caller's credentials were revoked")

// running is one call from before it is accepted until its answer has ended.
type running struct {
	principal string
	cancel    context.CancelCauseFunc
}

// calls are those that run, of which no session knows.
type calls struct {
	mu      sync.Mutex // guards running
	running map[*running]struct{}
}

// begin adds a call of a principal. The function that it returns takes it away.
func (c *calls) begin(principal string, cancel context.CancelCauseFunc) (end func()) {
	call := &running{principal: principal, cancel: cancel}
	c.mu.Lock()
	c.running[call] = struct{}{}
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		delete(c.running, call)
		c.mu.Unlock()
	}
}

// Revoke ends what the principals with these keys have open: their streams, and
// their calls, which get no result.
func (t *Transport) Revoke(principals []string) {
	for _, l := range t.Listens() {
		if slices.Contains(principals, l.Principal) {
			l.Close(stream.Revoked)
		}
	}
	t.calls.mu.Lock()
	defer t.calls.mu.Unlock()
	for call := range t.calls.running {
		if slices.Contains(principals, call.principal) {
			call.cancel(errRevoked)
		}
	}
}
