// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"math"
	"runtime/debug"
	"testing"
)

//nolint:paralleltest // The limit is the process's.
func TestBoundHeap(t *testing.T) {
	tests := []struct {
		name   string
		memory int64
		env    string
		want   int64
	}{
		{name: "no limit", want: math.MaxInt64},
		{name: "limit", memory: 1 << 40, want: (1 << 40) / 10 * 7},
		{name: "GOMEMLIMIT rules", memory: 1 << 40, env: "1GiB", want: math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := debug.SetMemoryLimit(math.MaxInt64)
			defer debug.SetMemoryLimit(before)
			boundHeap(tt.memory, func(name string) string {
				if name != "GOMEMLIMIT" {
					t.Errorf("asked for %q", name)
				}
				return tt.env
			})
			if got := debug.SetMemoryLimit(-1); got != tt.want {
				t.Errorf("limit = %d, want %d", got, tt.want)
			}
		})
	}
}

//nolint:paralleltest // The pace is the process's.
func TestPaceCollector(t *testing.T) {
	for env, want := range map[string]int{"": garbage, "50": 123} {
		before := debug.SetGCPercent(123)
		paceCollector(func(string) string { return env })
		if got := debug.SetGCPercent(before); got != want {
			t.Errorf("with GOGC=%q the pace is %d, want %d", env, got, want)
		}
	}
}

func TestBodyBudget(t *testing.T) {
	t.Parallel()
	for memory, want := range map[int64]int64{0: 0, 256 << 20: 64 << 20} {
		if got := bodyBudget(memory); got != want {
			t.Errorf("bodyBudget(%d) = %d, want %d", memory, got, want)
		}
	}
}
