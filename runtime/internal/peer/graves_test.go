// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
)

// isolate lets a replica reach nobody any more: it can only answer 503, or by what it
// remembers.
func isolate(r *replica, others ...netip.AddrPort) {
	for _, addr := range others {
		link := r.links.to(addr)
		link.cut()
		link.mu.Lock()
		link.down, link.reason = time.Now().Add(time.Hour), errUnreachable
		link.mu.Unlock()
	}
}

// The clients of a replica that was killed all come back at once: what was found out for
// the first answers the others, for a moment.
func TestAStormOnAnOwnerThatIsGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		owner  func(t *testing.T, all []*replica) session.Owner
		before func(t *testing.T, all []*replica, owner session.Owner)
		after  func(all []*replica, owner session.Owner)
		status int
	}{
		{name: "refused", owner: refusing, status: http.StatusNotFound},
		{name: "replaced by another process", owner: func(_ *testing.T, all []*replica) session.Owner {
			return session.NewOwner(all[1].addr)
		}, status: http.StatusNotFound},
		{
			name: "a session of it went on elsewhere", owner: refusing,
			before: func(t *testing.T, all []*replica, owner session.Owner) {
				t.Helper()
				from := session.Snapshot{ID: seal(ring(1, 2, 3), uid, "apikey:alice", owner), Principal: "apikey:alice", Era: "streamable", Generation: 1}
				from.State.Version = "2025-11-25"
				s, err := all[2].sessions.Adopt(from)
				if err != nil {
					t.Fatal(err)
				}
				is(t, all[0].ask(t, s.ID(), "hello"), http.StatusOK, all[2].name)
			},
			status: http.StatusServiceUnavailable,
		},
		{name: "another member has joined", owner: refusing, after: func(all []*replica, _ session.Owner) {
			all[0].links.members.hear(time.Now(), status{Address: addr(9)})
		}, status: http.StatusServiceUnavailable},
		{name: "some time has passed", owner: refusing, after: func(all []*replica, owner session.Owner) {
			g := &all[0].links.graves
			g.mu.Lock()
			defer g.mu.Unlock()
			g.of[owner] = grave{until: time.Now(), empty: true, joined: g.of[owner].joined}
		}, status: http.StatusServiceUnavailable},
		{name: "another member is silent", owner: refusing, before: func(_ *testing.T, all []*replica, _ session.Owner) {
			m := all[0].links.members
			m.mu.Lock()
			defer m.mu.Unlock()
			m.known[addr(9)] = &member{listed: m.last}
		}, status: http.StatusServiceUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := replicas(t, 3)
			owner := tt.owner(t, all)
			id := func() string { return seal(ring(1, 2, 3), uid, "apikey:alice", owner) }
			if tt.before != nil {
				tt.before(t, all, owner)
			}
			is(t, all[0].ask(t, id(), "hello"), http.StatusNotFound, "unknown_session")
			isolate(all[0], all[1].addr, all[2].addr, owner.Addr)
			if tt.after != nil {
				tt.after(all, owner)
			}
			for range 3 {
				if a := all[0].ask(t, id(), "hello"); a.StatusCode != tt.status {
					t.Errorf("status %d, want %d", a.StatusCode, tt.status)
				}
			}
		})
	}
}

// refusing is an owner at whose address nobody listens.
func refusing(t *testing.T, _ []*replica) session.Owner {
	t.Helper()
	return session.NewOwner(places(t, 1)[0])
}

// Who knows no peers yet has asked nobody: that nobody has a session of an owner is no
// finding then.
func TestNobodyWasAskedBeforeThePeersAreKnown(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	s := all[1].open(t)
	m := all[0].links.members
	m.mu.Lock()
	m.known, m.met = map[netip.AddrPort]*member{}, false
	m.mu.Unlock()
	if found := all[0].links.find(t.Context(), s.Key(), all[1].sealer.Self(), all[1].addr, true); found.certain || found.never {
		t.Errorf("found %+v", found)
	}
}

// A session that has ended says nothing about its owner, which lives.
func TestAnOwnerThatLivesIsNotBuried(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	owner := all[0].sealer.Self()
	ended := seal(ring(1, 2, 3), uid, "apikey:alice", owner)
	is(t, all[1].askAs(t, http.MethodGet, ssePath, "alice", ended, ""), http.StatusNotFound, "unknown_session")
	is(t, all[1].ask(t, ended, "hello"), http.StatusNotFound, "unknown_session")
	if dead, _ := all[1].links.graves.look(time.Now(), owner, all[1].links.members.joins()); dead {
		t.Error("the owner is remembered as gone")
	}
	is(t, all[1].ask(t, all[0].open(t).ID(), "hello"), http.StatusOK, all[0].name)
}

func TestGravesAreBounded(t *testing.T) {
	t.Parallel()
	var g graves
	now := time.Unix(1_795_000_000, 0)
	owner := func(i int) session.Owner { return session.Owner{Addr: addr(i), Boot: [8]byte{byte(i)}} }
	for i := range 2 * maxGraves {
		g.bury(now, owner(i), true, 1)
	}
	if len(g.of) != maxGraves {
		t.Errorf("%d owners are remembered", len(g.of))
	}
	if g.inquire(now, owner(3*maxGraves)) {
		t.Error("everybody is asked for one too many")
	}
	// What was found out later by asking fewer does not count against it.
	g.bury(now, owner(0), false, 1)
	if dead, empty := g.look(now, owner(0), 1); !dead || !empty {
		t.Errorf("dead %t, empty %t", dead, empty)
	}
	later := now.Add(mourning)
	if dead, empty := g.look(later, owner(0), 1); dead || empty {
		t.Errorf("dead %t, empty %t, after a while", dead, empty)
	}
	if !g.inquire(later, owner(3*maxGraves)) || g.inquire(later, owner(3*maxGraves)) {
		t.Error("of those that ask at once not exactly one asks everybody")
	}
	if len(g.of) != 1 {
		t.Errorf("%d owners are remembered after a while", len(g.of))
	}
}

// Those that look for sessions leave places on the links to those that have one.
func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	s := all[1].open(t)
	for range maxFinding {
		all[0].links.finding <- struct{}{}
	}
	if found := all[0].links.find(t.Context(), s.Key(), all[1].sealer.Self(), netip.AddrPort{}, false); found.certain || found.at.IsValid() {
		t.Errorf("one too many found %+v", found)
	}
	<-all[0].links.finding
	if found := all[0].links.find(t.Context(), s.Key(), all[1].sealer.Self(), netip.AddrPort{}, false); found.at != all[1].addr {
		t.Errorf("found %+v", found)
	}
}
