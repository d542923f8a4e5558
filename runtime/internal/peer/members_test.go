// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/session"
)

func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 8082)
}

// Absence is what all lookups of 15 s say, and nothing else.
func TestAbsence(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_795_000_000, 0)
	type lookup struct {
		at  time.Duration
		has bool
	}
	for _, tt := range []struct {
		name    string
		lookups []lookup
		want    bool
	}{
		{name: "no lookup"},
		{name: "never named, and little time", lookups: []lookup{{at: 0}, {at: 15 * time.Second}}},
		{name: "never named", lookups: []lookup{{at: 0}, {at: 16 * time.Second}}, want: true},
		{name: "named lately", lookups: []lookup{{at: 0}, {at: 30 * time.Second, has: true}, {at: 40 * time.Second}}},
		{name: "named long ago", lookups: []lookup{{at: 0, has: true}, {at: 5 * time.Second}, {at: 20 * time.Second}}, want: true},
		{name: "named again", lookups: []lookup{{at: 0, has: true}, {at: 20 * time.Second}, {at: 21 * time.Second, has: true}}},
		{name: "remembered no more", lookups: []lookup{{at: 0, has: true}, {at: time.Hour}, {at: time.Hour + time.Second}}, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMembers(addr(1))
			for _, l := range tt.lookups {
				found := []netip.AddrPort{addr(1)}
				if l.has {
					found = append(found, addr(2))
				}
				m.list(begin.Add(l.at), found)
			}
			if got := m.absent(addr(2)); got != tt.want {
				t.Errorf("absent() = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestMembersAreBoundedAndForgotten(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_000_000, 0)
	m := newMembers(addr(0))
	var many []netip.AddrPort
	for i := range 2 * maxMembers {
		many = append(many, addr(i))
	}
	m.list(now, many)
	m.hear(now, status{Address: addr(0)})
	m.hear(now, status{Address: addr(3 * maxMembers)})
	if got := len(m.addresses()); got != maxMembers || slices.Contains(m.addresses(), addr(0)) {
		t.Errorf("%d are known, this one among them: %t", got, slices.Contains(m.addresses(), addr(0)))
	}
	m.hear(now.Add(memory), status{Address: addr(1)})
	m.list(now.Add(memory+time.Second), nil)
	if got := m.addresses(); len(got) != 1 || got[0] != addr(1) {
		t.Errorf("known after a minute: %v", got)
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_000_000, 0)
	m := newMembers(addr(0))
	m.list(now, []netip.AddrPort{addr(1), addr(2), addr(3), addr(4)})
	m.hear(now, status{Address: addr(1)})
	m.hear(now, status{Address: addr(2), Leaving: true})
	m.hear(now, status{Address: addr(3)})
	m.refused(addr(3))
	if diff := cmp.Diff([]string{addr(1).String()}, texts(m.ready(now))); diff != "" {
		t.Error(diff)
	}
	if got := len(m.alive(now)); got != 2 {
		t.Errorf("%d are alive", got)
	}
	later := now.Add(silence + time.Second)
	if got := len(m.ready(later)); got != 0 || !m.silent(later, addr(1)) || m.silent(later, addr(3)) || m.silent(now, addr(1)) {
		t.Errorf("%d are ready after long silence", got)
	}
}

func texts(all []netip.AddrPort) (out []string) {
	for _, a := range all {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return out
}

// Everybody ranks alike, the load is even, and one less moves nobody else's.
func TestRank(t *testing.T) {
	t.Parallel()
	const replicas, keys = 7, 7000
	var all []netip.AddrPort
	for i := range replicas {
		all = append(all, addr(i))
	}
	firsts := map[netip.AddrPort]int{}
	for i := range keys {
		k := session.Key{byte(i), byte(i >> 8), 7}
		ranked := slices.Clone(rank(k, slices.Clone(all)))
		reversed := slices.Clone(all)
		slices.Reverse(reversed)
		if diff := cmp.Diff(texts(ranked[:2]), texts(rank(k, reversed)[:2])); diff != "" {
			t.Fatal(diff)
		}
		firsts[ranked[0]]++
		fewer := slices.DeleteFunc(slices.Clone(all), func(a netip.AddrPort) bool { return a == ranked[0] })
		if got := rank(k, fewer)[0]; got != ranked[1] {
			t.Fatalf("without the first, %v comes first instead of %v", got, ranked[1])
		}
	}
	for a, n := range firsts {
		if n < keys/replicas*8/10 || n > keys/replicas*12/10 {
			t.Errorf("%v is first for %d of %d", a, n, keys)
		}
	}
}

func TestParsePlaces(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, list, err string
		want            []Place
	}{
		{name: "one", list: "a.b.svc:8082", want: []Place{{"a.b.svc", 8082}}},
		{name: "several", list: "10.0.0.1:1, [::1]:2", want: []Place{{"10.0.0.1", 1}, {"::1", 2}}},
		{name: "no port", list: "a,b:1", err: `the peer "a"`},
		{name: "port 0", list: "a:0", err: "from 1 to 65535"},
		{name: "a large port", list: "a:65536", err: "from 1 to 65535"},
		{name: "no host", list: ":1", err: "host:port"},
		{name: "an empty one", list: "a:1,", err: `the peer ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParsePlaces(tt.list)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// names resolves them from a map.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if all, ok := n[host]; ok {
		return all, nil
	}
	return nil, errors.New("no such host")
}

func TestLookup(t *testing.T) {
	t.Parallel()
	some := names{"pods": {addr(1).Addr(), netip.AddrFrom16(addr(2).Addr().As16())}}
	got, err := lookup(t.Context(), some, []Place{{"pods", 8082}, {"::1", 9}})
	if diff := cmp.Diff([]string{"10.0.0.1:8082", "10.0.0.2:8082", "[::1]:9"}, texts(got)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	// A list that lacks some would make them seem absent.
	if got, err := lookup(t.Context(), some, []Place{{"pods", 8082}, {"others", 1}}); err == nil || !strings.Contains(err.Error(), `"others"`) {
		t.Errorf("lookup = %v, %v", got, err)
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	want := envelope{
		Forwarded: Forwarded{
			Principal: auth.Principal{Key: "apikey:\r\nü", Name: "ü\x00", Roles: []string{"", "a,b"}, Anonymous: true},
			RequestID: "id", ClientAddr: "[::1]:80", Hops: 2,
		},
		Boot: [8]byte{1, 2, 3}, Key: session.Key{4, 5},
	}
	encoded := want.encode()
	if strings.ContainsAny(encoded, "\r\n ") {
		t.Errorf("%q is no header's value", encoded)
	}
	got, err := decodeEnvelope(encoded)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for i := range len(encoded) {
		if _, err := decodeEnvelope(encoded[:i]); err == nil {
			t.Errorf("the first %d characters are accepted", i)
		}
	}
	if _, err := decodeEnvelope("Ag" + encoded[2:]); err == nil {
		t.Error("another version is accepted")
	}
}

func FuzzEnvelope(f *testing.F) {
	e := envelope{Forwarded: Forwarded{Principal: auth.Principal{Key: "k", Roles: []string{"a"}}, Hops: 1}}
	f.Add(e.encode())
	f.Add("AQEA")
	f.Fuzz(func(t *testing.T, value string) {
		got, err := decodeEnvelope(value)
		if err != nil || got.Hops > maxHops {
			return
		}
		again, err := decodeEnvelope(got.encode())
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

// What a peer said before is not taken for what it says now, though it comes later.
func TestWhatIsHeardLate(t *testing.T) {
	t.Parallel()
	m := newMembers(addr(0))
	now := time.Now()
	m.list(now, []netip.AddrPort{addr(1)})
	for _, s := range []status{
		{Address: addr(1), Boot: "b", Revision: "two", Said: 2},
		{Address: addr(1), Boot: "b", Revision: "one", Said: 1},
	} {
		m.hear(now, s)
	}
	if n, _ := m.behind(now, "two"); n != 0 {
		t.Error("an old status took the place of a newer one")
	}
	m.hear(now, status{Address: addr(1), Boot: "another process", Revision: "one", Said: 1})
	if n, _ := m.behind(now, "two"); n != 1 {
		t.Error("a new process is judged by the clock of the one before")
	}
}
