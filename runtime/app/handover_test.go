// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/keyring"
)

func TestALeavingReplicaHandsItsSessionsOver(t *testing.T) {
	t.Parallel()
	three := replicas(t, 3, configuration("one"))
	leaving, second, third := three[0], three[1], three[2]
	silent := leaving.open(t)
	listening := leaving.open(t)
	events := exchange(t, http.MethodGet, leaving.url+"/mcp", "", "Mcp-Session-Id", listening, "Accept", "text/event-stream")
	// A stream of a session of another replica closes too, and its session stays.
	foreign := second.open(t)
	through := exchange(t, http.MethodGet, leaving.url+"/mcp", "", "Mcp-Session-Id", foreign, "Accept", "text/event-stream")

	leaving.cancel()
	for _, stream := range []*http.Response{events, through} {
		if _, err := io.ReadAll(stream.Body); err != nil {
			t.Errorf("a stream of the leaving replica ended with %v", err)
		}
	}
	if err := leaving.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	for _, r := range []*running{second, third} {
		for name, id := range map[string]string{"silent": silent, "listening": listening, "foreign": foreign} {
			r.post(t, id, echo(name), http.StatusOK, name)
		}
	}
	// What changes is told to those who come back.
	again := exchange(t, http.MethodGet, third.url+"/mcp", "", "Mcp-Session-Id", listening, "Accept", "text/event-stream")
	for _, r := range []*running{second, third} {
		r.configure(t, configuration("two"))
	}
	await(t, bufio.NewScanner(again.Body), "list_changed")
	if got := second.status(t).Sessions + third.status(t).Sessions; got != 3 {
		t.Errorf("%d sessions, want 3", got)
	}
}

// While a session is on its way, requests of it wait for where it goes.
func TestNoCallIsLostToAHandOver(t *testing.T) {
	t.Parallel()
	two := replicas(t, 2, configuration("one"))
	leaving, other := two[0], two[1]
	const sessions, calls = 20, 40
	var callers sync.WaitGroup
	began := make(chan struct{}, sessions)
	for range sessions {
		id := leaving.open(t)
		callers.Go(func() {
			began <- struct{}{}
			for range calls {
				answer := exchange(t, http.MethodPost, other.url+"/mcp", echo("x"), "Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25")
				body, err := io.ReadAll(answer.Body)
				if answer.StatusCode != http.StatusOK || err != nil || !strings.Contains(string(body), `"text":"x"`) {
					t.Errorf("a call: %d %s, %v", answer.StatusCode, body, err)
				}
			}
		})
	}
	for range sessions {
		<-began
	}
	leaving.cancel()
	if err := leaving.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	callers.Wait()
	if got := other.status(t).Sessions; got != sessions {
		t.Errorf("%d sessions were taken over, want %d", got, sessions)
	}
}

// Callers that never pause, at the leaving replica itself: their sessions move between
// two of their calls, and every call is answered.
func TestBusySessionsMove(t *testing.T) {
	t.Parallel()
	two := replicas(t, 2, configuration("one"))
	leaving, other := two[0], two[1]
	const sessions = 8
	var callers sync.WaitGroup
	left := make(chan struct{})
	for range sessions {
		id := leaving.open(t)
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-left:
					other.post(t, id, echo("after"), http.StatusOK, "after")
					return
				default:
				}
				answer, err := try(t, leaving.url+"/mcp", echo("x"), id)
				switch {
				case err != nil: // The port is closed: a Service would lead elsewhere.
					other.post(t, id, echo("after"), http.StatusOK, "after")
					return
				case !strings.Contains(answer, `"text":"x"`):
					t.Errorf("call %d: %s", n, answer)
					return
				}
			}
		})
	}
	leaving.cancel()
	if err := leaving.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	close(left)
	callers.Wait()
	if got := other.status(t).Sessions; got != sessions {
		t.Errorf("%d sessions were taken over, want %d", got, sessions)
	}
}

// taker takes every session, which ends meanwhile.
type taker struct {
	session   *session.Session
	withdrawn []session.Key
}

func (*taker) Ready() []netip.AddrPort { return make([]netip.AddrPort, 1) }

func (h *taker) HandOver(context.Context, session.Snapshot) (netip.AddrPort, error) {
	h.session.Close(stream.Revoked)
	return netip.MustParseAddrPort("10.0.0.8:8082"), nil
}

func (h *taker) Withdraw(_ context.Context, key session.Key, _ netip.AddrPort) {
	h.withdrawn = append(h.withdrawn, key)
}

// A session that ends while it is on its way must not go on where it has got to.
func TestASessionThatEndsOnItsWayIsWithdrawn(t *testing.T) {
	t.Parallel()
	sessions := session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), session.Options{Max: 1, IdleTimeout: time.Hour, MaxAge: time.Hour}, nil)
	s, err := sessions.Create("alice", engine.EraStreamable, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	peers := &taker{session: s}
	hand := &handOver{peers: peers, sessions: sessions}
	hand.move(t.Context(), s)
	if len(peers.withdrawn) != 1 || peers.withdrawn[0] != s.Key() || hand.moved.Load() != 0 {
		t.Errorf("withdrawn: %v, moved: %d", peers.withdrawn, hand.moved.Load())
	}
}

// slowTaker takes every session when it is told to.
type slowTaker struct {
	taker
	take chan error
}

func (h *slowTaker) HandOver(context.Context, session.Snapshot) (netip.AddrPort, error) {
	return netip.MustParseAddrPort("10.0.0.8:8082"), <-h.take
}

// A session may be on its way already when its stream is to be closed, or its client
// gone: the session must not end there.
func TestASessionOnItsWayIsNotClosed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		listening bool
		answer    error // of the peer, the first time
		moved     int64
	}{
		{name: "its client listens", listening: true, moved: 1},
		{name: "its client has gone", moved: 1},
		{name: "its client has gone and nobody takes it yet", answer: errors.New("not now")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sessions := session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), session.Options{Max: 1, IdleTimeout: time.Hour, MaxAge: time.Hour}, nil)
				s, err := sessions.Create("alice", engine.EraSSE, &engine.Session{})
				if err != nil {
					t.Fatal(err)
				}
				if tt.listening {
					err = s.Attach(stream.NewOutbox(stream.DefaultLimit, nil))
				}
				if err != nil {
					t.Fatal(err)
				}
				peers := &slowTaker{take: make(chan error)}
				hand := &handOver{peers: peers, sessions: sessions}
				var group errgroup.Group
				group.Go(func() error { hand.move(t.Context(), s); return nil })
				synctest.Wait()
				departing{Session: s, hand: hand, ctx: t.Context(), moving: &group}.Leave(stream.Drain)
				synctest.Wait()
				peers.take <- tt.answer
				if err := group.Wait(); err != nil {
					t.Fatal(err)
				}
				if len(peers.withdrawn) > 0 || hand.moved.Load() != tt.moved || s.Ended() {
					t.Errorf("withdrawn: %v, moved: %d, ended: %t; want the session to go on", peers.withdrawn, hand.moved.Load(), s.Ended())
				}
			})
		})
	}
}

// A request may begin between the look at a session and its move: the stream that
// carries the answer stays until then.
func TestARequestThatBeginsBeforeTheMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), session.Options{Max: 1, IdleTimeout: time.Hour, MaxAge: time.Hour}, nil)
		s, err := sessions.Create("alice", engine.EraSSE, &engine.Session{})
		if err == nil {
			err = s.Attach(stream.NewOutbox(stream.DefaultLimit, nil))
		}
		if err == nil {
			err = s.Use()
		}
		if err != nil {
			t.Fatal(err)
		}
		peers := &slowTaker{take: make(chan error)}
		close(peers.take)
		hand := &handOver{peers: peers, sessions: sessions}
		var group errgroup.Group
		departing{Session: s, hand: hand, ctx: t.Context(), moving: &group}.Leave(stream.Drain)
		synctest.Wait()
		if s.Ended() || !s.Listening() {
			t.Errorf("ended: %t, listening: %t; want the session to wait for its request", s.Ended(), s.Listening())
		}
		s.Unuse()
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if hand.moved.Load() != 1 {
			t.Errorf("%d sessions moved, want 1", hand.moved.Load())
		}
	})
}

// peerFunc is one peer that answers offers.
type peerFunc func(ctx context.Context, s session.Snapshot) error

func (peerFunc) Ready() []netip.AddrPort { return make([]netip.AddrPort, 1) }

func (f peerFunc) HandOver(ctx context.Context, s session.Snapshot) (netip.AddrPort, error) {
	return netip.MustParseAddrPort("10.0.0.8:8082"), f(ctx, s)
}

func (peerFunc) Withdraw(context.Context, session.Key, netip.AddrPort) {}

// twoSessions are sessions to which nobody listens.
func twoSessions(t *testing.T) (registry *session.Registry, first, second *session.Session) {
	t.Helper()
	registry = session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), session.Options{Max: 2, IdleTimeout: time.Hour, MaxAge: time.Hour}, nil)
	first, err := registry.Create("alice", engine.EraStreamable, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	if second, err = registry.Create("alice", engine.EraStreamable, &engine.Session{}); err != nil {
		t.Fatal(err)
	}
	return registry, first, second
}

// An offer that this replica calls off says nothing of the peer.
func TestAnOfferThatIsCalledOffIsNoRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions, first, _ := twoSessions(t)
		peers := peerFunc(func(ctx context.Context, _ session.Snapshot) error {
			<-ctx.Done()
			return ctx.Err()
		})
		hand := &handOver{peers: peers, sessions: sessions, frozen: make(chan frozen, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		var moving sync.WaitGroup
		moving.Go(func() { hand.keepMoving(ctx) })
		synctest.Wait()
		cancel()
		moving.Wait()
		if hand.failedAt.Load() != 0 || !sessions.Has(first.Key()) {
			t.Errorf("failed at %d, here: %t; want no failure and the session in use", hand.failedAt.Load(), sessions.Has(first.Key()))
		}
	})
}

// A peer that takes one session may be asked although it has refused another, which
// was tried while the one was in use.
func TestASessionThatWasInUseIsOfferedAfterARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions, refused, used := twoSessions(t)
		if err := used.Use(); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		peers := peerFunc(func(_ context.Context, s session.Snapshot) error {
			if s.ID != refused.ID() {
				return nil
			}
			once.Do(used.Unuse)
			return errors.New("no room")
		})
		hand := &handOver{peers: peers, sessions: sessions, frozen: make(chan frozen, 1)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		hand.moveRest(ctx)
		if hand.moved.Load() != 1 || sessions.Has(used.Key()) || !sessions.Has(refused.Key()) {
			t.Errorf("%d moved; here: %t and %t; want one to move and the other to stay", hand.moved.Load(), sessions.Has(used.Key()), sessions.Has(refused.Key()))
		}
		if ctx.Err() != nil {
			t.Error("it did not end by itself")
		}
	})
}

// A stream that leads through a leaving replica to one that leaves too ends when its
// session has moved, so that its client finds it at once.
func TestTwoReplicasLeaveAtOnce(t *testing.T) {
	t.Parallel()
	three := newReplicas(t, 3, configuration("one"))
	through, owner, stays := three[0], three[1], three[2]
	owner.drain = &Drain{Settle: 500 * time.Millisecond, Window: 20 * time.Millisecond, CallTimeout: time.Second}
	through.drain = &Drain{Settle: time.Millisecond, Window: 20 * time.Millisecond, CallTimeout: patience}
	for _, r := range three {
		r.run(t)
	}
	for _, r := range three {
		r.knows(t, 2)
	}
	id := owner.open(t)
	events := exchange(t, http.MethodGet, through.url+"/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	owner.cancel()
	through.knows(t, 1)
	through.cancel()
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if got := stays.status(t).Sessions; got != 1 {
		t.Errorf("%d sessions have moved when the stream ends, want 1", got)
	}
	again := exchange(t, http.MethodGet, stays.url+"/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	if again.StatusCode != http.StatusOK {
		t.Errorf("a client that comes back gets %d", again.StatusCode)
	}
	for _, r := range three[:2] {
		if err := r.end(t); err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// try sends a message of a session. An error is one of the connection's before the
// answer began.
func try(t *testing.T, url, message, id string) (answer string, err error) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Accept": "application/json, text/event-stream", "Content-Type": "application/json", "Mcp-Session-Id": id, "Mcp-Protocol-Version": "2025-11-25",
	} {
		q.Header.Set(name, value)
	}
	response, err := plain.RoundTrip(q)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("an answer broke off: %v", err)
	}
	return string(body), nil
}

// Nobody is there to take sessions over: the replica ends them and leaves as usual.
func TestTheLastReplicaLeaves(t *testing.T) {
	t.Parallel()
	two := newReplicas(t, 2, configuration("one"))
	last := two[0]
	last.run(t)
	id := last.open(t)
	events := exchange(t, http.MethodGet, last.url+"/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	last.cancel()
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := last.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
}
