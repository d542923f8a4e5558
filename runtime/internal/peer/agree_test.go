// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
)

func (r *replica) serve(revision string) { r.revision.Store(&revision) }

func TestAgreeWaitsForTheLast(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	all[0].serve("two")
	agreed := make(chan error, 3)
	for _, r := range all[:2] {
		go func() { agreed <- r.links.Agree(ctx) }()
	}
	all[1].serve("two")
	select {
	case err := <-agreed:
		t.Fatalf("agreed before the third serves the revision: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	all[2].serve("two")
	go func() { agreed <- all[2].links.Agree(ctx) }()
	for range 3 {
		if err := <-agreed; err != nil {
			t.Error(err)
		}
	}
}

// A revision that comes meanwhile is what is agreed on.
func TestAgreeTakesTheLatest(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	all[0].serve("two")
	agreed := make(chan error, 1)
	go func() { agreed <- all[0].links.Agree(ctx) }()
	all[0].serve("three")
	all[1].serve("three")
	if err := all[1].links.Agree(ctx); err != nil {
		t.Error(err)
	}
	if err := <-agreed; err != nil {
		t.Error(err)
	}
}

func TestAgreeWaitsNotForLong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, r *replica)
		want error
	}{
		{name: "one that hangs", want: context.DeadlineExceeded, do: func(t *testing.T, r *replica) {
			t.Helper()
			hold := make(chan struct{})
			r.hold.Store(&hold)
			t.Cleanup(func() { close(hold) })
		}},
		{name: "one that lags", want: context.DeadlineExceeded, do: func(*testing.T, *replica) {}},
		{name: "one that has died", do: func(_ *testing.T, r *replica) { r.stop() }},
		{name: "one that leaves", do: func(t *testing.T, r *replica) {
			t.Helper()
			r.links.Leave(t.Context())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := replicas(t, 3)
			tt.do(t, all[2])
			all[0].serve("two")
			all[1].serve("two")
			limit := long
			if tt.want != nil {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := all[0].links.Agree(ctx); !errors.Is(err, tt.want) {
				t.Errorf("Agree = %v, want %v", err, tt.want)
			}
		})
	}
}

// A peer that takes connections and never answers holds up no requests but its own.
func TestAStuckPeerHoldsNobodyElseUp(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	silent := listen(t, places(t, 1)[0])
	defer silent.Close()
	stuck := session.NewOwner(all[0].addr)
	stuck.Addr = addrOf(silent)
	id := seal(ring(1, 2, 3), uid, "apikey:alice", stuck)
	good := all[0].open(t).ID()
	var waiting sync.WaitGroup
	for range 32 {
		waiting.Go(func() { is(t, all[1].ask(t, id, "hello"), http.StatusServiceUnavailable, "owner_unreachable") })
	}
	for range 32 {
		is(t, all[1].ask(t, good, "hello"), http.StatusOK, all[0].name)
	}
	waiting.Wait()
	// Once it could not be reached, nobody waits again for a while.
	began := time.Now()
	is(t, all[1].ask(t, id, "hello"), http.StatusServiceUnavailable, "owner_unreachable")
	if took := time.Since(began); took > handshakeTimeout/2 {
		t.Errorf("the next request waited for %v", took)
	}
}

func TestPlacesOnALinkAreBounded(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	id := all[0].open(t).ID()
	to := all[1].links.to(all[0].addr)
	for range maxCalls {
		to.calls <- struct{}{}
	}
	is(t, all[1].ask(t, id, "hello"), http.StatusServiceUnavailable, "overloaded")
	all[1].count(t, OutcomeBusy, 1)
	// Streams have places of their own.
	is(t, all[1].askAs(t, http.MethodGet, "/mcp", "alice", id, ""), http.StatusOK, all[0].name)
	<-to.calls
	is(t, all[1].ask(t, id, "hello"), http.StatusOK, all[0].name)
}

// Run finds peers by itself, and ends without leaving anything.
func TestRun(t *testing.T) {
	t.Parallel()
	at := places(t, 2)
	one, two := run(t, ring(1, 2, 3), at[0], at...), run(t, ring(1, 2, 3), at[1], at...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		one.links.Run(ctx)
		close(ended)
	}()
	for began := time.Now(); len(one.links.Ready()) == 0 || len(two.links.Ready()) == 0; time.Sleep(time.Millisecond) { //nolint:forbidigo // There is no channel for it.
		if time.Since(began) > long {
			t.Fatal("they did not find each other")
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(long):
		t.Fatal("Run did not end")
	}
}
