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

// bodyBudget is the part of the memory limit that requests' bodies may take in
// sum, a quarter; 0, for the default, without a limit.
func bodyBudget(memory int64) int64 { return memory / 4 }
