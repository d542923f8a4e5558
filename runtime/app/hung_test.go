// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/internal/transport/stateless"
	"fairlead.dev/fairlead/runtime/keyring"
)

// hung are peers that seem ready and never answer.
type hung struct{}

func (hung) Ready() []netip.AddrPort { return make([]netip.AddrPort, 1) }

func (hung) HandOver(ctx context.Context, _ session.Snapshot) (netip.AddrPort, error) {
	<-ctx.Done()
	return netip.AddrPort{}, ctx.Err()
}

func (hung) Withdraw(context.Context, session.Key, netip.AddrPort) {}

// The grace period is computed from the configuration alone.
func TestPeersThatHangDoNotProlongADrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const listening, silent, window = 1000, 500, 2 * time.Second
		sessions := session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), session.Options{
			Max: listening + silent, IdleTimeout: time.Hour, MaxAge: time.Hour,
		}, nil)
		logger := slog.New(slog.DiscardHandler)
		s := &server{
			logger: logger, sessions: sessions,
			stateless: stateless.New(transport.New(transport.Options{Sessions: sessions, Logger: logger})),
		}
		var outboxes []*stream.Outbox
		for i := range listening + silent {
			open, err := sessions.Create("alice", engine.EraStreamable, &engine.Session{})
			if err != nil {
				t.Fatal(err)
			}
			if i >= listening {
				continue
			}
			out := stream.NewOutbox(0, nil)
			if err := open.Attach(out); err != nil {
				t.Fatal(err)
			}
			outboxes = append(outboxes, out)
		}
		hand := &handOver{peers: hung{}, sessions: sessions}
		began := time.Now()
		deadline := began.Add(window)
		s.closeStreams(t.Context(), hand, &Drain{Window: window}, deadline)
		if late := time.Since(deadline); late > maxStep {
			t.Errorf("the streams closed %v too late", late)
		}
		for i, out := range outboxes {
			if out.Reason() != stream.Drain {
				t.Fatalf("stream %d was not closed", i)
			}
		}
		s.moveRest(t.Context(), hand, deadline)
		if late := time.Since(deadline); late > lastMoves+maxStep {
			t.Errorf("the last sessions were given up %v too late", late)
		}
	})
}
