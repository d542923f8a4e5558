// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
)

const (
	// candidates is how many replicas are asked to take a session over.
	candidates = 2
	// adoptTimeout bounds how long each of them may take: one that hangs must not
	// use the time of the other up.
	adoptTimeout = time.Second
	// asked is how many replicas are asked for a session whose owner is gone. They
	// are more than candidates since replicas come and go in between.
	asked = 8
	// findTimeout bounds how long they may take together.
	findTimeout = time.Second
	// maxSnapshot bounds a session that is handed over, in bytes of JSON.
	maxSnapshot = 256 << 10
)

var errNobody = errors.New("no peer is ready")

// offer is a session that is offered to a peer.
type offer struct {
	session.Snapshot
	// Doubtful are replicas that may hold an earlier copy: they did not answer.
	Doubtful []netip.AddrPort `json:"doubtful,omitempty"`
}

// HandOver gives a frozen session to the ready peer that ranks first for it, else to
// the second, and returns which took it. The caller notes that (Registry.Moved), or
// thaws the session on an error. Of a peer that may have taken it and cannot say so,
// whoever has the session then demands its copy back.
func (l *Links) HandOver(ctx context.Context, s session.Snapshot) (to netip.AddrPort, err error) {
	_, key, ok := l.Sealer.Open(s.ID, s.Principal)
	if !ok {
		return netip.AddrPort{}, errors.New("failed to hand a session over: its id was sealed with a key that has left the ring")
	}
	o := offer{Snapshot: s, Doubtful: l.doubts.take(key)}
	ranked := rank(key, l.Ready())
	err = errNobody
	for _, addr := range ranked[:min(len(ranked), candidates)] {
		var doubtful bool
		if doubtful, err = l.offer(ctx, addr, o); err == nil {
			return addr, nil
		}
		if doubtful {
			o.Doubtful = append(o.Doubtful, addr)
		}
		o.Generation++
	}
	l.doubt(key, o.Generation-1, o.Doubtful)
	return netip.AddrPort{}, fmt.Errorf("failed to hand a session over: %w", err)
}

// offer asks one replica to take a session over, and once more if the answer is lost:
// what it was given twice it takes once. doubtful tells that it may have taken it.
func (l *Links) offer(ctx context.Context, addr netip.AddrPort, o offer) (doubtful bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	for range 2 {
		if err = l.ask(ctx, addr, adoptPath, o, nil); !errors.Is(err, errLost) {
			break
		}
		doubtful = true
	}
	return doubtful, err
}

// question asks for a session, which the replica at Missed should have.
type question struct {
	Key    string         `json:"key"`
	Missed netip.AddrPort `json:"missed,omitzero"`
	// Owner and Boot are the process that made the id.
	Owner netip.AddrPort `json:"owner,omitzero"`
	Boot  string         `json:"boot,omitempty"`
}

// place answers it: the session is here, or was handed to somebody. Absent tells that
// the replica which should have it is missing from the list of peers for long, and
// Never that no session of its owner ever came here.
type place struct {
	Here       bool           `json:"here,omitempty"`
	Generation uint32         `json:"generation,omitempty"`
	Moved      netip.AddrPort `json:"moved,omitzero"`
	Absent     bool           `json:"absent,omitempty"`
	Never      bool           `json:"never,omitempty"`
}

// finding is what find has learnt.
type finding struct {
	// at is who has the session; it is not valid if nobody has.
	at netip.AddrPort
	// certain: all that were asked answered.
	certain bool
	// absent: one of them says so of the replica that should have it.
	absent bool
	// never: no session of the owner ever came to any replica, of so many that had
	// joined.
	never  bool
	joined uint64
}

// find asks the replicas that rank first for a session whether they have taken it
// over from the one that should have it, or simply everybody.
func (l *Links) find(ctx context.Context, key session.Key, owner session.Owner, but netip.AddrPort, everybody bool) finding {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	select {
	case l.finding <- struct{}{}:
		defer func() { <-l.finding }()
	case <-ctx.Done():
		return finding{}
	}
	all, whole, joined := l.members.others(time.Now(), but)
	if all = rank(key, all); len(all) > asked && !everybody {
		all, whole = all[:asked], false
	}
	q := question{Key: hex.EncodeToString(key[:]), Missed: but, Owner: owner.Addr, Boot: hex.EncodeToString(owner.Boot[:])}
	places := make([]place, len(all))
	answered := make([]bool, len(all))
	var running sync.WaitGroup
	for i, addr := range all {
		running.Go(func() {
			err := l.ask(ctx, addr, findPath, q, &places[i])
			// One that refuses connections is gone, and the sessions that it had with it.
			answered[i] = err == nil || errors.Is(err, errRefused)
		})
	}
	running.Wait()
	at := l.best(all, places, but)
	return finding{
		at:      at,
		certain: at.IsValid() || l.members.synced() && !slices.Contains(answered, false),
		absent:  slices.ContainsFunc(places, func(p place) bool { return p.Absent }),
		never:   whole && l.members.synced() && !slices.ContainsFunc(places, func(p place) bool { return !p.Never }) && !l.Sessions.Adopted(owner),
		joined:  joined,
	}
}

// best is where a session is by what the replicas all have answered: of several that
// have it, the one with the latest copy.
func (l *Links) best(all []netip.AddrPort, places []place, but netip.AddrPort) (at netip.AddrPort) {
	here, generation := false, uint32(0)
	for i, p := range places {
		switch {
		case p.Here && (!here || p.Generation > generation):
			at, here, generation = all[i], true, p.Generation
		case !here && !at.IsValid() && p.Moved != but && p.Moved != l.self.Addr:
			at = p.Moved
		}
	}
	return at
}

// maxMoves bounds the sessions of which is remembered where they have moved to.
const maxMoves = 4096

// moves remembers where sessions of other replicas were found that are not with the
// owner that their id names. What is forgotten is found again.
type moves struct {
	mu    sync.Mutex // guards what follows
	young map[session.Key]netip.AddrPort
	old   map[session.Key]netip.AddrPort
}

func (m *moves) get(key session.Key) (netip.AddrPort, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if to, ok := m.young[key]; ok {
		return to, true
	}
	to, ok := m.old[key]
	return to, ok
}

func (m *moves) put(key session.Key, to netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.young == nil || len(m.young) >= maxMoves/2 {
		m.young, m.old = map[session.Key]netip.AddrPort{}, m.young
	}
	m.young[key] = to
}

func (m *moves) forget(key session.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, key)
	delete(m.old, key)
}
