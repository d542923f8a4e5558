// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"fairlead.dev/fairlead/bench/runtime/load"
)

// The figures here depend on no machine: what the runtime allocates and keeps.
const (
	// gateSessions are idle.
	gateSessions = 500
	// gateSettle is longer than the pause after which a connection is parked; a busy
	// machine may need gatePatience.
	gateSettle   = time.Second
	gatePatience = 30 * time.Second
)

// TestIdleSessions: an idle session has no goroutine, and little heap.
func TestIdleSessions(t *testing.T) {
	backend, stop, err := startBackend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r, err := newRig(t.Context(), t.TempDir(), backend, fairlead.program())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		kind load.Kind
		own  bool
		// want is the most heap that a session may take, in bytes.
		want float64
	}{
		{name: "SSE", kind: load.SSE, want: 1500},
		{name: "SSE and the client's own connection", kind: load.SSE, own: true, want: 2700},
		{name: "Streamable with its stream", kind: load.Stream, want: 1500},
		{name: "Streamable without a stream", kind: load.Session, want: 700},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := r.with(t.Context(), fairlead.program(), fairlead.path(tt.kind), nil, func(at load.Server) error {
				got, err := load.HoldIdle(t.Context(), at, tt.kind, gateSessions, tt.own, load.Rest{Settle: gateSettle, Patience: gatePatience})
				if err != nil {
					return err
				}
				t.Logf("%.0f bytes of heap, %d goroutines for all", got.Heap, got.Goroutines)
				if got.Heap > tt.want {
					t.Errorf("a session takes %.0f bytes of heap, at most %.0f are allowed", got.Heap, tt.want)
				}
				// The process itself may need one more.
				if got.Goroutines > gateSessions/100 {
					t.Errorf("%d sessions take %d goroutines, none is allowed", gateSessions, got.Goroutines)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
