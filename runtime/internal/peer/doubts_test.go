// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// ranked opens a session of a replica and gives the others in the order in which they
// are asked to take it over.
func ranked(t *testing.T, all []*replica) (s *session.Session, others []*replica) {
	t.Helper()
	s = all[0].open(t)
	for _, addr := range rank(s.Key(), all[0].links.Ready()) {
		r, _ := at(all, addr)
		others = append(others, r)
	}
	return s, others
}

// breaks has the links between two replicas break when the next session has come to
// the second, before that can say so. once tells that they are made anew at once.
func breaks(from, to *replica, once bool) {
	cut := func() {
		link := from.links.to(to.addr)
		if !once {
			link.mu.Lock()
			link.down, link.reason = time.Now().Add(time.Hour), errUnreachable
			link.mu.Unlock()
		}
		link.cut()
	}
	to.came.Store(&cut)
}

// mend lets a replica reach another again.
func mend(from, to *replica) {
	link := from.links.to(to.addr)
	link.mu.Lock()
	link.down = time.Time{}
	link.mu.Unlock()
}

// have checks which replicas have a session.
func have(t *testing.T, key session.Key, all []*replica, want ...*replica) {
	t.Helper()
	got, wanted := "", ""
	for _, r := range all {
		if r.sessions.Has(key) {
			got += " " + r.name
		}
		for _, w := range want {
			if w == r {
				wanted += " " + r.name
			}
		}
	}
	if got != wanted {
		t.Errorf("the session is at%s, want%s", got, wanted)
	}
}

// A peer whose answer is lost is asked again, and has the session once.
func TestALostAdoptionIsAskedForAgain(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	s, others := ranked(t, all)
	breaks(all[0], others[0], true)
	if to := hand(t, all[0], s); to != others[0].addr {
		t.Errorf("the session went to %s, want the one that has it", to)
	}
	have(t, s.Key(), all, others[0])
}

// A peer that has taken a session and cannot say so gives it up for the one that took
// it after that.
func TestADoubtfulCopyIsGivenUpForTheNext(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	s, others := ranked(t, all)
	breaks(all[0], others[0], false)
	if to := hand(t, all[0], s); to != others[1].addr {
		t.Fatalf("the session went to %s", to)
	}
	have(t, s.Key(), all, others...)
	all[0].stop() // The one that knew is gone.
	others[1].links.look(t.Context())
	have(t, s.Key(), all, others[1])
	for _, r := range others {
		is(t, r.ask(t, s.ID(), "hello"), http.StatusOK, others[1].name)
	}
	if n := len(others[1].links.doubts.of); n != 0 {
		t.Errorf("%d doubts are left", n)
	}
}

// A session that nobody seems to have taken goes on where it was, and nowhere else.
func TestADoubtfulCopyIsGivenUpForTheOwner(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	s, others := ranked(t, all)
	breaks(all[0], others[0], false)
	snapshot, _ := s.Freeze()
	if to, err := all[0].links.HandOver(t.Context(), snapshot); err == nil {
		t.Fatalf("the session went to %s", to)
	}
	s.Thaw()
	have(t, s.Key(), all, all...)
	all[0].links.look(t.Context()) // It cannot be reached yet.
	have(t, s.Key(), all, all...)
	mend(all[0], others[0])
	all[0].links.look(t.Context())
	have(t, s.Key(), all, all[0])
	is(t, others[0].ask(t, s.ID(), "hello"), http.StatusOK, all[0].name)
	if to := hand(t, all[0], s); to != others[0].addr {
		t.Errorf("the session went to %s", to)
	}
	have(t, s.Key(), all, others[0])
}

// A session that ends where it went on ends in its copies too, unless it ends only
// because its replica leaves.
func TestADoubtfulCopyOfASessionThatEnds(t *testing.T) {
	t.Parallel()
	for _, leaves := range []bool{false, true} {
		all := replicas(t, 2)
		s, others := ranked(t, all)
		breaks(all[0], others[0], false)
		snapshot, _ := s.Freeze()
		if to, err := all[0].links.HandOver(t.Context(), snapshot); err == nil {
			t.Fatalf("the session went to %s", to)
		}
		s.Thaw()
		if leaves {
			all[0].links.Leave(t.Context())
		}
		s.Close(stream.SessionEnded)
		mend(all[0], others[0])
		all[0].links.look(t.Context())
		if leaves {
			have(t, s.Key(), all, others[0])
		} else {
			have(t, s.Key(), all)
		}
	}
}

// Who looks for a session of which there are copies takes the latest, wherever that is.
func TestTheLatestCopyIsFound(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	for i := range 16 {
		s := all[0].open(t)
		snapshot, _ := s.Freeze()
		later := snapshot
		later.Generation++
		copies := []session.Snapshot{snapshot, later}
		for j, r := range all[1:] {
			if _, err := r.sessions.Adopt(copies[(i+j)%2]); err != nil {
				t.Fatal(err)
			}
		}
		if got := all[0].links.find(t.Context(), s.Key(), session.Owner{}, netip.AddrPort{}, false); got.at != all[2-i%2].addr || !got.certain {
			t.Errorf("found at %v, want %v", got.at, all[2-i%2].addr)
		}
	}
}

// A session that ended on its way ends at the peer that has taken it, at once or later.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	for _, reachable := range []bool{true, false} {
		s := all[0].open(t)
		hand(t, all[0], s)
		have(t, s.Key(), all, all[1])
		if !reachable {
			link := all[0].links.to(all[1].addr)
			link.cut()
			link.mu.Lock()
			link.down, link.reason = time.Now().Add(time.Hour), errUnreachable
			link.mu.Unlock()
		}
		all[0].links.Withdraw(t.Context(), s.Key(), all[1].addr)
		if !reachable {
			have(t, s.Key(), all, all[1])
			mend(all[0], all[1])
			all[0].links.look(t.Context())
		}
		have(t, s.Key(), all)
		for _, r := range all {
			is(t, r.ask(t, s.ID(), "hello"), http.StatusNotFound, "unknown_session")
		}
	}
}

func TestDoubtsAreBounded(t *testing.T) {
	t.Parallel()
	var d doubts
	var many []netip.AddrPort
	for i := range 2 * maxDoubtful {
		many = append(many, addr(i))
	}
	for i := range 2 * maxDoubts {
		d.add(session.Key([]byte(fmt.Sprintf("%08d", i))), doubt{outdated: 1, at: many})
	}
	if len(d.of) != maxDoubts {
		t.Errorf("%d doubts", len(d.of))
	}
	all := d.demands(func(session.Key) (netip.AddrPort, bool) { return addr(0), true })
	if len(all) != maxDoubtful {
		t.Errorf("%d replicas are asked", len(all))
	}
	// What is settled for an earlier copy is not for a later one.
	key, _ := parseKey(all[many[0]][0].Key)
	d.settle(key, 0, many[0])
	if len(d.of[key].at) != maxDoubtful {
		t.Error("a doubt is settled by what was said of an earlier copy")
	}
	for _, addr := range many {
		d.settle(key, 1, addr)
	}
	if _, left := d.of[key]; left {
		t.Error("a doubt is left of which nothing is in doubt")
	}
}
