// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Namespaces of a run. Those of the burst and of its replay have names of the
// same length.
const (
	fleet, replayed       = "fairlead-fleet", "fairlead-again"
	small, late           = "fairlead-small", "fairlead-late"
	throttled             = "fairlead-old"
	foreign               = "fairlead-foreign"
	smallFleet            = 10
	seenLimit, addedLimit = 10 * time.Second, time.Second
	firstLimit            = 250 * time.Millisecond
)

// size is how much is measured.
type size struct {
	servers, foreign, old, samples int
	rest                           time.Duration
}

// measures is a run in progress.
type measures struct {
	*bench
	size
	op   *operator
	rows []row
	// few are the latencies with ten servers, burst is the time of the burst, and
	// kept what it wrote.
	few   latencies
	burst time.Duration
	kept  []request
}

// run measures everything and prints it; missed is true if a bar was missed.
func run(ctx context.Context, s size) (missed bool, err error) {
	b, err := newBench(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	m := &measures{bench: b, size: s}
	for _, namespace := range []string{fleet, replayed, small, late, throttled, foreign} {
		if err := b.namespace(namespace); err != nil {
			return false, err
		}
	}
	if m.op, err = b.startOperator(workers, nil); err != nil { //nolint:contextcheck // The bench has it.
		return false, err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"latency with ten servers", m.firstLatency},
		{"a burst", m.createFleet},
		{"rest and edits", m.counts},
		{"latency with many servers", m.secondLatency},
		{"a restart", m.startAgain},
		{"memory", m.memory},
		{"kubebuilder's old defaults", m.old20},
		{"a bare client", m.bareClient}, // What it leaves is nobody's work.
	} {
		begin := time.Now()
		if err := step.do(); err != nil {
			return false, fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: measured in %s\n", step.name, time.Since(begin).Round(time.Second))
	}
	return render(os.Stdout, m.rows), nil
}

func (m *measures) add(goal, what, measured, bar string, met bool) {
	m.rows = append(m.rows, row{goal: goal, what: what, measured: measured, bar: bar, met: met})
}

func (m *measures) firstLatency() (err error) {
	if _, err := m.fill(m.op, small, smallFleet); err != nil {
		return err
	}
	m.few, err = m.latency(small, smallFleet, m.samples)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		what string
		of   []time.Duration
	}{{"creation to first status", m.few.status}, {"ready pods to Ready", m.few.ready}} {
		p99 := percentile(l.of, 99)
		m.add("O5", l.what+", 10 servers", fmt.Sprintf("p50 %s, p99 %s", ms(percentile(l.of, 50)), ms(p99)), "p99 ≤ "+ms(firstLimit), p99 <= firstLimit)
	}
	return nil
}

// createFleet is the burst of O4, and then the counts of O1.
func (m *measures) createFleet() (err error) {
	m.op.requests.mu.Lock()
	m.op.requests.keep = fleet
	m.op.requests.mu.Unlock()
	all := m.await(fleet, m.servers, ready)
	if m.burst, err = m.bench.burst(fleet, 0, m.servers); err != nil {
		return err
	}
	m.op.requests.mu.Lock()
	m.op.requests.keep, m.kept = "", m.op.requests.kept
	m.op.requests.mu.Unlock()
	if _, err = m.wait(all); err != nil {
		return err
	}
	if _, err = m.quietly(0); err != nil {
		return err
	}
	counts := m.op.requests.in(fleet)
	m.add("O1", "requests for a new server", summary(counts, m.servers), "exact", asExpected(counts, m.servers) == "")
	m.add("O1", "events for a new server", each(m.op.requests.events(fleet), m.servers), "≤ 3", m.op.requests.events(fleet) <= 3*m.servers)
	return nil
}

func (m *measures) counts() error {
	requests, looks, err := m.bench.rest(m.op, fleet, m.servers, m.size.rest)
	if err != nil {
		return err
	}
	m.add("O2", fmt.Sprintf("requests at rest: %s, and one look at all", m.size.rest), fmt.Sprintf("%d (%d looks)", requests, looks), "0", requests == 0 && looks >= m.servers)
	requests, looks, err = m.edits(m.op, fleet)
	if err != nil {
		return err
	}
	m.add("O3", fmt.Sprintf("%d labels and annotations", 2*bursts), fmt.Sprintf("%d requests, %d looks", requests, looks), "0 requests", requests == 0)
	requests, looks, err = m.statuses(m.op, fleet)
	if err != nil {
		return err
	}
	m.add("O3", fmt.Sprintf("%d bursts of %d status changes of a child", bursts, changesPerBurst), fmt.Sprintf("%d requests, %d looks", requests, looks),
		"0 requests, ≤ 1 look a burst", requests == 0 && looks <= bursts)
	return nil
}

func (m *measures) secondLatency() error {
	if _, err := m.fill(m.op, late, smallFleet); err != nil { // As many as in the namespace of the first time.
		return err
	}
	many, err := m.latency(late, smallFleet, m.samples)
	if err != nil {
		return err
	}
	const most = 1.3
	for _, l := range []struct {
		what      string
		few, many []time.Duration
	}{{"creation to first status", m.few.status, many.status}, {"ready pods to Ready", m.few.ready, many.ready}} {
		few, more := percentile(l.few, 50), percentile(l.many, 50)
		ratio := float64(more) / float64(max(few, time.Millisecond))
		m.add("O5", fmt.Sprintf("%s, %d servers", l.what, m.servers), fmt.Sprintf("p50 %s, p99 %s", ms(more), ms(percentile(l.many, 99))),
			fmt.Sprintf("p50 ≤ %.1f × with 10 (%.2f)", most, ratio), ratio <= most)
	}
	return nil
}

func (m *measures) startAgain() error {
	if err := m.op.stop(); err != nil {
		return err
	}
	op, got, err := m.restart(fleet, late, smallFleet+m.samples, m.servers+2*(smallFleet+m.samples))
	if op != nil {
		m.op = op
	}
	if err != nil {
		return err
	}
	m.add("O8", fmt.Sprintf("restart with %d servers: requests", m.servers), strconv.Itoa(got.requests), "0", got.requests == 0)
	m.add("O8", "restart: all seen", seconds(got.seen), "≤ "+seconds(seenLimit), got.seen <= seenLimit)
	m.add("O8", "restart: a server that is created meanwhile", ms(got.meanwhile), "≤ "+ms(addedLimit), got.meanwhile <= addedLimit)
	m.add("O8", fmt.Sprintf("restart: a server that is created before the cache is full (%s)", seconds(got.begun)), ms(got.before), "", true)
	m.add("O6", "heap of the whole operator for a server", kib(got.heap), "", true)
	return m.op.stop()
}

func (m *measures) memory() error {
	total := int64(m.servers + 2*(smallFleet+m.samples) + 2)
	cost := map[form]int64{}
	for _, as := range []form{ours, typed, loose} {
		bytes, err := m.cacheCost(as)
		if err != nil {
			return err
		}
		cost[as] = bytes / total
	}
	const most = 20 << 10
	m.add("O6", "heap of the cache for a server", kib(cost[ours]), "≤ "+kib(most), cost[ours] <= most)
	for as, share := range map[form]int64{typed: 4, loose: 10} {
		m.add("O6", "the same, "+string(as), kib(cost[as]), fmt.Sprintf("≥ %d × (%.1f)", share, float64(cost[as])/float64(cost[ours])), cost[as] >= share*cost[ours])
	}
	without, err := m.cacheCost(ours)
	if err != nil {
		return err
	}
	if err := m.strangers(foreign, m.foreign); err != nil {
		return err
	}
	with, err := m.cacheCost(ours)
	if err != nil {
		return err
	}
	more := with - without
	m.add("O7", fmt.Sprintf("heap of the cache for %d objects of others", m.foreign), kib(more), "≤ 1 MiB", more <= 1<<20)
	return nil
}

func (m *measures) bareClient() error {
	took, err := m.replay(m.kept, fleet, replayed, m.servers)
	if err != nil {
		return err
	}
	const most = 2.0
	ratio := m.burst.Seconds() / took.Seconds()
	m.add("O4", fmt.Sprintf("burst of %d, all applied and told", m.servers), fmt.Sprintf("%s, %.1f a second", seconds(m.burst), float64(m.servers)/m.burst.Seconds()), "", true)
	m.add("O4", fmt.Sprintf("the same writes by a bare client, %d at once", workers), seconds(took), fmt.Sprintf("burst ≤ %.0f × this (%.2f)", most, ratio), ratio <= most)
	return nil
}

func (m *measures) old20() error {
	rate, err := m.oldDefaults(throttled, m.old)
	if err != nil {
		return err
	}
	const least = 8
	ratio := float64(m.servers) / m.burst.Seconds() / rate
	m.add("O4", fmt.Sprintf("the same with %d worker, %d requests a second, %d at once", oldWorkers, oldQPS, oldBurst), fmt.Sprintf("%.1f a second", rate),
		fmt.Sprintf("burst ≥ %d × as fast (%.0f)", least, ratio), ratio >= least)
	return nil
}
