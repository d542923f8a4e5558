// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/wire"
)

// look is how often what is left is looked at.
const look = 2 * time.Second

// Abandon opens n sessions, cuts each one's connections at once, and measures
// what is left: when as little is left as enough says, or after patience.
func Abandon(ctx context.Context, server Server, kind Kind, n int, patience time.Duration, enough func(door.Growth) bool) (door.Growth, error) {
	before, err := warm(ctx, server, kind, look)
	if err != nil {
		return door.Growth{}, err
	}
	var (
		next  atomic.Int64
		group sync.WaitGroup
		errs  = make(chan error, openers)
	)
	for range openers {
		group.Go(func() {
			errs <- each(ctx, server, &next, n, false, func(posts *wire.Conn) error {
				s, err := open(ctx, server, kind, posts)
				if err != nil {
					return err
				}
				return s.close(false)
			})
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return door.Growth{}, fmt.Errorf("failed to open and abandon %d sessions: %w", n, err)
		}
	}
	for until := time.Now().Add(patience); ; {
		if err := rest(ctx, look); err != nil {
			return door.Growth{}, err
		}
		after, err := server.Sample(ctx, true)
		if err != nil {
			return door.Growth{}, err
		}
		if left := after.Sub(before); enough(left) || time.Now().After(until) {
			return left, nil
		}
	}
}
