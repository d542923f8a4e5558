// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command runtime measures Fairlead's runtime beside servers on the official Go
// SDK, on mcp-go, and a floor that does nothing but the protocol's bytes. Each
// figure is of a fresh process on one processor; the client has another. It
// prints one table, and fails if a measure misses what it must be. See
// docs/performance.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options bound a run.
type options struct {
	n        int
	callers  int
	duration time.Duration
	only     string
	bridges  bool
	write    bool
}

// part is a few rows that are measured together.
type part struct {
	name    string
	measure func(ctx context.Context, r *rig, o options) ([]row, error)
}

var parts = []part{
	{"idle", idle},
	{"crowd", crowd},
	{"churn", churn},
	{"call", calls},
	{"progress", progress},
	{"fetch", fetch},
	{"stuck", stuck},
	{"announce", announce},
	{"forward", forward},
	{"leave", leave},
	{"start", start},
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 3000, "how many sessions are idle")
	flag.IntVar(&o.callers, "callers", 64, "how many callers call at once")
	flag.DurationVar(&o.duration, "d", 6*time.Second, "for how long calls are measured")
	flag.StringVar(&o.only, "only", "", "measure these parts: "+strings.Join(partNames(), ","))
	flag.BoolVar(&o.bridges, "bridges", false, "measure supergateway and mcp-proxy too; needs npm")
	flag.BoolVar(&o.write, "write", false, "write the table into docs/performance.md")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	missed, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if missed {
		os.Exit(2)
	}
}

func partNames() []string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return names
}

// chosen returns the parts that -only names.
func (o options) chosen() ([]part, error) {
	if o.bridges {
		parts = append(parts, part{"bridges", bridges})
	}
	if o.only == "" {
		return parts, nil
	}
	var some []part
	for name := range strings.SplitSeq(o.only, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only names %q, which is none of %s", name, strings.Join(partNames(), ", "))
		}
		some = append(some, parts[i])
	}
	return some, nil
}

func run(ctx context.Context, o options) (missed bool, err error) {
	some, err := o.chosen()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "fairlead-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	progressf("building the servers")
	backend, stop, err := startBackend(ctx)
	if err != nil {
		return false, err
	}
	defer stop()
	r, err := newRig(ctx, dir, backend, fairlead.program(), goSDK.program(), mcpGo.program(), floor.program())
	if err != nil {
		return false, err
	}
	if err := settleClient(); err != nil {
		return false, err
	}
	var rows []row
	for _, p := range some {
		began := time.Now()
		more, err := p.measure(ctx, r, o)
		if err != nil {
			return false, fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
		progressf("%s took %.0f s", p.name, time.Since(began).Seconds())
		render(os.Stderr, more)
	}
	missed = slices.ContainsFunc(rows, func(r row) bool { return r.missed() })
	return missed, report(ctx, rows, o)
}

// progressf tells whoever waits.
func progressf(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
