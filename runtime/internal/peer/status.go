// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/peer/mux"
)

const (
	// period is how often peers are looked up and told how this replica is.
	period = 5 * time.Second
	// minPeriod bounds how often that happens on demand.
	minPeriod = 500 * time.Millisecond
	// tellTimeout bounds one exchange.
	tellTimeout = 2 * time.Second
	// agreePeriod is how often peers that seem behind are asked once more.
	agreePeriod = 250 * time.Millisecond
	// maxAnswer bounds the answer to a question between replicas, in bytes.
	maxAnswer = 16 << 10
)

// The paths of links on which replicas speak for themselves. They and the envelope
// hold the version of the contract: replicas of two releases may meet.
const (
	statusPath = "/peer/v1/status"
	adoptPath  = "/peer/v1/adopt"
	findPath   = "/peer/v1/find"
	disownPath = "/peer/v1/disown"
)

// Run keeps knowing the peers until ctx ends: it looks them up every 5 s and when
// an unknown one turns up, and exchanges states with them.
func (l *Links) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	poke := l.poke
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, to := range l.all() {
				to.cut()()
			}
			return
		case <-rest.C:
			poke = l.poke
			continue
		case <-poke:
		case <-timer.C:
		}
		l.look(ctx)
		timer.Reset(period)
		poke = nil
		rest.Reset(minPeriod)
	}
}

// look is one round of Run.
func (l *Links) look(ctx context.Context) {
	resolver := l.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	found, err := lookup(ctx, resolver, l.Places)
	now := time.Now()
	if err != nil {
		l.Logger.WarnContext(ctx, "Failed to find the peers, those known before count", "error", err)
	} else {
		l.members.list(now, found)
	}
	l.sweep(now)
	l.tell(ctx, l.members.addresses())
	l.members.meet()
	l.demandAll(ctx)
	// A peer that has stopped would hold all up that wait for its answers. Without
	// them, it is closed to as well.
	l.Observer.Peers(len(l.Ready()))
	for _, to := range l.all() {
		if l.members.silent(time.Now(), to.addr) {
			to.cut()
		}
	}
}

// hear takes what a replica says of itself.
func (l *Links) hear(theirs status) {
	l.members.hear(time.Now(), theirs)
	l.Observer.Peers(len(l.Ready()))
}

// refused notes that nobody listens at an address.
func (l *Links) refused(addr netip.AddrPort) {
	l.members.refused(addr)
	l.Observer.Peers(len(l.Ready()))
}

// wake asks Run for a round now.
func (l *Links) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// tell tells replicas how this one is, and learns how they are.
func (l *Links) tell(ctx context.Context, all []netip.AddrPort) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	var asked sync.WaitGroup
	for _, addr := range all {
		asked.Go(func() {
			var theirs status
			err := l.ask(ctx, addr, statusPath, l.status(), &theirs)
			switch {
			case err == nil:
				theirs.Address = addr
				l.hear(theirs)
			case errors.Is(err, errRefused):
				l.refused(addr)
			default:
				l.Logger.DebugContext(ctx, "Failed to reach a peer", "peer", addr.String(), "error", err)
			}
		})
	}
	asked.Wait()
}

// Agree tells the peers which revision is served here, and returns when all that
// are ready serve it too, or when ctx ends; the error is then ctx's. A revision that
// comes meanwhile is what is agreed on.
func (l *Links) Agree(ctx context.Context) error {
	// What got lost on the way is asked for once more.
	again := time.NewTicker(agreePeriod)
	defer again.Stop()
	last := ""
	for {
		now := l.Revision()
		if now != last {
			// Peers that have not got so far tell when they have, by their own Agree.
			last = now
			l.tell(ctx, l.members.alive(time.Now()))
		}
		behind, changed := l.members.behind(time.Now(), now)
		if behind == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again.C:
			last = ""
		}
	}
}

// ask sends one JSON document to a replica and reads another.
func (l *Links) ask(ctx context.Context, addr netip.AddrPort, path string, question, into any) error {
	document, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("failed to encode what is for peer %q: %w", addr, err)
	}
	id := l.identity.Load()
	if !id.usable() {
		return fmt.Errorf("failed to ask peer %q: %w", addr, errUnreachable)
	}
	q := &mux.Request{
		Method: http.MethodPost, Target: path, Body: document,
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {strconv.Itoa(len(document))}},
	}
	a, err := l.to(addr).send(ctx, id, false, q)
	if errors.Is(err, errLost) && path != adoptPath && ctx.Err() == nil {
		// Its process may have ended just now, which the next connection tells.
		a, err = l.to(addr).send(ctx, id, false, q)
	}
	if err != nil {
		return fmt.Errorf("failed to ask peer %q: %w", addr, err)
	}
	defer a.done()
	text, err := io.ReadAll(io.LimitReader(a, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("failed to read the answer of peer %q: %w: %w", addr, errLost, err)
	case a.Status != http.StatusOK:
		return fmt.Errorf("peer %q answered with status %d: %s", addr, a.Status, bytes.TrimSpace(text))
	case into == nil:
		return nil
	}
	if err = json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("failed to decode the answer of peer %q: %w", addr, err)
	}
	return nil
}
