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
	revoked   bool
}

// calls are those that run, of which no session knows.
type calls struct {
	mu      sync.Mutex // guards running, and what is in it
	running map[*running]struct{}
}

// begin adds a call of a principal. end must follow.
func (c *calls) begin(principal string, cancel context.CancelCauseFunc) *running {
	call := &running{principal: principal, cancel: cancel}
	c.mu.Lock()
	c.running[call] = struct{}{}
	c.mu.Unlock()
	return call
}

// end takes a call away.
func (c *calls) end(call *running) {
	c.mu.Lock()
	delete(c.running, call)
	c.mu.Unlock()
}

// pass has a call that was begun cancelled in another way from now on.
func (c *calls) pass(call *running, cancel context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.cancel = cancel
	if call.revoked {
		cancel(errRevoked)
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
			call.revoked = true
			call.cancel(errRevoked)
		}
	}
}
