// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// report is one call of Ready.
type report struct {
	token  Token
	events Events
}

// watcher hands its reports on.
type watcher chan report

func newWatcher() watcher { return make(watcher, 16) }

// Ready implements Watcher.
func (w watcher) Ready(t Token, e Events) { w <- report{t, e} }

// readyFunc is a Watcher of a function.
type readyFunc func(t Token, e Events)

// Ready implements Watcher.
func (f readyFunc) Ready(t Token, e Events) { f(t, e) }

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// pair is a TCP connection: ours and the peer's end.
func pair(t *testing.T) (ours, peer *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	peer, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	if ours, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return ours, peer
}

func watch1(t *testing.T, p *Poller, c syscall.Conn, w Watcher) Token {
	t.Helper()
	token, err := p.Watch(c, w)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func write(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

// settle returns when everything that was ready before has been reported: the
// kernel reports in the order in which connections became ready.
func settle(t *testing.T, p *Poller) {
	t.Helper()
	ours, peer := pair(t)
	w := newWatcher()
	token := watch1(t, p, ours, w)
	write(t, peer)
	<-w
	p.Forget(token)
}

func (w watcher) silent(t *testing.T, p *Poller) {
	t.Helper()
	settle(t, p)
	select {
	case r := <-w:
		t.Errorf("reported %s, want nothing", r.events)
	default:
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		act  func(t *testing.T, peer *net.TCPConn)
		want Events
	}{
		{name: "bytes", act: func(t *testing.T, peer *net.TCPConn) { t.Helper(); write(t, peer) }, want: Readable},
		{name: "half-close", act: func(_ *testing.T, peer *net.TCPConn) { _ = peer.CloseWrite() }, want: Readable | HungUp},
		{name: "close", act: func(_ *testing.T, peer *net.TCPConn) { _ = peer.Close() }, want: Readable | HungUp},
		{name: "reset", act: func(_ *testing.T, peer *net.TCPConn) { _ = peer.SetLinger(0); _ = peer.Close() }, want: Readable | HungUp | Broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, when := range []string{"after", "before"} {
				p, w := newPoller(t), newWatcher()
				ours, peer := pair(t)
				if when == "before" {
					tt.act(t, peer)
				}
				token := watch1(t, p, ours, w)
				if when == "after" {
					tt.act(t, peer)
				}
				if got, want := <-w, (report{token, tt.want}); got != want {
					t.Errorf("%s the watch began: reported %x %s, want %x %s", when, got.token, got.events, want.token, want.events)
				}
			}
		})
	}
}

func TestEventsText(t *testing.T) {
	t.Parallel()
	if got := (Readable | Broken).String(); got != "Readable|Broken" {
		t.Errorf("text %q", got)
	}
}

func TestOneReportForEachArm(t *testing.T) {
	t.Parallel()
	p, w := newPoller(t), newWatcher()
	ours, peer := pair(t)
	token := watch1(t, p, ours, w)
	write(t, peer)
	<-w
	write(t, peer)
	w.silent(t, p)
	for range 3 {
		if err := p.Arm(token); err != nil {
			t.Fatal(err)
		}
		if got := <-w; got.events != Readable {
			t.Errorf("reported %s, want the bytes that are still there", got.events)
		}
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	p, w := newPoller(t), newWatcher()
	ours, peer := pair(t)
	token := watch1(t, p, ours, w)
	p.Forget(token)
	p.Forget(token)
	p.Forget(0)
	write(t, peer)
	w.silent(t, p)
	if err := p.Arm(token); !errors.Is(err, ErrForgotten) {
		t.Errorf("Arm: %v, want ErrForgotten", err)
	}
	second := watch1(t, p, ours, w)
	if got := <-w; got.token != second {
		t.Errorf("reported %x, want the second watch %x", got.token, second)
	}
	if _, err := p.Watch(ours, w); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second watch at once: %v, want EEXIST", err)
	}
	p.Forget(second)
	if n := p.Watched(); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}

// TestFromReady checks that a watcher can do everything with its own watch, and
// before Watch has returned the token.
func TestFromReady(t *testing.T) {
	t.Parallel()
	p := newPoller(t)
	ours, peer := pair(t)
	write(t, peer)
	rounds, done := 0, make(chan error, 1)
	watch1(t, p, ours, readyFunc(func(token Token, _ Events) {
		rounds++
		if rounds < 5 {
			if err := p.Arm(token); err != nil {
				done <- err
			}
			return
		}
		p.Forget(token)
		done <- p.Arm(token)
	}))
	if err := <-done; !errors.Is(err, ErrForgotten) {
		t.Errorf("after %d rounds: %v, want ErrForgotten", rounds, err)
	}
}

func TestClosedConnections(t *testing.T) {
	t.Parallel()
	p, w := newPoller(t), newWatcher()
	ours, peer := pair(t)
	token := watch1(t, p, ours, w)
	_ = ours.Close()
	write(t, peer)
	w.silent(t, p)
	if err := p.Arm(token); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Arm: %v, want net.ErrClosed", err)
	}
	p.Forget(token)
	if _, err := p.Watch(ours, w); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Watch: %v, want net.ErrClosed", err)
	}
	if n := p.Watched(); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}

// lender lends a descriptor of a given number until it is closed.
type lender struct {
	fd     int
	closed atomic.Bool
}

// SyscallConn implements syscall.Conn.
func (l *lender) SyscallConn() (syscall.RawConn, error) { return l, nil }

// Control implements syscall.RawConn.
func (l *lender) Control(f func(fd uintptr)) error {
	if l.closed.Load() {
		return net.ErrClosed
	}
	f(uintptr(l.fd))
	return nil
}

// Read implements syscall.RawConn.
func (*lender) Read(func(uintptr) bool) error { return errors.ErrUnsupported }

// Write implements syscall.RawConn.
func (*lender) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

// TestDescriptorReuse gives the number of a watched connection to another one,
// which is watched too: the first watch cannot touch the second.
func TestDescriptorReuse(t *testing.T) {
	t.Parallel()
	p, first, second := newPoller(t), newWatcher(), newWatcher()
	var ends [2][2]int
	for i := range ends {
		var err error
		if ends[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			t.Fatal(err)
		}
		for _, fd := range ends[i] {
			t.Cleanup(func() { _ = unix.Close(fd) })
		}
	}
	number := ends[0][0]
	old := &lender{fd: number}
	oldToken := watch1(t, p, old, first)
	// Closes the old connection and opens another one of its number.
	old.closed.Store(true)
	if err := unix.Dup3(ends[1][0], number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	newToken := watch1(t, p, &lender{fd: number}, second)
	if err := p.Arm(oldToken); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Arm of the closed connection: %v, want net.ErrClosed", err)
	}
	p.Forget(oldToken)
	if _, err := unix.Write(ends[1][1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-second; got.token != newToken {
		t.Errorf("reported %x, want %x", got.token, newToken)
	}
	first.silent(t, p)
}

// TestCloseInEachState closes the Poller with a watch in each state: none gets
// a report after that, and the connections are still open.
func TestCloseInEachState(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		state func(t *testing.T, p *Poller, w watcher, token Token, ours, peer *net.TCPConn)
	}{
		{name: "idle", state: func(*testing.T, *Poller, watcher, Token, *net.TCPConn, *net.TCPConn) {}},
		{name: "reported", state: func(t *testing.T, _ *Poller, w watcher, _ Token, _, peer *net.TCPConn) {
			t.Helper()
			write(t, peer)
			<-w
		}},
		{name: "forgotten", state: func(_ *testing.T, p *Poller, _ watcher, token Token, _, _ *net.TCPConn) { p.Forget(token) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, w := newPoller(t), newWatcher()
			ours, peer := pair(t)
			token := watch1(t, p, ours, w)
			tt.state(t, p, w, token, ours, peer)
			for range 2 {
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
			}
			write(t, peer)
			if err := p.Arm(token); !errors.Is(err, ErrClosed) {
				t.Errorf("Arm: %v, want ErrClosed", err)
			}
			if _, err := p.Watch(ours, w); !errors.Is(err, ErrClosed) {
				t.Errorf("Watch: %v, want ErrClosed", err)
			}
			p.Forget(token)
			var b [1]byte
			if n, err := ours.Read(b[:]); n != 1 || err != nil {
				t.Errorf("Read after Close: %d, %v", n, err)
			}
			if len(w) > 0 {
				t.Errorf("reported %s after Close", (<-w).events)
			}
		})
	}
}

func TestCloseWaitsForReady(t *testing.T) {
	t.Parallel()
	p := newPoller(t)
	running, release, returned := make(chan bool), make(chan bool), make(chan bool)
	var after atomic.Bool
	ours, peer := pair(t)
	write(t, peer)
	watch1(t, p, ours, readyFunc(func(Token, Events) {
		if after.Load() {
			t.Error("reported after Close")
		}
		close(running)
		<-release
	}))
	<-running
	ours, peer = pair(t)
	late := newWatcher()
	watch1(t, p, ours, late)
	write(t, peer)
	go func() {
		_ = p.Close()
		after.Store(true)
		close(returned)
	}()
	for { // Until Close has begun.
		token, err := p.Watch(ours, late)
		if errors.Is(err, ErrClosed) {
			break
		}
		p.Forget(token)
		runtime.Gosched()
	}
	select {
	case <-returned:
		t.Error("Close returned while Ready ran")
	default:
	}
	close(release)
	<-returned
	if len(late) > 0 {
		t.Error("reported an event that was not taken before Close")
	}
}

func TestNoGoroutines(t *testing.T) {
	const n = 200
	p := newPoller(t)
	connections := make([]*net.TCPConn, n)
	for i := range connections {
		connections[i], _ = pair(t)
	}
	before := runtime.NumGoroutine()
	for _, c := range connections {
		watch1(t, p, c, newWatcher())
	}
	if now := runtime.NumGoroutine(); now != before {
		t.Errorf("%d watches took %d goroutines", n, now-before)
	}
}

// TestChurn watches, closes and forgets from many sides; it is for the race
// detector, and no watch may be left.
func TestChurn(t *testing.T) {
	t.Parallel()
	p := newPoller(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for round := range 50 {
				ours, peer := pair(t)
				w := newWatcher()
				token := watch1(t, p, ours, w)
				switch round % 4 {
				case 0:
					write(t, peer)
					<-w
				case 1:
					go func() { _, _ = peer.Write([]byte("x")) }()
				case 2:
					_ = ours.Close()
				default:
					go func() { _ = p.Arm(token) }()
				}
				p.Forget(token)
				_ = ours.Close()
				_ = peer.Close()
			}
		})
	}
	group.Wait()
	if n := p.Watched(); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}

func BenchmarkReport(b *testing.B) {
	p, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := unix.Write(ends[1], []byte("x")); err != nil {
		b.Fatal(err)
	}
	w := newWatcher()
	token, err := p.Watch(&lender{fd: ends[0]}, w)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		<-w
		if err := p.Arm(token); err != nil {
			b.Fatal(err)
		}
	}
}
