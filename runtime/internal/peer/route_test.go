// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/peer/mux"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/keyring"
)

func TestTheOwnerAnswersThroughAnyReplica(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	owner := all[0]
	id := owner.open(t).ID()
	for _, r := range all[1:] {
		a := r.ask(t, id, "hello")
		is(t, a, http.StatusOK, owner.name+" POST hello")
		if got, want := a.Header.Get("X-Said"), "apikey:alice alice one+two id-of-the-client  thing"; got != want {
			t.Errorf("the owner was told %q, want %q", got, want)
		}
		if got := a.Header.Get("X-Hops"); got != "1" {
			t.Errorf("%s hops", got)
		}
		is(t, r.askAs(t, http.MethodGet, "/mcp", "alice", id, ""), http.StatusOK, owner.name+" GET")
		is(t, r.askAs(t, http.MethodDelete, "/mcp", "alice", id, ""), http.StatusOK, owner.name+" DELETE")
		large := strings.Repeat("x", 1<<20)
		is(t, r.ask(t, id, large), http.StatusOK, large)
		is(t, r.ask(t, id, large+"x"), http.StatusRequestEntityTooLarge, "request_too_large")
		r.count(t, OutcomeAnswered, 4)
	}
	// What is here needs nobody.
	before := all[1].accepted.Load() + all[2].accepted.Load()
	is(t, owner.ask(t, id, "hello"), http.StatusOK, owner.name)
	if after := all[1].accepted.Load() + all[2].accepted.Load(); after != before {
		t.Errorf("%d connections were opened", after-before)
	}
}

// seal makes an id that the owner would make, for a session that nobody has.
func seal(keys keyring.Ring, server, principal string, owner session.Owner) string {
	id, _ := session.NewSealer(server, keys, owner).Seal(principal)
	return id
}

func TestAnInvalidIDCausesNoConnection(t *testing.T) {
	t.Parallel()
	at := places(t, 2)
	r := run(t, ring(1, 2, 3), at[0], at...)
	// Whoever connects to the owner is counted, and not answered.
	owner := session.NewOwner(at[1])
	dialled := make(chan struct{}, 16)
	l := listen(t, at[1])
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			dialled <- struct{}{}
			c.Close()
		}
	}()
	good := seal(ring(1, 2, 3), uid, "apikey:alice", owner)
	flip := func(i int) string {
		b := []byte(good)
		if b[i] = 'a'; good[i] == 'a' {
			b[i] = 'b'
		}
		return string(b)
	}
	for name, id := range map[string]string{
		"forged":               strings.Repeat("a", len(good)),
		"first byte":           flip(0),
		"a byte of the middle": flip(60),
		"truncated":            good[:len(good)-1],
		"longer":               good + "a",
		"another spelling":     strings.ToUpper(good),
		"another server":       seal(ring(1, 2, 3), "another", "apikey:alice", owner),
		"another principal":    seal(ring(1, 2, 3), uid, "apikey:bob", owner),
		"foreign key":          seal(ring(9, 8, 7), uid, "apikey:alice", owner),
		"no peers":             seal(ring(1, 2, 3), uid, "apikey:alice", session.NewOwner(netip.AddrPort{})),
		"plain text":           "../../etc",
	} {
		is(t, r.ask(t, id, "hello"), http.StatusNotFound, "unknown_session")
		is(t, r.askAs(t, http.MethodGet, "/mcp", "alice", id, ""), http.StatusNotFound, "unknown_session")
		select {
		case <-dialled:
			t.Errorf("%s: somebody connected to the owner", name)
		default:
		}
	}
	is(t, r.askAs(t, http.MethodPost, "/mcp", "bob", good, "hello"), http.StatusNotFound, "unknown_session")
	if got := len(dialled); got != 0 {
		t.Errorf("%d connections", got)
	}
	// The key of before is accepted, the one of before that is not.
	is(t, r.ask(t, seal(ring(3, 2, 1), uid, "apikey:alice", owner), "hello"), http.StatusServiceUnavailable, "owner_unreachable")
	<-dialled
	r.sealer.SetRing(uid, ring(2, 4, 1))
	is(t, r.ask(t, seal(ring(3, 2, 1), uid, "apikey:alice", owner), "hello"), http.StatusNotFound, "unknown_session")
}

// A 404 needs evidence that the session is gone.
func TestEvidence(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	r, other := all[0], all[1]
	nobody := places(t, 1)[0]
	silent := listen(t, places(t, 1)[0])
	defer silent.Close()
	for _, tt := range []struct {
		name   string
		owner  session.Owner
		status int
		want   string
	}{
		{name: "another process at the owner's address", owner: session.NewOwner(other.addr), status: http.StatusNotFound, want: "unknown_session"},
		{name: "a session that has ended", owner: other.sealer.Self(), status: http.StatusNotFound, want: "unknown_session"},
		{name: "an earlier process at the own address", owner: session.NewOwner(r.addr), status: http.StatusNotFound, want: "unknown_session"},
		{name: "refused", owner: session.NewOwner(nobody), status: http.StatusNotFound, want: "unknown_session"},
		{name: "no answer", owner: session.NewOwner(silent.Addr().(*net.TCPAddr).AddrPort()), status: http.StatusServiceUnavailable, want: "owner_unreachable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := seal(ring(1, 2, 3), uid, "apikey:alice", tt.owner)
			is(t, r.ask(t, id, "hello"), tt.status, tt.want)
			is(t, r.askAs(t, http.MethodDelete, "/mcp", "alice", id, ""), tt.status, tt.want)
		})
	}
	// The owner that answers nobody was missing from the list for longer.
	now := time.Now()
	r.links.members.mu.Lock()
	r.links.members.first, r.links.members.last = now.Add(-absence-time.Second), now
	r.links.members.mu.Unlock()
	id := seal(ring(1, 2, 3), uid, "apikey:alice", session.NewOwner(silent.Addr().(*net.TCPAddr).AddrPort()))
	is(t, r.ask(t, id, "hello"), http.StatusNotFound, "unknown_session")
}

// A replica that has just begun is told by one that has watched for longer that an
// owner has been missing, unless it sees that owner itself.
func TestOlderReplicasGiveEvidence(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	young, old := all[0], all[1]
	silent := listen(t, places(t, 1)[0])
	defer silent.Close()
	id := seal(ring(1, 2, 3), uid, "apikey:alice", session.NewOwner(addrOf(silent)))
	is(t, young.ask(t, id, "hello"), http.StatusServiceUnavailable, "owner_unreachable")
	now := time.Now()
	old.links.members.mu.Lock()
	old.links.members.first, old.links.members.last = now.Add(-absence-time.Second), now
	old.links.members.mu.Unlock()
	is(t, young.ask(t, id, "hello"), http.StatusNotFound, "unknown_session")
	young.links.members.list(now, []netip.AddrPort{addrOf(silent), old.addr})
	is(t, young.ask(t, id, "hello"), http.StatusServiceUnavailable, "owner_unreachable")
}

// Without a look at the peers nobody knows whether another has the session.
func TestAReplicaThatHasJustBegunClaimsNothing(t *testing.T) {
	t.Parallel()
	at := places(t, 2)
	r := run(t, ring(1, 2, 3), at[0], at...)
	id := seal(ring(1, 2, 3), uid, "apikey:alice", session.NewOwner(at[1]))
	is(t, r.ask(t, id, "hello"), http.StatusServiceUnavailable, "owner_unreachable")
	// Nor does it know before it has met them.
	r.links.members.list(time.Now(), at)
	is(t, r.ask(t, id, "hello"), http.StatusServiceUnavailable, "owner_unreachable")
	r.links.look(t.Context())
	is(t, r.ask(t, id, "hello"), http.StatusNotFound, "unknown_session")
}

func TestAnOwnerThatHasDied(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	id := all[0].open(t).ID()
	is(t, all[1].ask(t, id, "hello"), http.StatusOK, all[0].name)
	// What runs there has an unknown outcome, and is not run again.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		is(t, all[1].ask(t, id, "hang"), http.StatusBadGateway, "outcome_unknown")
	}()
	for all[1].links.to(all[0].addr).client.Busy() == 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // The connection has no channel for it.
	}
	all[0].stop()
	<-ended
	is(t, all[1].ask(t, id, "hello"), http.StatusNotFound, "unknown_session")
	is(t, all[2].ask(t, id, "hello"), http.StatusNotFound, "unknown_session")
	if got := len(all[1].links.Ready()); got != 1 {
		t.Errorf("%d peers are ready", got)
	}
}

func TestAnAnswerThatIsCutIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	id := all[0].open(t).ID()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, all[1].url+"/mcp", strings.NewReader("abort"))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = http.Header{"X-Who": {"alice"}, "Mcp-Session-Id": {id}, "Content-Type": {"application/json"}}
	if a, err := http.DefaultTransport.RoundTrip(q); err == nil { //nolint:forbidigo // Tests have no limits.
		if body, err := io.ReadAll(a.Body); err == nil {
			t.Errorf("the answer %q seems whole", body)
		}
		a.Body.Close()
	}
	all[1].count(t, OutcomeLost, 1)
}

func TestAClientThatGoesAwayIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	id := all[0].open(t).ID()
	ctx, cancel := context.WithCancel(t.Context())
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, all[1].url+"/mcp", strings.NewReader("hang"))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = http.Header{"X-Who": {"alice"}, "Mcp-Session-Id": {id}, "Content-Type": {"application/json"}}
	go func() {
		for all[1].links.to(all[0].addr).client.Busy() == 0 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // The connection has no channel for it.
		}
		cancel()
	}()
	if a, err := http.DefaultTransport.RoundTrip(q); err == nil { //nolint:forbidigo // Tests have no limits.
		a.Body.Close()
		t.Error("the request was answered")
	}
	all[1].count(t, OutcomeCancelled, 1)
	if n := all[1].links.to(all[0].addr).client.Busy(); n != 0 {
		t.Errorf("%d requests are left on the link", n)
	}
}

// snapshot is what an owner gives away.
func hand(t *testing.T, from *replica, s *session.Session) netip.AddrPort {
	t.Helper()
	snapshot, ok := s.Freeze()
	if !ok {
		t.Fatal("the session is busy")
	}
	to, err := from.links.HandOver(t.Context(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	from.sessions.Moved(s.Key(), to)
	return to
}

func at(all []*replica, addr netip.AddrPort) (here *replica, others []*replica) {
	for _, r := range all {
		if r.addr == addr {
			here = r
		} else {
			others = append(others, r)
		}
	}
	return here, others
}

func TestASessionThatWasHandedOver(t *testing.T) {
	t.Parallel()
	all := replicas(t, 4)
	owner := all[0]
	s := owner.open(t)
	id := s.ID()
	to := hand(t, owner, s)
	holder, others := at(all, to)
	// Through those that remember, those that ask the owner, and the owner itself.
	for _, r := range append(others, holder, owner, others[0]) {
		is(t, r.ask(t, id, "hello"), http.StatusOK, holder.name+" POST hello")
	}
	// The owner is gone, and a replica that has never heard of the session asks.
	owner.stop()
	for _, r := range all {
		r.links.moved = moves{}
		if r != owner {
			// A request that leaves on a connection that just broke is not sent again.
			for _, to := range r.links.all() {
				to.cut()()
			}
			is(t, r.ask(t, id, "again"), http.StatusOK, holder.name+" POST again")
		}
	}
	// The next owner leaves too.
	again, ok := holder.sessions.Get(id, "apikey:alice")
	if !ok {
		t.Fatal("the session is not where it should be")
	}
	holder.links.refused(owner.addr)
	third, _ := at(all, hand(t, holder, again))
	if third == owner || third == holder {
		t.Fatalf("the session went to %s", third.name)
	}
	for _, r := range all[1:] {
		is(t, r.ask(t, id, "still"), http.StatusOK, third.name+" POST still")
	}
	// All that had it are gone.
	holder.stop()
	third.stop()
	for _, r := range all[1:] {
		if r != holder && r != third {
			// A request that leaves on a connection that just broke is not sent again.
			for _, to := range r.links.all() {
				to.cut()()
			}
			is(t, r.ask(t, id, "late"), http.StatusNotFound, "unknown_session")
		}
	}
}

// Nobody dials a machine that is gone, which would not even refuse, before those are
// asked that live.
func TestASessionWhoseOwnerIsSilentIsFoundWithoutIt(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	var dials atomic.Int32
	silent := &counting{Listener: listen(t, places(t, 1)[0]), n: &dials}
	defer silent.Close()
	go func() {
		for {
			if _, err := silent.Accept(); err != nil {
				return
			}
		}
	}()
	holder, others := all[0], all[1:]
	id := seal(ring(1, 2, 3), uid, "apikey:alice", session.NewOwner(addrOf(silent)))
	if _, err := holder.sessions.Adopt(session.Snapshot{ID: id, Principal: "apikey:alice", Era: "streamable"}); err != nil {
		t.Fatal(err)
	}
	for _, r := range others {
		is(t, r.ask(t, id, "hello"), http.StatusOK, holder.name+" POST hello")
	}
	if n := dials.Load(); n != 0 {
		t.Errorf("the silent owner was dialled %d times, want none", n)
	}
}

// Two replicas that each take the other for the one that has the session do not
// send its requests to and fro.
func TestALoopIsImpossible(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	s := all[0].open(t)
	id, key := s.ID(), s.Key()
	all[0].sessions.Moved(key, all[1].addr)
	all[1].sessions.Moved(key, all[0].addr)
	for _, r := range all {
		a := r.ask(t, id, "hello")
		if a.StatusCode != http.StatusServiceUnavailable && a.StatusCode != http.StatusNotFound {
			t.Errorf("through %s: status %d", r.name, a.StatusCode)
		}
	}
	// One that has come far already is not passed on, and one that came too far is not
	// served.
	for hops, verdict := range map[int]string{0: verdictUnread, maxHops: verdictMoved, maxHops + 1: verdictUnread, 1 << 20: verdictUnread} {
		e := &envelope{Key: key, Forwarded: Forwarded{Hops: hops}}
		a, err := all[2].links.to(all[0].addr).send(t.Context(), all[2].links.identity.Load(), false, &mux.Request{
			Method: http.MethodGet, Target: "/mcp", Header: http.Header{forwardHeader: {e.encode()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Header.Get(verdictHeader); got != verdict {
			t.Errorf("after %d hops: verdict %q, want %q", hops, got, verdict)
		}
		a.done()
	}
}

func TestLeavingReplicasAreNotChosen(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	all[1].links.Leave(t.Context())
	for range 16 {
		if to := hand(t, all[0], all[0].open(t)); to != all[2].addr {
			t.Fatalf("a session went to %s, which takes leave", to)
		}
	}
	// They answer for what they have.
	is(t, all[0].ask(t, all[1].open(t).ID(), "hello"), http.StatusOK, all[1].name)
	all[2].links.Leave(t.Context())
	snapshot, _ := all[0].open(t).Freeze()
	if _, err := all[0].links.HandOver(t.Context(), snapshot); !errors.Is(err, errNobody) {
		t.Errorf("HandOver = %v", err)
	}
}

func TestHandOverTriesTheSecond(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3)
	all[1].sessions.Seal() // It refuses what it is given, and nobody knows.
	for range 16 {
		if to := hand(t, all[0], all[0].open(t)); to != all[2].addr {
			t.Fatalf("a session went to %s", to)
		}
	}
}

// Keys rotate while links are open and used.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	turn := func(r *replica, keys keyring.Ring) {
		r.sealer.SetRing(uid, keys)
		if err := r.links.SetRing(keys); err != nil {
			t.Fatal(err)
		}
	}
	id := all[0].open(t).ID()
	is(t, all[1].ask(t, id, "hello"), http.StatusOK, all[0].name)
	hanging := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(hanging)
		q, _ := http.NewRequestWithContext(ctx, http.MethodPost, all[1].url+"/mcp", strings.NewReader("hang"))
		q.Header = http.Header{"X-Who": {"alice"}, "Mcp-Session-Id": {id}, "Content-Type": {"application/json"}}
		if a, err := http.DefaultTransport.RoundTrip(q); err == nil { //nolint:forbidigo // Tests have no limits.
			a.Body.Close()
			t.Errorf("the request that ran meanwhile ended with %d", a.StatusCode)
		}
	}()
	for all[1].links.to(all[0].addr).client.Busy() == 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // The connection has no channel for it.
	}
	for i := range 3 {
		for j, r := range []*replica{all[i%2], all[1-i%2]} {
			turn(r, ring(byte(2+i), byte(3+i), byte(1+i)))
			is(t, all[1].ask(t, all[0].open(t).ID(), "hello"), http.StatusOK, all[0].name)
			is(t, all[0].ask(t, all[1].open(t).ID(), "hello"), http.StatusOK, all[1].name)
			if i == 0 && j == 0 {
				is(t, all[1].ask(t, id, "hello"), http.StatusOK, all[0].name)
			}
		}
	}
	cancel()
	<-hanging
	// Replicas without a key in common are no peers any more.
	turn(all[1], ring(20, 21, 22))
	all[0].links.look(t.Context())
	id, _ = all[0].sealer.Seal("apikey:alice")
	if got := all[1].ask(t, id, "hello").StatusCode; got != http.StatusNotFound {
		t.Errorf("an id of another ring: %d", got)
	}
	is(t, all[0].ask(t, seal(ring(4, 5, 3), uid, "apikey:alice", all[1].sealer.Self()), "hello"), http.StatusServiceUnavailable, "owner_unreachable")
}

// The port speaks with peers alone.
func TestAForeignerIsRefused(t *testing.T) {
	t.Parallel()
	r := replicas(t, 2)[0]
	foreign, err := newIdentity(ring(9, 8, 7))
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"a key of another ring": foreign.config,
		"no key":                {InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
		"an old TLS":            {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: foreign.config.Certificates},
	} {
		raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(long))
		c := tls.Client(raw, config)
		// In TLS 1.3 a client learns by its first read that it is refused.
		err = c.HandshakeContext(t.Context())
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		raw.Close()
	}
	// Nor does a replica speak with a server that is none.
	other := run(t, ring(9, 8, 7), places(t, 1)[0], r.addr)
	if _, err := dial(t.Context(), other.addr, r.links.identity.Load()); !errors.Is(err, errUnreachable) {
		t.Errorf("dial = %v", err)
	}
	// Without keys it speaks with nobody.
	lonely := run(t, keyring.Ring{}, places(t, 1)[0], r.addr)
	lonely.links.look(t.Context())
	if got := len(lonely.links.Ready()); got != 0 {
		t.Errorf("%d peers without a key", got)
	}
	if _, err := dial(t.Context(), lonely.addr, r.links.identity.Load()); !errors.Is(err, errUnreachable) {
		t.Errorf("dial = %v", err)
	}
}

// A client that comes back to the stream of a 2024 session that is gone is served
// here, where it is told so.
func TestAStreamOfASessionThatIsGoneIsServedHere(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	for name, owner := range map[string]session.Owner{
		"ended": all[0].sealer.Self(), "another process": session.NewOwner(all[0].addr), "nobody": session.NewOwner(places(t, 1)[0]),
	} {
		id := seal(ring(1, 2, 3), uid, "apikey:alice", owner)
		if a := all[1].askAs(t, http.MethodGet, ssePath, "alice", id, ""); a.Header.Get("X-Said") != "" || a.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d by %q", name, a.StatusCode, a.Header.Get("X-Said"))
		}
	}
	s, err := all[0].sessions.Create("apikey:alice", engine.EraSSE, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	is(t, all[1].askAs(t, http.MethodGet, ssePath, "alice", s.ID(), ""), http.StatusOK, all[0].name)
}

// A client that leaves while a connection is being opened, or there is no place for its
// request yet, says nothing about the owner.
func TestAClientThatLeavesEarly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		method string
		full   bool
	}{
		{name: "a message during the dial", method: http.MethodPost},
		{name: "a stream during the dial", method: http.MethodGet},
		{name: "a message that waits for a place", method: http.MethodPost, full: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := places(t, 2)
			r := run(t, ring(1, 2, 3), at[0], at[0])
			l := listen(t, at[1])
			defer l.Close()
			ctx, leave := context.WithCancel(t.Context())
			go func() {
				if c, err := l.Accept(); err == nil {
					leave()
					c.Close()
				}
			}()
			if tt.full {
				for range maxCalls {
					r.links.to(at[1]).calls <- struct{}{}
				}
				leave()
			}
			id := seal(ring(1, 2, 3), uid, "apikey:alice", session.NewOwner(at[1]))
			q := httptest.NewRequestWithContext(transport.WithRequest(ctx, "", id), tt.method, "/mcp", strings.NewReader("hello"))
			q.Header.Set("X-Who", "alice")
			if _, err := transport.Identify(q, by{}); err != nil {
				t.Fatal(err)
			}
			if !r.links.Route(httptest.NewRecorder(), q, id, []byte("hello")) {
				t.Error("the request was left to this replica")
			}
			r.count(t, OutcomeCancelled, 1)
			for _, outcome := range []string{OutcomeUnreachable, OutcomeBusy, OutcomeGone} {
				if _, counted := r.outcomes.Load(outcome); counted {
					t.Errorf("it was counted as %s", outcome)
				}
			}
		})
	}
}

// A session that a request cannot be kept for is no session that has ended.
func TestASessionThatCannotBeHeldIsNotGone(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2)
	s := all[1].open(t)
	for range math.MaxUint16 {
		if _, here := all[1].sessions.Hold(s.Key()); !here {
			t.Fatal("the session is not here")
		}
	}
	if a := all[0].ask(t, s.ID(), "hello"); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, want 503 with Retry-After", a.StatusCode)
	}
}
