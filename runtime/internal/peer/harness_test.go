// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/keyring"
)

const (
	// long is how long a test waits for what should come at once.
	long = 20 * time.Second
	uid  = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
)

func key(b byte) (k keyring.Key) {
	for i := range k {
		k[i] = b
	}
	return k
}

func ring(current, next, previous byte) keyring.Ring {
	return keyring.Ring{Current: key(current), Next: key(next), Previous: key(previous)}
}

// replica is a replica whose sessions do nothing but say where they are.
type replica struct {
	name     string
	addr     netip.AddrPort
	links    *Links
	sealer   *session.Sealer
	sessions *session.Registry
	core     *transport.Core
	url      string
	accepted atomic.Int32 // connections at the peers' port
	outcomes sync.Map     // outcome -> *atomic.Int32
	revision atomic.Pointer[string]
	hold     atomic.Pointer[chan struct{}] // if set, Revision waits for it
	came     atomic.Pointer[func()]        // if set, is called when a session has come
	stop     func()
}

// places makes n addresses on a loopback network of the test's own, at which nobody
// listens.
var networks atomic.Uint32

func places(t *testing.T, n int) []netip.AddrPort {
	t.Helper()
	all := make([]netip.AddrPort, n)
	network := networks.Add(1)
	for i := range all {
		ip := netip.AddrFrom4([4]byte{127, byte(1 + os.Getpid()%200), byte(1 + network%250), byte(101 + i)})
		l := listen(t, netip.AddrPortFrom(ip, 0))
		all[i] = l.Addr().(*net.TCPAddr).AddrPort()
		l.Close()
	}
	return all
}

func listen(t *testing.T, addr netip.AddrPort) net.Listener {
	t.Helper()
	var c net.ListenConfig
	l, err := c.Listen(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// replicas runs n replicas that know each other.
func replicas(t *testing.T, n int) []*replica {
	t.Helper()
	at := places(t, n)
	all := make([]*replica, n)
	for i := range all {
		all[i] = run(t, ring(1, 2, 3), at[i], at...)
	}
	for _, r := range all {
		r.links.look(t.Context())
	}
	for _, r := range all {
		if got := len(r.links.Ready()); got != n-1 {
			t.Fatalf("%s knows %d others", r.name, got)
		}
	}
	return all
}

// run runs one replica until the test ends. It looks for its peers only when it is
// told to.
func run(t *testing.T, keys keyring.Ring, addr netip.AddrPort, peers ...netip.AddrPort) *replica {
	t.Helper()
	r := &replica{name: addr.String(), addr: addr, sealer: session.NewSealer(uid, keys, session.NewOwner(addr))}
	revision := "one"
	r.revision.Store(&revision)
	r.sessions = session.New(r.sealer, session.Options{Max: 1000, IdleTimeout: time.Hour, MaxAge: time.Hour}, r)
	logger := slog.New(slog.DiscardHandler)
	r.core = transport.New(transport.Options{
		Sessions: r.sessions, Streams: limit.New(limit.Config{Calls: 10, CallsPerPrincipal: 10, Streams: 10}), Logger: logger,
		Settings: transport.Settings{Heartbeat: time.Hour, WriteTimeout: long, ReadTimeout: long, MaxRequestSize: 1 << 20},
	})
	var list []Place
	for _, p := range peers {
		list = append(list, Place{Host: p.Addr().String(), Port: p.Port()})
	}
	var err error
	r.links, err = New(Options{
		Places: list, Core: r.core, Sessions: r.sessions, Sealer: r.sealer, Ring: keys, Logger: logger, Observer: r,
		Revision: func() string {
			if hold := r.hold.Load(); hold != nil {
				<-*hold
			}
			return *r.revision.Load()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &counting{Listener: listen(t, addr), n: &r.accepted}
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.links.Serve(ctx, l, r); err != nil {
			t.Error(err)
		}
	})
	front := httptest.NewServer(http.HandlerFunc(r.front))
	r.url = front.URL
	r.stop = sync.OnceFunc(func() {
		front.CloseClientConnections()
		cancel()
		for _, to := range r.links.all() {
			to.cut()
		}
		running.Wait()
		front.Close()
	})
	t.Cleanup(r.stop)
	return r
}

type counting struct {
	net.Listener
	n *atomic.Int32
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// Forwarded implements Observer.
func (r *replica) Forwarded(outcome string) {
	n, _ := r.outcomes.LoadOrStore(outcome, new(atomic.Int32))
	n.(*atomic.Int32).Add(1)
}

// Sessions implements session.Observer.
func (r *replica) Sessions(_ string, delta int) {
	if came := r.came.Swap(nil); came != nil && delta > 0 {
		(*came)()
	}
}

// Resumed implements session.Observer.
func (*replica) Resumed(bool) {}

// EventLogBytes implements session.Observer.
func (*replica) EventLogBytes(int) {}

// Peers implements Observer.
func (*replica) Peers(int) {}

// count waits until an outcome was counted so often: it is after the answer.
func (r *replica) count(t *testing.T, outcome string, want int32) {
	t.Helper()
	var got int32
	for began := time.Now(); time.Since(began) < long; time.Sleep(time.Millisecond) { //nolint:forbidigo // The counter has no channel.
		if n, ok := r.outcomes.Load(outcome); ok {
			if got = n.(*atomic.Int32).Load(); got == want {
				return
			}
		}
	}
	t.Errorf("%d requests were counted as %s, want %d", got, outcome, want)
}

// by lets everybody in under the name in X-Who.
type by struct{}

func (by) Authenticate(r *http.Request) (auth.Principal, error) {
	who := r.Header.Get("X-Who")
	return auth.Principal{Key: "apikey:" + who, Name: who, Roles: []string{"one", "two"}}, nil
}

// front serves clients.
func (r *replica) front(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("X-Request-Id", "id-of-the-client")
	q = q.WithContext(transport.WithRequest(q.Context(), "id-of-the-client", transport.SessionID(q)))
	if _, err := transport.Identify(q, by{}); err != nil {
		panic(err)
	}
	if id := transport.SessionID(q); !r.links.Route(w, q, id, nil) {
		r.here(w, q, transport.Principal(q.Context()).Key)
	}
}

// ServeForwarded implements Handler.
func (r *replica) ServeForwarded(w http.ResponseWriter, q *http.Request, f Forwarded) {
	w.Header().Set("X-Said", strings.Join([]string{f.Principal.Key, f.Principal.Name, strings.Join(f.Principal.Roles, "+"), f.RequestID, q.Header.Get("X-Who"), q.Header.Get("Traceparent")}, " "))
	w.Header().Set("X-Hops", string(rune('0'+f.Hops)))
	r.here(w, q, f.Principal.Key)
}

func (r *replica) here(w http.ResponseWriter, q *http.Request, principal string) {
	if _, ok := r.sessions.Get(transport.SessionID(q), principal); !ok {
		r.core.RefuseUnknownSession(w, q)
		return
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		panic(err)
	}
	switch string(body) {
	case "hang":
		<-q.Context().Done()
		return
	case "abort":
		_, _ = w.Write([]byte("the beginning"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, r.name+" "+q.Method+" "+string(body))
}

// open opens a session of alice.
func (r *replica) open(t *testing.T) *session.Session {
	t.Helper()
	s, err := r.sessions.Create("apikey:alice", engine.EraStreamable, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a POST of alice to a replica.
func (r *replica) ask(t *testing.T, id, body string) *http.Response {
	t.Helper()
	return r.askAs(t, http.MethodPost, "/mcp", "alice", id, body)
}

func (r *replica) askAs(t *testing.T, method, path, who, id, body string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodPost {
		q.Body, q.ContentLength = http.NoBody, 0
	}
	q.Header = http.Header{"X-Who": {who}, "Mcp-Session-Id": {id}, "Last-Event-Id": {id}, "Content-Type": {"application/json"}, "Traceparent": {"thing"}, "Authorization": {"Bearer secret"}}
	// A client cannot speak as a peer.
	q.Header.Set(forwardHeader, (&envelope{Forwarded: Forwarded{Principal: auth.Principal{Key: "apikey:eve"}, Hops: 1}}).encode())
	a, err := http.DefaultTransport.RoundTrip(q) //nolint:forbidigo // Tests have no limits.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Body.Close() })
	return a
}

// is checks an answer.
func is(t *testing.T, a *http.Response, status int, want string) {
	t.Helper()
	body, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != status || !strings.Contains(string(body), want) {
		t.Errorf("answer %d %s, %v; want %d %s", a.StatusCode, body, err, status, want)
	}
	if status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func addrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }
