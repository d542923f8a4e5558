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

// openers is how many sessions are opened at once.
const openers = 8

// Idle says what open sessions cost the server.
type Idle struct {
	// Memory and Heap are bytes for each session after a collection; Loose is the memory
	// without one.
	Memory, Loose, Heap float64
	// Goroutines were added by all sessions together.
	Goroutines int
	// Setup is CPU time for each session.
	Setup time.Duration
	// Whole is the RSS with all of them, in bytes.
	Whole uint64
}

// Rest is the time that a server has to put sessions to rest: Settle, and up to
// Patience more while there are goroutines that were not there before.
type Rest struct {
	Settle, Patience time.Duration
}

// HoldIdle opens n sessions, lets them rest, and measures. With own, each keeps
// a connection of its own for its messages.
func HoldIdle(ctx context.Context, server Server, kind Kind, n int, own bool, r Rest) (Idle, error) {
	before, err := warm(ctx, server, kind, r.Settle)
	if err != nil {
		return Idle{}, err
	}
	all, err := openAll(ctx, server, kind, n, own)
	defer closeAll(all, own)
	if err != nil {
		return Idle{}, err
	}
	loose, err := r.wait(ctx, server, before)
	if err != nil {
		return Idle{}, err
	}
	after, err := server.Sample(ctx, true)
	if err != nil {
		return Idle{}, err
	}
	grown, sessions := after.Sub(before), float64(n)
	return Idle{
		Memory: grown.Memory / sessions, Loose: loose.Sub(before).Memory / sessions, Heap: grown.Heap / sessions,
		Goroutines: grown.Goroutines, Setup: loose.Sub(before).CPU / time.Duration(n), Whole: after.RSS,
	}, nil
}

// wait returns how the server is after the rest.
func (r Rest) wait(ctx context.Context, server Server, before door.Sample) (door.Sample, error) {
	for until := time.Now().Add(r.Settle + r.Patience); ; {
		if err := rest(ctx, r.Settle); err != nil {
			return door.Sample{}, err
		}
		now, err := server.Sample(ctx, false)
		if err != nil || now.Goroutines <= before.Goroutines || time.Now().After(until) {
			return now, err
		}
	}
}

// warmers are the sessions that come and go before anything is measured, so that
// the pages of the program itself are there.
const warmers = 8

func warm(ctx context.Context, server Server, kind Kind, settle time.Duration) (door.Sample, error) {
	all, err := openAll(ctx, server, kind, warmers, true)
	closeAll(all, true)
	if err == nil {
		err = rest(ctx, settle)
	}
	if err != nil {
		return door.Sample{}, err
	}
	return server.Sample(ctx, true)
}

func closeAll(all []*session, own bool) {
	for _, s := range all {
		_ = s.close(own) // The server need not be told.
	}
}

func openAll(ctx context.Context, server Server, kind Kind, n int, own bool) ([]*session, error) {
	var (
		mu    sync.Mutex
		all   []*session
		first error
		next  atomic.Int64
		group sync.WaitGroup
	)
	for range openers {
		group.Go(func() {
			err := each(ctx, server, &next, n, own, func(posts *wire.Conn) error {
				s, err := open(ctx, server, kind, posts)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, s)
				return nil
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				first = err
			}
		})
	}
	group.Wait()
	if first != nil {
		return all, fmt.Errorf("failed to open %d sessions: %w", n, first)
	}
	return all, nil
}

// each calls what with a connection for messages until n calls were made by all
// openers together.
func each(ctx context.Context, server Server, next *atomic.Int64, n int, own bool, what func(posts *wire.Conn) error) error {
	var shared *wire.Conn
	if !own {
		c, err := wire.Dial(ctx, server.Addr, server.Key)
		if err != nil {
			return err
		}
		defer c.Close()
		shared = c
	}
	for next.Add(1) <= int64(n) {
		if err := what(shared); err != nil {
			return err
		}
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
