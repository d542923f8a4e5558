// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/load"
)

// announce measures the CPU time by which a change of a tool is told to open
// streams: what a change takes with them, less what it takes without.
func announce(ctx context.Context, r *rig, o options) ([]row, error) {
	const changes = 3
	got := nothing()
	for _, s := range []subject{fairlead, goSDK, mcpGo} {
		var took [2]time.Duration
		for i, n := range []int{0, o.n} {
			progressf("announce: %d streams, %s", n, subjectNames[s])
			err := r.with(ctx, s.program(), s.path(load.Stream), nil, func(at load.Server) (err error) {
				took[i], err = load.Announce(ctx, at, load.Stream, n, changes, settle)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", subjectNames[s], err)
			}
		}
		got[s] = float64(took[1]-took[0]) / float64(o.n)
	}
	return []row{{
		what: fmt.Sprintf("list_changed to %d streams, CPU for each", o.n), show: micros, got: got,
		must: []bar{atMost(15e3, micros)}, aim: []bar{atMost(10e3, micros)},
	}}, nil
}

// What servers/fairlead is configured with: it serves on for settle after SIGTERM, and
// closes streams within the window.
const (
	drainSettle = time.Second
	drainWindow = 15 * time.Second
	// lateness is what the last stream may take longer than that.
	lateness = time.Second
	// gracePatience is settle, the later of window and time for calls, and what the
	// process may take after.
	gracePatience = drainSettle + drainWindow + 10*time.Second
)

// meet is what replicas have to find each other.
const meet = 2 * time.Second

var slow = load.Tool{Name: "slow", Arguments: `{}`}

// leave measures a replica that goes away while clients call.
func leave(ctx context.Context, r *rig, o options) ([]row, error) {
	here, there, err := r.pair(ctx)
	if err != nil {
		return nil, err
	}
	defer here.kill()
	defer there.kill()
	progressf("leave: SIGTERM with %d streams and %d callers", o.n, o.callers)
	tell := func() error { return here.command.Process.Signal(syscall.SIGTERM) }
	left, err := load.Leave(ctx, here.Server, there.Server, o.n, o.callers, slow, gracePatience, tell, here.exited)
	if err != nil {
		return nil, err
	}
	if left.Why != nil {
		progressf("leave: what was lost first: %v", left.Why)
	}
	progressf("leave: %d answers, %d of %d streams cut, %d did not come back, %d kept their session, gone after %v",
		left.Answered, left.Cut, o.n, left.Failed, left.Kept, left.Gone.Round(time.Millisecond))
	mean := float64(o.n) / drainWindow.Seconds()
	what := fmt.Sprintf("SIGTERM with %d streams: ", o.n)
	none := []bar{atMost(0, count)}
	closed := []bar{atMost(float64(drainSettle+drainWindow+lateness), inSeconds)}
	spread := []bar{atMost(2, times)}
	return []row{
		{what: what + fmt.Sprintf("answers that are lost of %d callers", o.callers), show: count, got: only(float64(left.Lost)), must: none, aim: none},
		{what: what + "streams that do not come back", show: count, got: only(float64(left.Failed + o.n - left.Cut)), must: none, aim: none},
		{what: what + "all are closed after", show: inSeconds, got: only(float64(left.Closed)), must: closed, aim: closed},
		{what: what + "the most that come back in a second, beside the mean", show: times, got: only(float64(left.Peak) / mean), must: spread, aim: spread},
	}, nil
}

// pair starts two replicas of one server.
func (r *rig) pair(ctx context.Context) (here, there *process, err error) {
	var places [2]string
	for i := range places {
		if places[i], err = freeAddress(ctx); err != nil {
			return nil, nil, err
		}
	}
	peers := strings.Join(places[:], ",")
	if here, err = r.start(ctx, fairlead.program(), "/mcp", "-peer-listen", places[0], "-peers", peers); err != nil {
		return nil, nil, err
	}
	if there, err = r.start(ctx, fairlead.program(), "/mcp", "-peer-listen", places[1], "-peers", peers); err != nil {
		here.kill()
		return nil, nil, err
	}
	return here, there, pause(ctx, meet)
}

// forward measures a call that reaches a replica which does not have its
// session, beside the same call at the replica that has it, with the same two
// processes.
func forward(ctx context.Context, r *rig, o options) ([]row, error) {
	local, away := math.Inf(1), math.Inf(1)
	for range rounds {
		here, there, err := r.pair(ctx)
		if err != nil {
			return nil, err
		}
		both := here.Server
		both.Sample = func(ctx context.Context, collect bool) (door.Sample, error) {
			a, err := here.Sample(ctx, collect)
			if err != nil {
				return a, err
			}
			b, err := there.Sample(ctx, collect)
			return a.Add(b), err
		}
		progressf("forward: at the replica that has the session, and at the other")
		near, err := load.CallLoop(ctx, both, load.Session, echo, o.callers, o.duration/rounds)
		if err == nil {
			both.Callee = there.Addr
			var far load.Calls
			if far, err = load.CallLoop(ctx, both, load.Session, echo, o.callers, o.duration/rounds); err == nil {
				local, away = min(local, cpu(near)), min(away, cpu(far))
			}
		}
		here.kill()
		there.kill()
		if err != nil {
			return nil, err
		}
	}
	progressf("forward: a local call %s, a forwarded one %s", micros(local), micros(away))
	return []row{{
		what: "tools/call at the wrong replica, CPU of both, beside a local call", show: times, got: only(away / local),
		must: []bar{atMost(2.5, times)}, aim: []bar{atMost(2, times)},
	}}, nil
}
