// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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

// HandOver gives a frozen session to the ready peer that ranks first for it, else to
// the second, and returns which took it. The caller notes that (Registry.Moved), or
// thaws the session on an error.
func (l *Links) HandOver(ctx context.Context, s session.Snapshot) (to netip.AddrPort, err error) {
	_, key, ok := l.Sealer.Open(s.ID, s.Principal)
	if !ok {
		return netip.AddrPort{}, errors.New("failed to hand a session over: its id was sealed with a key that has left the ring")
	}
	ranked := rank(key, l.Ready())
	err = errNobody
	for _, addr := range ranked[:min(len(ranked), candidates)] {
		var status int
		status, err = l.offer(ctx, addr, s)
		// Whether a peer that does not answer has it does not matter: nobody asks it
		// as long as the owner lives and names another.
		if err == nil && status == http.StatusOK {
			return addr, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("failed to hand a session over: %w", err)
}

// offer asks one replica to take a session over.
func (l *Links) offer(ctx context.Context, addr netip.AddrPort, s session.Snapshot) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	return l.ask(ctx, addr, adoptPath, s, nil)
}

// question asks for a session.
type question struct {
	Key string `json:"key"`
}

// place answers it: the session is here, or was handed to somebody.
type place struct {
	Here  bool           `json:"here,omitempty"`
	Moved netip.AddrPort `json:"moved,omitzero"`
}

// find asks the replicas that rank first for a session whether they have taken it
// over. Besides the one that has, it tells whether all that were asked answered.
func (l *Links) find(ctx context.Context, key session.Key, but netip.AddrPort) (at netip.AddrPort, certain bool) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	var all []netip.AddrPort
	for _, addr := range l.members.alive(time.Now()) {
		if addr != but {
			all = append(all, addr)
		}
	}
	all = rank(key, all)
	all = all[:min(len(all), asked)]
	places := make([]netip.AddrPort, len(all))
	answered := make([]bool, len(all))
	var running sync.WaitGroup
	for i, addr := range all {
		running.Go(func() {
			var p place
			_, err := l.ask(ctx, addr, findPath, question{Key: hex.EncodeToString(key[:])}, &p)
			// One that refuses connections is gone, and the sessions that it had with it.
			answered[i] = err == nil || errors.Is(err, errRefused)
			switch {
			case err != nil:
			case p.Here:
				places[i] = addr
			case p.Moved != but && p.Moved != l.self.Addr:
				places[i] = p.Moved
			}
		})
	}
	running.Wait()
	certain = l.members.synced()
	for i := range all {
		if places[i].IsValid() {
			return places[i], true
		}
		certain = certain && answered[i]
	}
	return netip.AddrPort{}, certain
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
