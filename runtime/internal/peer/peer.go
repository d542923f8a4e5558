// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package peer is what the replicas of one server are to each other: it finds
// them, forwards to the owner of a session what reached another replica, agrees on
// when a revision is announced, and hands sessions over.
//
// A link is one connection for each direction, over TLS 1.3, on which many requests
// run at once (package mux). Both sides prove that they hold a key of the server's
// ring.
package peer

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/peer/mux"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/keyring"
)

// Forwarded is what the replica that a client reached says of its request. Only a
// peer can say it.
type Forwarded struct {
	// Principal is whom the credentials named there, which do not come along.
	Principal auth.Principal
	// RequestID is the request's X-Request-Id, ClientAddr the client's host:port.
	RequestID, ClientAddr string
	// Hops is how often the request was forwarded: 1.
	Hops int
}

// Handler serves what peers forward. The session that the request names is here,
// or has ended just now.
type Handler interface {
	ServeForwarded(w http.ResponseWriter, r *http.Request, f Forwarded)
}

// Observer learns what happens on links. Its methods must not block.
type Observer interface {
	// Forwarded counts a request by one of the Outcome constants.
	Forwarded(outcome string)
	// Peers says how many other replicas are ready.
	Peers(n int)
}

// The outcomes of a request that was forwarded.
const (
	// OutcomeAnswered: the other replica's answer was passed on, whatever it was.
	OutcomeAnswered = "answered"
	// OutcomeGone: there is evidence that no replica has the session; 404.
	OutcomeGone = "gone"
	// OutcomeUnreachable: the owner may live but cannot be reached; 503.
	OutcomeUnreachable = "unreachable"
	// OutcomeBusy: too many requests are on their way to the owner; 503.
	OutcomeBusy = "busy"
	// OutcomeLost: the connection broke after the request had left; 502, or the
	// answer was cut.
	OutcomeLost = "lost"
	// OutcomeCancelled: the client went away first.
	OutcomeCancelled = "cancelled"
)

// Options are what New needs. All are required but Resolver and Admit.
type Options struct {
	// Places say where the peers are; this replica may be among them.
	Places []Place
	// Resolver finds the addresses of names; nil is the system's.
	Resolver Resolver
	Core     *transport.Core
	Sessions *session.Registry
	Sealer   *session.Sealer
	// Admit refuses a session of a principal that a peer hands over: the peer asks the
	// next, or keeps it.
	Admit func(principal string) error
	Ring  keyring.Ring
	// Revision is that of the configuration that is served now.
	Revision func() string
	Logger   *slog.Logger
	Observer Observer
}

// Links are all links of this replica. It is safe for concurrent use.
type Links struct {
	Options
	self     session.Owner
	members  *members
	identity atomic.Pointer[identity]
	leaving  atomic.Bool
	poke     chan struct{} // asks for a lookup now
	moved    moves
	doubts   doubts
	graves   graves
	finding  chan struct{} // holds something for each session that is looked for
	open     streams

	mu    sync.Mutex // guards what follows
	ring  keyring.Ring
	links map[netip.AddrPort]*link
	// handler and halt are Serve's.
	handler Handler
	halt    func()
	retired bool

	retire chan struct{} // closed by Retire
	served chan struct{} // closed when Serve has returned
}

// New makes the links; Run and Serve bring them to life. The error is about the
// ring's keys.
func New(o Options) (*Links, error) {
	id, err := newIdentity(o.Ring)
	if err != nil {
		return nil, err
	}
	l := &Links{
		Options: o, self: o.Sealer.Self(), poke: make(chan struct{}, 1), ring: o.Ring, links: map[netip.AddrPort]*link{},
		finding: make(chan struct{}, maxFinding),
		retire:  make(chan struct{}), served: make(chan struct{}),
	}
	l.members = newMembers(l.self.Addr)
	l.identity.Store(id)
	return l, nil
}

// SetRing takes another ring: connections that idle are closed, those in use are
// when they become idle, and from peers that still show a key that has left the
// ring no request is served. On an error, the ring before stays in force.
func (l *Links) SetRing(ring keyring.Ring) error {
	changed, err := l.take(ring)
	if changed {
		l.sweep(time.Now())
	}
	return err
}

func (l *Links) take(ring keyring.Ring) (changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ring == l.ring {
		return false, nil
	}
	id, err := newIdentity(ring)
	if err != nil {
		return false, err
	}
	l.ring = ring
	l.identity.Store(id)
	return true, nil
}

// Leave says to all peers that this replica takes leave: they hand no sessions
// over to it and do not wait for it any more. It returns when they know, or ctx
// ends.
func (l *Links) Leave(ctx context.Context) {
	l.leaving.Store(true)
	l.tell(ctx, l.members.alive(time.Now()))
}

// Ready are the peers that were heard lately and do not leave, in no order.
func (l *Links) Ready() []netip.AddrPort { return l.members.ready(time.Now()) }

// status is what this replica says of itself.
func (l *Links) status() status {
	return status{Said: time.Now().UnixNano(), Address: l.self.Addr, Boot: hex.EncodeToString(l.self.Boot[:]), Revision: l.Revision(), Leaving: l.leaving.Load()}
}

// to is the link to an address.
func (l *Links) to(addr netip.AddrPort) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links[addr] == nil {
		l.links[addr] = newLink(addr)
	}
	return l.links[addr]
}

// all are the links that there are.
func (l *Links) all() []*link {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*link, 0, len(l.links))
	for _, to := range l.links {
		all = append(all, to)
	}
	return all
}

// sweep closes what was not used for long.
func (l *Links) sweep(now time.Time) {
	id := l.identity.Load()
	var all []*mux.Client
	l.mu.Lock()
	for addr, to := range l.links {
		idle, unused := to.sweep(now, id)
		all = append(all, idle...)
		if unused {
			delete(l.links, addr)
		}
	}
	l.mu.Unlock()
	closeAll(all)
}
