// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"

	"fairlead.dev/fairlead/bench/runtime/load"
)

// burst is the tool that reports progress n times.
const burst = "progress"

// echo is the tool of which the cost of a call is told.
var echo = load.Tool{Name: "echo", Arguments: `{"text":"hello, bench"}`}

// rounds are how often calls are measured of each server, one server after the
// other: what else the machine does makes calls dearer, never cheaper, so that
// the cheapest round counts.
const rounds = 3

// loop measures calls of a tool over one transport of several servers.
func loop(ctx context.Context, r *rig, o options, kind load.Kind, tool load.Tool, callers int, beside ...subject) (map[subject]load.Calls, error) {
	found := map[subject]load.Calls{}
	for range rounds {
		for _, s := range append([]subject{fairlead}, beside...) {
			progressf("%s over %s, %s", tool.Name, kind, subjectNames[s])
			err := r.with(ctx, s.program(), s.callPath(kind, tool), nil, func(at load.Server) error {
				got, err := load.CallLoop(ctx, at, kind, tool, callers, o.duration/rounds)
				if last, measured := found[s]; !measured || got.CPU < last.CPU {
					found[s] = got
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s over %s, %s: %w", tool.Name, kind, subjectNames[s], err)
			}
		}
	}
	return found, nil
}

// callPath is where calls go: all answer with JSON when nothing comes before the
// result, and with events else.
func (s subject) callPath(kind load.Kind, tool load.Tool) string {
	switch {
	case kind == load.Session && s == goSDK && tool.Name != burst:
		return "/json"
	case kind == load.Session && s == floor && tool.Name == burst:
		return "/events"
	default:
		return s.path(kind)
	}
}

func pick(found map[subject]load.Calls, of func(load.Calls) float64) figures {
	f := nothing()
	for s, c := range found {
		f[s] = of(c)
	}
	return f
}

// worst keeps for each server the larger of two figures.
func worst(a, b figures) figures {
	for i := range a {
		if math.IsNaN(a[i]) || b[i] > a[i] {
			a[i] = b[i]
		}
	}
	return a
}

func cpu(c load.Calls) float64 { return float64(c.CPU) }

// calls measures what a call of a trivial tool costs over each transport.
func calls(ctx context.Context, r *rig, o options) ([]row, error) {
	var rows []row
	bytes, allocations := nothing(), nothing()
	for _, t := range []struct {
		kind load.Kind
		what string
	}{
		{load.SSE, "SSE (2024-11-05)"},
		{load.Session, "Streamable HTTP (2025-06-18)"},
		{load.Stateless, "stateless (2026-07-28)"},
	} {
		found, err := loop(ctx, r, o, t.kind, echo, o.callers, goSDK, mcpGo, floor)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			what: "tools/call, " + t.what + ", CPU", show: micros, got: pick(found, cpu),
			must: []bar{floorTimes(2), sdkOver(3.5), belowMCPGo()}, aim: []bar{floorTimes(1.5)},
		})
		bytes = worst(bytes, pick(found, func(c load.Calls) float64 { return c.Bytes }))
		allocations = worst(allocations, pick(found, func(c load.Calls) float64 { return c.Allocations }))
	}
	return append(rows,
		row{what: "bytes allocated for a call, the most of these", show: kb, got: bytes, must: []bar{atMost(10e3, kb)}, aim: []bar{atMost(6e3, kb)}},
		row{what: "allocations of a call, the most of these", show: count, got: allocations, must: []bar{atMost(120, count)}, aim: []bar{atMost(80, count)}}), nil
}

// progress measures bursts of notifications before an answer.
func progress(ctx context.Context, r *rig, o options) ([]row, error) {
	var rows []row
	for _, t := range []struct {
		kind load.Kind
		what string
	}{
		{load.SSE, "SSE"},
		{load.Session, "Streamable HTTP"},
	} {
		found, err := loop(ctx, r, o, t.kind, load.Tool{Name: burst, Arguments: `{"n":100}`}, o.callers/4, goSDK, mcpGo, floor)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			what: "progress, 100 events a call, " + t.what + ", events in a second of CPU", show: thousands, more: true,
			got:  pick(found, func(c load.Calls) float64 { return c.Events }),
			must: []bar{sdkTimes(8)}, aim: []bar{sdkTimes(20)},
		})
	}
	return rows, nil
}

// fetch measures a tool that asks a backend over HTTP.
func fetch(ctx context.Context, r *rig, o options) ([]row, error) {
	found, err := loop(ctx, r, o, load.Session, load.Tool{Name: "fetch", Arguments: `{}`}, o.callers, goSDK, floor)
	return []row{{
		what: "tools/call of a tool with an HTTP backend, CPU", show: micros, got: pick(found, cpu),
		must: []bar{floorTimes(1.5)}, aim: []bar{floorTimes(1.25)},
	}}, err
}
