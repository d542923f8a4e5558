// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/limit"
)

func TestExceeded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config limit.Config
		held   []string
		ask    func(l *limit.Limiter) error
		want   *limit.Exceeded
		text   string
	}{
		{
			name: "below", config: limit.Config{Calls: 2, CallsPerPrincipal: 1}, held: []string{"a"},
			ask: func(l *limit.Limiter) error { _, err := l.Call("b"); return err },
		},
		{
			name: "sum", config: limit.Config{Calls: 2, CallsPerPrincipal: 2}, held: []string{"a", "b"},
			ask:  func(l *limit.Limiter) error { _, err := l.Call("c"); return err },
			want: &limit.Exceeded{Reason: "in_flight_calls", Status: 503, RetryAfter: time.Second, Limit: 2},
			text: "too many calls in flight on this replica: at most 2; retry after 1s",
		},
		{
			name: "anonymous callers share no limit", config: limit.Config{Calls: 9, CallsPerPrincipal: 1},
			held: []string{auth.AnonymousKey, auth.AnonymousKey},
			ask:  func(l *limit.Limiter) error { _, err := l.Call(auth.AnonymousKey); return err },
		},
		{
			name: "principal", config: limit.Config{Calls: 9, CallsPerPrincipal: 2}, held: []string{"a", "a"},
			ask:  func(l *limit.Limiter) error { _, err := l.Call("a"); return err },
			want: &limit.Exceeded{Reason: "in_flight_per_principal", Status: 429, RetryAfter: time.Second, Limit: 2},
			text: "too many calls in flight for this client: at most 2; retry after 1s",
		},
		{
			name: "streams", config: limit.Config{Calls: 9, CallsPerPrincipal: 2},
			ask:  func(l *limit.Limiter) error { _, err := l.Stream(); return err },
			want: &limit.Exceeded{Reason: "streams_per_replica", Status: 429, RetryAfter: 5 * time.Second},
			text: "too many open streams on this replica: at most 0; retry after 5s",
		},
		{
			name: "nothing allowed",
			ask:  func(l *limit.Limiter) error { _, err := l.Call("a"); return err },
			want: &limit.Exceeded{Reason: "in_flight_calls", Status: 503, RetryAfter: time.Second},
			text: "too many calls in flight on this replica: at most 0; retry after 1s",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := limit.New(tt.config)
			for _, key := range tt.held {
				if _, err := l.Call(key); err != nil {
					t.Fatal(err)
				}
			}
			err := tt.ask(l)
			var got *limit.Exceeded
			errors.As(err, &got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if err != nil && err.Error() != tt.text {
				t.Errorf("text = %q, want %q", err, tt.text)
			}
		})
	}
}

func TestReleaseAndResize(t *testing.T) {
	t.Parallel()
	l := limit.New(limit.Config{Calls: 2, CallsPerPrincipal: 2, Streams: 1})
	first, err := l.Call("a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Call("a")
	if err != nil {
		t.Fatal(err)
	}
	l.Resize(limit.Config{Calls: 1, CallsPerPrincipal: 1, Streams: 1})
	first()
	if _, err := l.Call("a"); err == nil {
		t.Error("a lowered limit let a call in while one runs")
	}
	second()
	if third, err := l.Call("b"); err != nil {
		t.Errorf("nothing runs, yet: %v", err)
	} else {
		third()
	}
	stream, err := l.Stream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Stream(); err == nil {
		t.Error("a second stream was let in")
	}
	if calls, streams := l.Usage(); calls != 0 || streams != 1 {
		t.Errorf("Usage = %d, %d, want 0, 1", calls, streams)
	}
	stream()
	if _, streams := l.Usage(); streams != 0 {
		t.Errorf("%d streams, want 0", streams)
	}
}

// TestExact runs many callers at once: the counts never exceed the limits, and
// all is given back.
func TestExact(t *testing.T) {
	t.Parallel()
	const all, each, principals = 10, 3, 5
	l := limit.New(limit.Config{Calls: all, CallsPerPrincipal: each})
	var running atomic.Int64
	var byPrincipal [principals]atomic.Int64
	var admitted atomic.Int64
	var group sync.WaitGroup
	for worker := range 4 * principals {
		group.Go(func() {
			who := worker % principals
			for range 500 {
				release, err := l.Call(fmt.Sprint(who))
				if err != nil {
					continue
				}
				admitted.Add(1)
				if n := running.Add(1); n > all {
					t.Errorf("%d calls at once", n)
				}
				if n := byPrincipal[who].Add(1); n > each {
					t.Errorf("%d calls of one principal at once", n)
				}
				byPrincipal[who].Add(-1)
				running.Add(-1)
				release()
			}
		})
	}
	group.Wait()
	if calls, _ := l.Usage(); calls != 0 || admitted.Load() == 0 {
		t.Errorf("%d calls left, %d admitted", calls, admitted.Load())
	}
}

func TestCallAllocatesNothing(t *testing.T) {
	l := limit.New(limit.Config{Calls: 10, CallsPerPrincipal: 10})
	if n := testing.AllocsPerRun(100, func() {
		release, err := l.Call("apikey:alice")
		if err != nil {
			t.Fatal(err)
		}
		release()
	}); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

func BenchmarkCall(b *testing.B) {
	l := limit.New(limit.Config{Calls: 512, CallsPerPrincipal: 32})
	for b.Loop() {
		release, err := l.Call("apikey:alice")
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
