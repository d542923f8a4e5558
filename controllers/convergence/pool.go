// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
)

// Pool asks and pokes the pods of all servers. The zero value does not work; see
// New.
type Pool struct {
	options Options
}

// New returns a pool that works once it is started.
func New(o Options) *Pool { return &Pool{options: o} }

// NeedLeaderElection makes only the leader poke.
func (p *Pool) NeedLeaderElection() bool { return true }

// Observe notes what the pods of a server should hold and returns what is known
// about exactly that now. It never blocks, and starts whatever is missing.
func (p *Pool) Observe(t Target) Report { return Report{Revision: t.Revision, State: Pending} }

// Forget ends all work for a server; nothing happens if there is none.
func (p *Pool) Forget(types.NamespacedName) {}

// Start works until ctx ends and returns when all requests have ended.
func (p *Pool) Start(ctx context.Context) error { <-ctx.Done(); return nil }
