// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/load"
)

// settle is how long sessions rest before they are measured: longer than the
// pause after which a connection is parked.
const settle = 3 * time.Second

// program is the server of a subject.
func (s subject) program() string { return [subjects]string{"fairlead", "gosdk", "mcpgo", "floor"}[s] }

// paths lead to the transports, of all servers alike but for one: the SDK's
// Streamable transport decides by its path how it answers.
func (s subject) path(kind load.Kind) string {
	switch {
	case kind == load.SSE:
		return "/sse"
	case kind == load.Stateless && s == goSDK:
		return "/stateless"
	default:
		return "/mcp"
	}
}

// rest is one way to be idle.
type rest struct {
	what      string
	kind      load.Kind
	own       bool
	beside    []subject
	must, aim []bar
}

var rests = []rest{
	{
		"SSE session, RSS", load.SSE, false,
		[]subject{goSDK, mcpGo, floor},
		[]bar{sdkOver(8)},
		[]bar{sdkOver(12), atMost(3<<10, kib)},
	},
	{
		"SSE session and the client's own connection, RSS", load.SSE, true,
		[]subject{goSDK, mcpGo, floor},
		[]bar{sdkOver(7)},
		[]bar{sdkOver(12), atMost(4.6*(1<<10), kib)},
	},
	{
		"Streamable session with its stream, RSS", load.Stream, false,
		[]subject{goSDK, mcpGo, floor},
		[]bar{sdkOver(8)},
		[]bar{sdkOver(12), atMost(3<<10, kib)},
	},
	{
		"the same and the client's own connection, RSS", load.Stream, true,
		[]subject{goSDK, mcpGo, floor},
		[]bar{sdkOver(7)},
		[]bar{sdkOver(12), atMost(4.6*(1<<10), kib)},
	},
	{
		"Streamable session without a stream, RSS", load.Session, false,
		[]subject{goSDK, mcpGo},
		[]bar{sdkOver(6)},
		[]bar{sdkOver(10)},
	},
}

// idle measures sessions that rest.
func idle(ctx context.Context, r *rig, o options) ([]row, error) {
	var rows []row
	most := nothing()
	for _, rest := range rests {
		got := nothing()
		for _, s := range append([]subject{fairlead}, rest.beside...) {
			progressf("idle: %s, %s", rest.what, subjectNames[s])
			err := r.with(ctx, s.program(), s.path(rest.kind), nil, func(at load.Server) error {
				found, err := load.HoldIdle(ctx, at, rest.kind, o.n, rest.own, load.Rest{Settle: settle})
				got[s] = found.Memory
				each := float64(found.Goroutines) / float64(o.n)
				if math.IsNaN(most[s]) || each > most[s] {
					most[s] = each
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", rest.what, subjectNames[s], err)
			}
		}
		rows = append(rows, row{what: rest.what, show: kib, got: got, must: rest.must, aim: rest.aim})
	}
	// A goroutine more or less in the whole process is none of a session.
	none := atMost(0, digits)
	none.met = func(f figures) bool { return math.Round(f[fairlead]*100) <= 0 }
	return append(rows, row{what: "goroutines of an idle session, the most of these", show: digits, got: most, must: []bar{none}, aim: []bar{none}}), nil
}

// crowd measures many sessions in one process.
func crowd(ctx context.Context, r *rig, _ options) ([]row, error) {
	const sessions = 10000
	got := nothing()
	err := r.with(ctx, fairlead.program(), "/sse", nil, func(at load.Server) error {
		found, err := load.HoldIdle(ctx, at, load.SSE, sessions, false, load.Rest{Settle: settle})
		got[fairlead] = float64(found.Whole)
		return err
	})
	return []row{{
		what: fmt.Sprintf("%d idle SSE sessions, the whole process, RSS", sessions), show: mib, got: got,
		must: []bar{atMost(64<<20, mib)}, aim: []bar{atMost(40<<20, mib)},
	}}, err
}

// The sessions that churn abandons: of the others fewer, since they keep all.
const (
	abandoned       = 100000
	abandonedOthers = 10000
	idleTimeout     = 20 * time.Second
)

// churn measures what sessions leave that nobody ends.
func churn(ctx context.Context, r *rig, o options) ([]row, error) {
	var rows []row
	for _, c := range []struct {
		kind   load.Kind
		what   string
		beside []subject
	}{
		{load.Session, "Streamable", []subject{goSDK, mcpGo}},
		{load.SSE, "SSE", nil},
	} {
		memory, goroutines := nothing(), nothing()
		for _, s := range append([]subject{fairlead}, c.beside...) {
			progressf("churn: %s, %s", c.what, subjectNames[s])
			n, flags := abandonedOthers, []string(nil)
			if s == fairlead {
				n, flags = abandoned, []string{"-idle", idleTimeout.String()}
			}
			if o.n < abandonedOthers/4 {
				n /= 10 // A short run.
			}
			err := r.with(ctx, s.program(), s.path(c.kind), flags, func(at load.Server) error {
				patience := time.Duration(0)
				if s == fairlead {
					patience = 2 * idleTimeout
				}
				left, err := load.Abandon(ctx, at, c.kind, n, patience, func(g door.Growth) bool { return g.Memory < 1<<20 && g.Goroutines <= 0 })
				memory[s], goroutines[s] = left.Memory, float64(left.Goroutines)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.what, subjectNames[s], err)
			}
		}
		rows = append(rows,
			row{
				what: fmt.Sprintf("%d %s sessions abandoned (of the others %d), RSS above the start", abandoned, c.what, abandonedOthers), show: mib, got: memory,
				must: []bar{atMost(5<<20, mib)}, aim: []bar{atMost(2<<20, mib)},
			},
			row{what: "the same, goroutines above the start", show: count, got: goroutines, must: []bar{atMost(0, count)}, aim: []bar{atMost(0, count)}})
	}
	return rows, nil
}
