// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import "runtime/debug"

// boundHeap has the collector work harder near the memory limit in bytes, 0 for
// none: from 70 % of it on, which leaves room for stacks and buffers. Whoever
// sets GOMEMLIMIT knows better.
func boundHeap(memory int64, getenv func(string) string) {
	if memory > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory / 10 * 7)
	}
}

// garbage is how much may pile up between two collections, in percent of what is
// in use. That is little, a few MiB, but for the sessions: with Go's 100 the heap
// is collected every few hundred calls, which takes a tenth of their CPU and a
// quarter of that of a burst of progress (measured on 2026-11-21).
const garbage = 400

// paceCollector has the collector run less often; near the memory limit it runs
// as often as it must. Whoever sets GOGC knows better.
func paceCollector(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}

// bodyBudget is the part of the memory limit that requests' bodies may take in
// sum, a quarter; 0, for the default, without a limit.
func bodyBudget(memory int64) int64 { return memory / 4 }
