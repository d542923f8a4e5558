// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/load"
)

const (
	// stuckClients never read.
	stuckClients = 50
	// stuckRounds are how often others are measured without and with them, each of
	// them tried so often on a busy machine.
	stuckRounds = 5
	stuckTries  = 3
	// filling is how long what is sent to them may pile up.
	filling = 1500 * time.Millisecond
	// writeDeadline is when the runtime cuts a client that does not read, and
	// cutPatience when it must have cut all of them.
	writeDeadline = 10 * time.Second
	cutPatience   = writeDeadline + 5*time.Second
)

// endless never stops, quiet goes on without another word.
var (
	endless = load.Tool{Name: "endless", Arguments: `{}`}
	quiet   = load.Tool{Name: "quiet", Arguments: `{}`}
)

// errCutEarly means that the machine is so busy that others could not be measured
// before the stuck clients were cut.
var errCutEarly = errors.New("stuck clients were cut before others were measured beside them: the machine is too busy")

// stuckRound is what one round found, in bytes for each stuck client.
type stuckRound struct {
	ratio, own, kernel float64
	// cut is when the last of them was cut.
	cut time.Duration
}

// stuck measures clients that never read what a tool sends without end.
func stuck(ctx context.Context, r *rig, o options) ([]row, error) {
	var ratios, own, kernel []float64
	var last stuckRound
	for i := range stuckRounds {
		progressf("stuck: round %d of %d", i+1, stuckRounds)
		var err error
		for range stuckTries {
			err = r.with(ctx, fairlead.program(), "/mcp", nil, func(at load.Server) (err error) {
				last, err = stickOnce(ctx, at, o, i == stuckRounds-1)
				return err
			})
			if !errors.Is(err, errCutEarly) {
				break
			}
			progressf("stuck: again, for %v", err)
		}
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, last.ratio)
		own, kernel = append(own, last.own), append(kernel, last.kernel)
	}
	call, err := waiting(ctx, r, o)
	if err != nil {
		return nil, err
	}
	slices.Sort(ratios)
	clients := fmt.Sprintf("%d clients that never read", stuckClients)
	return []row{
		{
			what: clients + ": memory of the process for each", show: kib, got: only(slices.Max(own)),
			must: []bar{atMost(72<<10, kib)}, aim: []bar{atMost(72<<10, kib)},
		},
		{
			what: "a call that waits for its HTTP backend: memory of the process", show: kib, got: only(call),
		},
		{
			what: clients + ": memory of the kernel for each", show: kib, got: only(slices.Max(kernel)),
			must: []bar{atMost(256<<10, kib)}, aim: []bar{atMost(256<<10, kib)},
		},
		{
			what: clients + fmt.Sprintf(": p99 of others, median of %d", stuckRounds), show: times, got: only(ratios[len(ratios)/2]),
			must: []bar{atMost(1.5, times)}, aim: []bar{atMost(1.2, times)},
		},
		{
			what: clients + ": all are cut after", show: inSeconds, got: only(float64(last.cut)),
			must: []bar{atMost(float64(cutPatience), inSeconds)}, aim: []bar{atMost(float64(cutPatience), inSeconds)},
		},
	}, nil
}

// waiting measures what a call takes whose client has nothing to read, for which the
// connection to the backend and the goroutines of both are needed too.
func waiting(ctx context.Context, r *rig, o options) (each float64, err error) {
	progressf("stuck: calls that wait")
	err = r.with(ctx, fairlead.program(), "/mcp", nil, func(at load.Server) error {
		before, err := settled(ctx, at, o)
		if err != nil {
			return err
		}
		clients, err := load.Stick(ctx, at, quiet, stuckClients)
		if err != nil {
			return err
		}
		defer clients.Close()
		if err := pause(ctx, filling); err != nil {
			return err
		}
		after, err := at.Sample(ctx, true)
		each = after.Sub(before).Memory / stuckClients
		return err
	})
	return each, err
}

// settled samples a server that has served everything of what follows before.
func settled(ctx context.Context, at load.Server, o options) (door.Sample, error) {
	tool := load.Tool{Name: burst, Arguments: `{"n":1}`}
	for _, kind := range []load.Kind{load.SSE, load.Session} {
		at := at
		at.Path = fairlead.path(kind)
		if _, err := load.CallLoop(ctx, at, kind, tool, o.callers/4, o.duration/4); err != nil {
			return door.Sample{}, err
		}
	}
	return at.Sample(ctx, true)
}

// stickOnce measures others without and with stuck clients, and what those take.
// It waits for their end if that is wanted.
func stickOnce(ctx context.Context, at load.Server, o options, wait bool) (stuckRound, error) {
	var found stuckRound
	others := func() (load.Calls, error) {
		return load.CallLoop(ctx, at, load.Session, echo, o.callers/4, o.duration/2)
	}
	alone, err := others()
	if err != nil {
		return found, err
	}
	before, err := settled(ctx, at, o)
	if err != nil {
		return found, err
	}
	began := time.Now()
	clients, err := load.Stick(ctx, at, endless, stuckClients)
	if err != nil {
		return found, err
	}
	defer clients.Close()
	if err := pause(ctx, filling); err != nil {
		return found, err
	}
	after, err := at.Sample(ctx, true)
	if err != nil {
		return found, err
	}
	grown := after.Sub(before)
	busy, err := others()
	if err != nil {
		return found, err
	}
	found = stuckRound{ratio: float64(busy.P99) / float64(alone.P99), own: grown.Memory / stuckClients, kernel: grown.Kernel / stuckClients}
	if after, err = at.Sample(ctx, false); err != nil {
		return found, err
	}
	if after.Accepted-before.Accepted < stuckClients {
		return found, errCutEarly
	}
	for wait && after.Accepted > before.Accepted && time.Since(began) < 2*cutPatience {
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return found, err
		}
		if after, err = at.Sample(ctx, false); err != nil {
			return found, err
		}
	}
	found.cut = time.Since(began)
	return found, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
