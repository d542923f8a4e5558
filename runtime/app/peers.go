// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/peer"
	"fairlead.dev/fairlead/runtime/keyring"
)

// agreement bounds how long clients wait for a change that not all replicas serve.
const agreement = time.Second

// peerPort is where the other replicas come in; nil means that there are none.
type peerPort struct {
	listener net.Listener
	self     netip.AddrPort
	places   []peer.Place
}

// listenForPeers reads what Options say of peers, and opens their port.
func listenForPeers(ctx context.Context, o Options) (*peerPort, error) {
	if o.PeerListen == "" && o.PeerAddress == "" && o.Peers == "" {
		return nil, nil //nolint:nilnil // There are none.
	}
	if o.PeerListen == "" || o.PeerAddress == "" || o.Peers == "" {
		return nil, errors.New("failed to set up the links to other replicas: --peer-listen, --peer-address and --peers go together; give all three or none")
	}
	ip, err := netip.ParseAddr(o.PeerAddress)
	if err != nil || ip.IsUnspecified() {
		return nil, fmt.Errorf("failed to read --peer-address %q: it must be the IP address at which the other replicas reach this one", o.PeerAddress)
	}
	places, err := peer.ParsePlaces(o.Peers)
	if err != nil {
		return nil, fmt.Errorf("failed to read --peers: %w", err)
	}
	var c net.ListenConfig
	listener, err := c.Listen(ctx, "tcp", o.PeerListen)
	if err != nil {
		return nil, fmt.Errorf("failed to listen on %q for other replicas: %w", o.PeerListen, err)
	}
	tcp, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.Join(fmt.Errorf("failed to listen on %q for other replicas: it is no TCP address", o.PeerListen), listener.Close())
	}
	return &peerPort{listener: listener, self: netip.AddrPortFrom(ip.Unmap(), tcp.AddrPort().Port()), places: places}, nil
}

// address is what the ids of sessions say of this replica.
func (p *peerPort) address() netip.AddrPort {
	if p == nil {
		return netip.AddrPort{}
	}
	return p.self
}

func (p *peerPort) close() error {
	if p == nil {
		return nil
	}
	return p.listener.Close()
}

// newLinks is nil without peers.
func (s *server) newLinks(p *peerPort) (*peer.Links, error) {
	if p == nil {
		return nil, nil //nolint:nilnil // There are none.
	}
	return peer.New(peer.Options{
		Places: p.places, Core: s.core, Sessions: s.sessions, Sealer: s.sealer, Admit: s.admit, Ring: s.ring,
		Revision: s.engine.Revision, Logger: s.logger, Observer: s.metrics,
	})
}

// admit refuses a session that another replica hands over if there is no memory for it,
// as a new one would be, or its caller is not known here: it would live until it is
// idle for too long.
func (s *server) admit(principal string) error {
	if err := s.limits.Session(); err != nil {
		return err
	}
	_, err := s.keys.Vouch(auth.Principal{Key: principal, Anonymous: principal == auth.AnonymousKey})
	return err
}

// router is nil, and not a nil *peer.Links, without peers.
func (s *server) router() httpserver.Router {
	if s.links == nil {
		return nil
	}
	return s.links
}

// runPeers serves the other replicas, keeps knowing them, and announces what has
// changed when they agree, until base ends.
func (s *server) runPeers(base context.Context, group *errgroup.Group, p *peerPort, halt func()) {
	if s.links == nil {
		return
	}
	group.Go(func() error { s.links.Run(base); return nil })
	group.Go(func() error { s.announceAgreed(base); return nil })
	group.Go(func() error {
		err := s.links.Serve(base, p.listener, s.handler)
		if err != nil {
			halt()
		}
		return err
	})
	s.logger.InfoContext(base, "Serving other replicas", "address", p.listener.Addr().String(), "self", p.self.String(), "peers", s.options.Peers)
}

func (s *server) closePeers() error {
	if s.links == nil {
		return nil
	}
	return s.links.Close()
}

// setRing takes the session keys of now for ids and for links.
func (s *server) setRing(ctx context.Context, ring keyring.Ring) {
	s.sealer.SetRing(s.config.UID, ring)
	if s.links == nil {
		return
	}
	if err := s.links.SetRing(ring); err != nil {
		s.logger.ErrorContext(ctx, "Failed to take session keys for the links to other replicas", "error", err)
	}
}

// news is what has changed and was not announced yet.
type news struct {
	mu          sync.Mutex // guards what follows
	since       time.Time  // when the first of it came; zero if there is none
	listChanged bool
	principals  []string
	wake        chan struct{}
}

// spread announces a change once the other replicas serve it too.
func (s *server) spread(listChanged bool, principals []string) {
	if s.links == nil {
		s.announce(listChanged, principals)
		return
	}
	s.news.mu.Lock()
	if s.news.since.IsZero() {
		s.news.since = time.Now()
	}
	s.news.listChanged = s.news.listChanged || listChanged
	for _, p := range principals {
		if !slices.Contains(s.news.principals, p) {
			s.news.principals = append(s.news.principals, p)
		}
	}
	s.news.mu.Unlock()
	select {
	case s.news.wake <- struct{}{}:
	default:
	}
}

// announceAgreed announces what spread was given: when all replicas serve the
// revision that is served here, at the latest 1 s after the first change. Changes
// that come meanwhile are announced together.
func (s *server) announceAgreed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news.wake:
		}
		s.news.mu.Lock()
		since := s.news.since
		s.news.mu.Unlock()
		if since.IsZero() {
			continue
		}
		limited, cancel := context.WithDeadline(ctx, since.Add(agreement))
		if err := s.links.Agree(limited); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "Announcing a change that not every replica serves yet", "revision", s.engine.Revision())
		}
		cancel()
		s.news.mu.Lock()
		listChanged, principals := s.news.listChanged, s.news.principals
		s.news.since, s.news.listChanged, s.news.principals = time.Time{}, false, nil
		s.news.mu.Unlock()
		s.announce(listChanged, principals)
	}
}
