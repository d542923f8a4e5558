// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/keyring"
)

func key(b byte) keyring.Key { return keyring.Key{31: b} }

var here = NewOwner(netip.MustParseAddrPort("10.0.0.7:8082"))

func TestAnIDTellsItsOwnerAndKey(t *testing.T) {
	t.Parallel()
	ring := keyring.Ring{Current: key(1), Next: key(2)}
	for _, addr := range []string{"10.0.0.7:8082", "[2001:db8::7]:8082", ""} {
		self := NewOwner(netip.AddrPort{})
		if addr != "" {
			self.Addr = netip.MustParseAddrPort(addr)
		}
		s := NewSealer("uid", ring, self)
		seen := map[string]bool{}
		for range 100 {
			id, key := s.Seal("apikey:alice")
			if !regexp.MustCompile(`^[a-z2-7]{103}$`).MatchString(id) || seen[id] {
				t.Fatalf("id %q came twice, or has other characters than a header and a query can carry", id)
			}
			seen[id] = true
			// Another replica with the same ring.
			gotOwner, gotKey, ok := NewSealer("uid", ring, here).Open(id, "apikey:alice")
			if !ok || gotOwner != self || gotKey != key {
				t.Fatalf("Open = %v, %x, %v, want %v, %x", gotOwner, gotKey, ok, self, key)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ring := keyring.Ring{Current: key(1), Next: key(2), Previous: key(3)}
	s := NewSealer("uid", ring, here)
	id, _ := s.Seal("apikey:alice")
	foreign, _ := NewSealer("other uid", ring, here).Seal("apikey:alice")
	old, _ := NewSealer("uid", keyring.Ring{Current: key(9), Next: key(1)}, here).Seal("apikey:alice")
	alone, _ := NewSealer("uid", keyring.Ring{}, here).Seal("apikey:alice")
	tests := []struct {
		name, id, principal string
		want                bool
	}{
		{name: "as it was made", id: id, principal: "apikey:alice", want: true},
		{name: "another principal", id: id, principal: "apikey:bob"},
		{name: "nobody", id: id},
		{name: "a principal that begins alike", id: id, principal: "apikey:alice2"},
		{name: "another server", id: foreign, principal: "apikey:alice"},
		{name: "an old key", id: old, principal: "apikey:alice"},
		{name: "a replica without a ring", id: alone, principal: "apikey:alice"},
		{name: "upper case", id: strings.ToUpper(id), principal: "apikey:alice"},
		{name: "longer", id: id + "a", principal: "apikey:alice"},
		{name: "far too long", id: strings.Repeat("a", MaxIDLength+1), principal: "apikey:alice"},
		{name: "of the same length", id: strings.Repeat("a", len(id)), principal: "apikey:alice"},
		{name: "other characters", id: strings.Repeat("1", len(id)), principal: "apikey:alice"},
	}
	for n := range len(id) {
		tests = append(tests, struct {
			name, id, principal string
			want                bool
		}{name: "truncated", id: id[:n], principal: "apikey:alice"})
	}
	// Each character holds bits that are authenticated, or must be zero.
	for i := range len(id) {
		for _, c := range "ab7" {
			if forged := id[:i] + string(c) + id[i+1:]; forged != id {
				tests = append(tests, struct {
					name, id, principal string
					want                bool
				}{name: "forged", id: forged, principal: "apikey:alice"})
			}
		}
	}
	for _, tt := range tests {
		if _, _, got := s.Open(tt.id, tt.principal); got != tt.want {
			t.Errorf("%s: Open(%q) = %v, want %v", tt.name, tt.id, got, tt.want)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	a, b := NewSealer("uid", keyring.Ring{Current: key(1), Next: key(2)}, here), NewSealer("uid", keyring.Ring{Current: key(1), Next: key(2)}, here)
	first, _ := a.Seal("x")
	opens := func(step, id string, s *Sealer, want bool) {
		t.Helper()
		if _, _, ok := s.Open(id, "x"); ok != want {
			t.Errorf("%s: Open = %v, want %v", step, ok, want)
		}
	}
	a.SetRing("uid", keyring.Ring{Current: key(2), Next: key(3), Previous: key(1)})
	second, _ := a.Seal("x")
	opens("of the previous key, where it is previous", first, a, true)
	opens("of the next key, where it is next", second, b, true)
	b.SetRing("uid", keyring.Ring{Current: key(2), Next: key(3)})
	opens("of a key that was dropped", first, b, false)
	opens("of the current key", second, b, true)
}

func TestARingThatComesLaterKeepsTheSessionsFromBefore(t *testing.T) {
	t.Parallel()
	s := NewSealer("uid", keyring.Ring{}, here)
	before, _ := s.Seal("x")
	s.SetRing("uid", keyring.Ring{Current: key(1), Next: key(2)})
	after, _ := s.Seal("x")
	if _, _, ok := s.Open(before, "x"); !ok {
		t.Error("the ids from before the ring are not opened any more")
	}
	if _, _, ok := NewSealer("uid", keyring.Ring{Current: key(1), Next: key(2)}, here).Open(after, "x"); !ok {
		t.Error("the ring is not used")
	}
	with := NewSealer("uid", keyring.Ring{Current: key(1), Next: key(2)}, here)
	if n := len(*with.keys.Load()); n != 2 {
		t.Errorf("%d keys are accepted, want the ring's 2 only", n)
	}
}

func TestOpenAllocatesNothing(t *testing.T) { //nolint:paralleltest // It counts the process's allocations.
	s := NewSealer("uid", keyring.Ring{Current: key(1), Next: key(2)}, here)
	id, _ := s.Seal("apikey:alice")
	for _, id := range []string{id, id[:50], strings.Repeat("a", len(id))} {
		if n := testing.AllocsPerRun(100, func() { s.Open(id, "apikey:alice") }); n != 0 {
			t.Errorf("%v allocations, want none", n)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := NewSealer("uid", keyring.Ring{Current: key(1), Next: key(2)}, here)
	id, _ := s.Seal("apikey:alice")
	b.ReportAllocs()
	for b.Loop() {
		s.Open(id, "apikey:alice")
	}
}

func FuzzOpen(f *testing.F) {
	s := NewSealer("uid", keyring.Ring{}, here)
	id, _ := s.Seal("x")
	f.Add(id, "x")
	f.Fuzz(func(t *testing.T, given, principal string) {
		_, _, ok := s.Open(given, principal)
		if ok != (given == id && principal == "x") {
			t.Errorf("Open(%q, %q) = %v", given, principal, ok)
		}
	})
}
