// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	runtime.GC() //nolint:revive // call-to-gc: what lives is measured.
	runtime.GC() //nolint:revive // call-to-gc: what finalizers freed goes with the second.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// initialized is what the engine makes of initialize, with texts of its own.
func initialized(tb testing.TB) *engine.Session {
	tb.Helper()
	s, err := engine.Restore(engine.SessionState{
		Version: engine.Version20251125, ClientName: strings.Clone("some-client"), ClientVersion: strings.Clone("1.2.3"),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// opened opens n sessions, each under a principal's name of its own memory.
func opened(tb testing.TB, r *Registry, n int) {
	tb.Helper()
	for range n {
		if _, err := r.Create(strings.Clone("apikey:some-client"), engine.EraStreamable, initialized(tb)); err != nil {
			tb.Fatal(err)
		}
	}
}

func abandoned(r *Registry) {
	for _, s := range r.expired() {
		s.Close(stream.Expired)
	}
}

func TestSizeOfASession(t *testing.T) { //nolint:paralleltest // It measures the heap.
	if got := unsafe.Sizeof(Session{}); got > 208 {
		t.Errorf("a Session has %d bytes, want at most a size class of 208", got)
	}
	const n = 4096
	r := New(sealer(), Options{Max: n, IdleTimeout: time.Hour, MaxAge: time.Hour}, nil)
	before := heap()
	opened(t, r, n)
	each := (heap() - before) / n
	runtime.KeepAlive(r)
	t.Logf("%d bytes for each session", each)
	// A tenth of go-sdk's 7.9 KiB is 808 bytes, with everything.
	if each > 512 {
		t.Errorf("a session without a stream takes %d bytes, want at most 512", each)
	}
}

func TestAbandonedSessionsLeaveNothing(t *testing.T) { //nolint:paralleltest // It measures the heap.
	const n = 16384
	r := New(sealer(), Options{Max: n, IdleTimeout: 1, MaxAge: time.Hour}, nil)
	opened(t, r, shards)
	abandoned(r)
	goroutines, before := runtime.NumGoroutine(), heap()
	opened(t, r, n)
	full := heap() - before
	abandoned(r)
	left := heap() - before
	if r.Count() != 0 || runtime.NumGoroutine() > goroutines {
		t.Errorf("%d sessions and %d goroutines are left, want 0 and %d", r.Count(), runtime.NumGoroutine(), goroutines)
	}
	t.Logf("%d bytes in use, %d afterwards", full, left)
	if left > full/100 {
		t.Errorf("%d bytes are left of %d, want less than a hundredth", left, full)
	}
	runtime.KeepAlive(r)
}

// BenchmarkAbandoned is 100,000 sessions that come and go.
func BenchmarkAbandoned(b *testing.B) {
	r := New(sealer(), Options{Max: 100_000, IdleTimeout: 1, MaxAge: time.Hour}, nil)
	before := heap()
	for b.Loop() {
		opened(b, r, 100_000)
		abandoned(r)
	}
	b.ReportMetric(float64(heap()-before), "bytes-left")
	runtime.KeepAlive(r)
}

func TestSizeOfALog(t *testing.T) { //nolint:paralleltest // It measures the heap.
	r := New(sealer(), options(), nil)
	s, err := r.Create("x", engine.EraStreamable, initialized(t))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 100)
	before := heap()
	for range 300 {
		out := stream.NewOutbox(0, nil)
		reply := s.NewReply(out)
		for range 100 {
			keep(reply, stream.Message{Data: data})
		}
		keep(reply, stream.Message{Data: data, Urgent: true})
		reply.Finish()
		reply.Detach(out)
	}
	grown := heap() - before
	runtime.KeepAlive(s)
	t.Logf("%d bytes for a log of %d bytes", grown, s.log.bytes)
	// The data are the same everywhere. Replies of which only the response is left have no place for more.
	if grown > 2*maxLog {
		t.Errorf("a log of %d bytes takes %d, want at most %d", s.log.bytes, grown, 2*maxLog)
	}
}
