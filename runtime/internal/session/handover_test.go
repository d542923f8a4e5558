// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/keyring"
)

// replicas are two registries of one server.
func replicas(t *testing.T) (a, b *Registry) {
	t.Helper()
	ring := keyring.Ring{Current: key(1), Next: key(2)}
	return New(NewSealer("uid", ring, NewOwner(here.Addr)), options(), nil), New(NewSealer("uid", ring, NewOwner(netip.MustParseAddrPort("10.0.0.8:8082"))), options(), nil)
}

// sent is what arrives of a snapshot on the other side.
func sent(t *testing.T, from Snapshot) Snapshot {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	var to Snapshot
	if err := json.Unmarshal(data, &to); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := replicas(t)
		state, err := engine.Restore(engine.SessionState{Version: engine.Version20250618, ClientName: "c", ClientVersion: "1", Level: 3})
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.Create("apikey:alice", engine.EraStreamable, state)
		if err != nil {
			t.Fatal(err)
		}
		id := s.ID()
		s.Mark(1)
		time.Sleep(time.Hour) //nolint:forbidigo // The bubble's clock.
		from, ok := s.Freeze()
		if !ok {
			t.Fatal("a quiet session is not frozen")
		}
		if err := s.Use(); !errors.Is(err, ErrMoved) {
			t.Errorf("Use of a frozen session = %v, want ErrMoved", err)
		}
		if _, ok := s.Freeze(); ok {
			t.Error("a frozen session was frozen again")
		}
		to, err := b.Adopt(sent(t, from))
		if err != nil {
			t.Fatal(err)
		}
		a.Moved(s.Key(), netip.MustParseAddrPort("10.0.0.8:8082"))
		if _, ok := a.Get(id, "apikey:alice"); ok || a.Has(s.Key()) || a.Count() != 0 {
			t.Error("the first replica still has the session")
		}
		if where, ok := a.Where(s.Key()); !ok || where.Port() != 8082 {
			t.Errorf("Where = %v, %v", where, ok)
		}
		got, ok := b.Get(id, "apikey:alice")
		if !ok || got != to || !b.Has(got.Key()) || got.ID() != id {
			t.Fatal("the other replica does not find the session under its id")
		}
		if _, ok := b.Get(id, "apikey:bob"); ok {
			t.Error("the session is another principal's now")
		}
		if got.State.Export() != state.Export() || got.dirty != 1 || b.now()-got.created != time.Hour {
			t.Errorf("adopted %+v with %+v", got, got.State.Export())
		}
	})
}

func TestFreezeRefusesABusySession(t *testing.T) {
	t.Parallel()
	a, _ := replicas(t)
	s := create(t, a, "x")
	if err := s.Use(); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Freeze(); ok {
		t.Error("a session with a running request was frozen")
	}
	s.Unuse()
	if _, ok := s.Freeze(); !ok {
		t.Error("a quiet session was not frozen")
	}
	s.Thaw()
	if err := s.Use(); err != nil {
		t.Errorf("Use after Thaw = %v", err)
	}
	s.Close(stream.SessionEnded)
	if _, ok := s.Freeze(); ok {
		t.Error("a session that has ended was frozen")
	}
}

func TestAMovedSessionKeepsItsStreamUntilItLeaves(t *testing.T) {
	t.Parallel()
	a, _ := replicas(t)
	for _, era := range []engine.Era{engine.EraSSE, engine.EraStreamable} {
		s, err := a.Create("x", era, &engine.Session{})
		if err != nil {
			t.Fatal(err)
		}
		out := stream.NewOutbox(0, nil)
		if err := s.Attach(out); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Freeze(); !ok {
			t.Fatal("not frozen")
		}
		a.Moved(s.Key(), here.Addr)
		if all := a.All(); len(all) != 1 || out.Reason() != "" {
			t.Errorf("%s: %d sessions, the stream is closed: %q", era, len(all), out.Reason())
		}
		s.Leave(stream.Drain)
		if out.Reason() != stream.Drain {
			t.Errorf("%s: the stream is closed: %q, want drain", era, out.Reason())
		}
		s.Detach(out)
		if a.Count() != 0 || len(a.All()) != 0 {
			t.Errorf("%s: the session stays after its stream", era)
		}
	}
}

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	a, b := replicas(t)
	good, _ := create(t, a, "x").Freeze()
	with := func(change func(*Snapshot)) Snapshot {
		s := good
		change(&s)
		return s
	}
	tests := []struct {
		name string
		from Snapshot
		want string
	}{
		{"a forged id", with(func(s *Snapshot) { s.ID = strings.Repeat("a", len(s.ID)) }), "its id is none that this server made"},
		{"another principal", with(func(s *Snapshot) { s.Principal = "y" }), "its id is none that this server made"},
		{"an unknown era", with(func(s *Snapshot) { s.Era = "stateless" }), `era "stateless" has no sessions`},
		{"an unknown revision", with(func(s *Snapshot) { s.State.Version = "2026-07-28" }), `revision "2026-07-28" has no sessions`},
		{"an unknown level", with(func(s *Snapshot) { s.State.Level = 9 }), "there is no log level 9"},
	}
	for _, tt := range tests {
		if _, err := b.Adopt(tt.from); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if b.Count() != 0 {
		t.Errorf("%d sessions after refusals", b.Count())
	}
	if _, err := b.Adopt(good); err != nil {
		t.Fatal(err)
	}
	b.Seal()
	other, _ := create(t, a, "x").Freeze()
	if _, err := b.Adopt(other); !errors.Is(err, ErrSealed) {
		t.Errorf("Adopt while leaving = %v", err)
	}
}

// The copies of a session that answers which were lost have left behind are told apart:
// what was offered last is the session.
func TestCopies(t *testing.T) {
	t.Parallel()
	a, b := replicas(t)
	s := create(t, a, "x")
	offered := func(s *Session) Snapshot {
		from, ok := s.Freeze()
		if !ok {
			t.Fatal("not frozen")
		}
		return sent(t, from)
	}
	first := offered(s)
	if b.Adopted(a.sealer.Self()) {
		t.Error("a session of the owner seems to have come before")
	}
	copied, err := b.Adopt(first)
	if err != nil {
		t.Fatal(err)
	}
	if !b.Adopted(a.sealer.Self()) || b.Adopted(b.sealer.Self()) {
		t.Error("which owner's session has come is not remembered")
	}
	if again, err := b.Adopt(first); err != nil || again != copied || b.Count() != 1 {
		t.Errorf("the same offer again: another session %t, %v, %d sessions", again != copied, err, b.Count())
	}
	s.Thaw()
	s.Mark(1)
	second := offered(s)
	got, err := b.Adopt(second)
	if err != nil || !copied.Ended() || got.dirty != 1 || b.Count() != 1 {
		t.Fatalf("a later offer: %v, the earlier copy has ended: %t, %d sessions", err, copied.Ended(), b.Count())
	}
	if _, err := b.Adopt(first); !errors.Is(err, ErrHere) || got.Ended() {
		t.Errorf("an earlier offer: %v", err)
	}
	if g, here := b.Generation(got.Key()); !here || g != second.Generation {
		t.Errorf("the copy has generation %d, %t", g, here)
	}
	// What goes on at its owner is above all copies, and stays above them when it moves.
	s.Thaw()
	if g, _ := a.Generation(s.Key()); g < second.Generation+MaxOffers-1 {
		t.Errorf("generation %d at the owner, after %d was offered", g, second.Generation)
	}
	// A copy is given up for what is elsewhere, also one that comes late.
	b.Disown(got.Key(), second.Generation-1, here.Addr)
	if got.Ended() {
		t.Error("a copy was given up that is not outdated")
	}
	b.Disown(got.Key(), second.Generation, here.Addr)
	if at, ok := b.Where(got.Key()); !got.Ended() || b.Has(got.Key()) || at != here.Addr || !ok {
		t.Errorf("a copy that is outdated: ended %t, the session is at %v, %t", got.Ended(), at, ok)
	}
	if _, err := b.Adopt(second); !errors.Is(err, ErrOutdated) || b.Count() != 0 {
		t.Errorf("an offer that came late: %v, %d sessions", err, b.Count())
	}
	// The session comes here after all.
	if _, err := b.Adopt(offered(s)); err != nil || b.Count() != 1 {
		t.Errorf("the latest offer: %v", err)
	}
	if at, ok := b.Where(got.Key()); ok {
		t.Errorf("the session is here, and at %v", at)
	}
}

// A session that ends on its way has to end where it has got to, too.
func TestAFrozenSessionEnds(t *testing.T) {
	t.Parallel()
	a, b := replicas(t)
	for _, end := range []bool{false, true} {
		s := create(t, a, "x")
		from, _ := s.Freeze()
		taken, err := b.Adopt(from)
		if err != nil {
			t.Fatal(err)
		}
		if end {
			s.Close(stream.Revoked)
		}
		if was := a.Moved(s.Key(), here.Addr); was == end {
			t.Errorf("the session has ended: %t; Moved = %t", end, was)
		}
		b.Disown(s.Key(), math.MaxUint32, netip.AddrPort{})
		if _, ok := b.Where(s.Key()); !taken.Ended() || ok {
			t.Error("the session that has ended goes on, or is elsewhere")
		}
	}
}
