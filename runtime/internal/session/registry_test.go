// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/keyring"
)

func options() Options {
	return Options{Max: 3, IdleTimeout: 10 * time.Minute, MaxAge: 24 * time.Hour}
}

func sealer() *Sealer { return NewSealer("uid", keyring.Ring{}, Owner{}) }

// other is an id of no session.
func other(t *testing.T) string {
	t.Helper()
	id, _ := sealer().Seal("apikey:alice")
	return id
}

func create(t *testing.T, r *Registry, principal string) *Session {
	t.Helper()
	s, err := r.Create(principal, engine.EraStreamable, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGetIsBoundToThePrincipal(t *testing.T) {
	t.Parallel()
	r := New(sealer(), options(), nil)
	s := create(t, r, "apikey:alice")
	tests := []struct {
		name, id, principal string
		want                bool
	}{
		{name: "the owner", id: s.ID(), principal: "apikey:alice", want: true},
		{name: "another principal", id: s.ID(), principal: "apikey:bob"},
		{name: "nobody", id: s.ID()},
		{name: "unknown", id: other(t), principal: "apikey:alice"},
		{name: "empty", principal: "apikey:alice"},
		{name: "too long", id: string(make([]byte, MaxIDLength+1)), principal: "apikey:alice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, got := r.Get(tt.id, tt.principal); got != tt.want {
				t.Errorf("Get = %v, want %v", got, tt.want)
			}
		})
	}
}

// counter counts open sessions.
type counter struct{ open *atomic.Int32 }

func (c counter) Sessions(_ string, delta int) { c.open.Add(int32(delta)) }
func (counter) Resumed(bool)                   {}
func (counter) EventLogBytes(int)              {}

func TestExpiry(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// hold makes the session busy and returns how to stop that.
		hold func(t *testing.T, s *Session) (let func())
		// aliveAt and goneAt are ages; hold ends at an hour.
		aliveAt, goneAt time.Duration
	}{
		{name: "idle", aliveAt: 9 * time.Minute, goneAt: 11 * time.Minute},
		{name: "an open stream holds it", hold: func(t *testing.T, s *Session) func() {
			t.Helper()
			out := stream.NewOutbox(0, nil)
			if err := s.Attach(out); err != nil {
				t.Fatal(err)
			}
			return func() { s.Detach(out) }
		}, aliveAt: 69 * time.Minute, goneAt: 71 * time.Minute},
		{name: "a running request holds it", hold: func(t *testing.T, s *Session) func() {
			t.Helper()
			if err := s.Use(); err != nil {
				t.Fatal(err)
			}
			return s.Unuse
		}, aliveAt: 69 * time.Minute, goneAt: 71 * time.Minute},
		{name: "its age ends it nevertheless", hold: func(t *testing.T, s *Session) func() {
			t.Helper()
			if err := s.Attach(stream.NewOutbox(0, nil)); err != nil {
				t.Fatal(err)
			}
			return func() {}
		}, aliveAt: 23*time.Hour + 59*time.Minute, goneAt: 24*time.Hour + time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var open atomic.Int32
				r := New(sealer(), options(), counter{&open})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go r.Run(ctx)
				s := create(t, r, "anonymous")
				if tt.hold != nil {
					time.AfterFunc(time.Hour, tt.hold(t, s))
				}
				at := func(age time.Duration) {
					<-time.After(time.Until(r.epoch.Add(s.created + age)))
					synctest.Wait()
				}
				at(tt.aliveAt)
				if s.Ended() || r.Count() != 1 || open.Load() != 1 {
					t.Fatalf("ended at %v", tt.aliveAt)
				}
				at(tt.goneAt)
				if !s.Ended() || r.Count() != 0 || open.Load() != 0 {
					t.Fatalf("still there at %v", tt.goneAt)
				}
				if err := s.Attach(stream.NewOutbox(0, nil)); !errors.Is(err, ErrEnded) {
					t.Errorf("Attach after the end = %v", err)
				}
				if err := s.Use(); !errors.Is(err, ErrEnded) {
					t.Errorf("Use after the end = %v", err)
				}
			})
		})
	}
}

func TestFullRegistryEvictsTheQuietest(t *testing.T) {
	t.Parallel()
	r := New(sealer(), options(), nil)
	a, b, c := create(t, r, "x"), create(t, r, "x"), create(t, r, "x")
	if err := a.Attach(stream.NewOutbox(0, nil)); err != nil {
		t.Fatal(err)
	}
	if err := b.Use(); err != nil {
		t.Fatal(err)
	}
	b.Unuse()
	d := create(t, r, "x")
	if a.Ended() || b.Ended() || !c.Ended() || r.Count() != 3 {
		t.Errorf("a ended: %v, b: %v, c: %v; want only c, the one used least recently without a stream", a.Ended(), b.Ended(), c.Ended())
	}
	for _, s := range []*Session{b, d} {
		if err := s.Use(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Create("x", engine.EraSSE, &engine.Session{}); !errors.Is(err, ErrFull) {
		t.Errorf("Create = %v, want ErrFull", err)
	}
	r.Seal()
	if _, err := r.Create("x", engine.EraSSE, &engine.Session{}); !errors.Is(err, ErrSealed) {
		t.Errorf("Create = %v, want ErrSealed", err)
	}
}

func TestRequestsOfOneSessionAreBounded(t *testing.T) {
	t.Parallel()
	s := create(t, New(sealer(), options(), nil), "x")
	for range MaxRequests {
		if err := s.Use(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Use(); !errors.Is(err, ErrTooMany) {
		t.Errorf("Use = %v, want ErrTooMany", err)
	}
	s.Unuse()
	if err := s.Use(); err != nil {
		t.Errorf("Use after Unuse = %v", err)
	}
}

// marks records what a stream was told.
type marks struct {
	*stream.Outbox
	bits uint32
}

func (m *marks) Mark(bits uint32) { m.bits |= bits }

func TestNewestStreamWinsAndBitsWait(t *testing.T) {
	t.Parallel()
	r := New(sealer(), options(), nil)
	s := create(t, r, "x")
	mark(r, 1)
	first, second := &marks{Outbox: stream.NewOutbox(0, nil)}, &marks{Outbox: stream.NewOutbox(0, nil)}
	if err := s.Attach(first); err != nil {
		t.Fatal(err)
	}
	if first.bits != 1 {
		t.Errorf("the first stream has bits %b, want those from before it opened", first.bits)
	}
	if err := s.Attach(second); err != nil {
		t.Fatal(err)
	}
	if got := first.Reason(); got != stream.Replaced {
		t.Errorf("the older stream's reason is %q, want %q", got, stream.Replaced)
	}
	s.Detach(first)
	if !s.Listening() {
		t.Error("the end of the older stream detached the newer")
	}
	if second.bits != 1 {
		t.Errorf("the newer stream has bits %b, want those of the older again, which may have swallowed them", second.bits)
	}
	mark(r, 2)
	if second.bits != 3 {
		t.Errorf("the newer stream has bits %b, want 11", second.bits)
	}
	s.Close(stream.SessionEnded)
	if got := second.Reason(); got != stream.SessionEnded {
		t.Errorf("the stream of an ended session: %q", got)
	}
	if _, ok := r.Get(s.ID(), "x"); ok {
		t.Error("an ended session was found")
	}
	s.Close(stream.Expired)
}

func TestBitsThatWereSurelyReadAreNotToldAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := create(t, New(sealer(), options(), nil), "x")
		told := func() uint32 {
			st := &marks{Outbox: stream.NewOutbox(0, nil)}
			if err := s.Attach(st); err != nil {
				t.Fatal(err)
			}
			return st.bits
		}
		told()
		s.Mark(1)
		if got := told(); got != 1 {
			t.Errorf("after a cut at once: %b, want 1", got)
		}
		time.Sleep(2 * doubt) //nolint:forbidigo // The bubble's clock.
		if got := told(); got != 0 {
			t.Errorf("after a stream that lived on: %b, want 0", got)
		}
	})
}

// mark sets dirty bits on every session.
func mark(r *Registry, bits uint32) {
	for _, s := range r.All() {
		s.Mark(bits)
	}
}
