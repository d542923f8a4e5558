// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package park_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/runtime/internal/park"
	"fairlead.dev/fairlead/runtime/internal/poll"
)

// after is short, so that connections are parked soon, and long enough to send a
// request before.
const after = 20 * time.Millisecond

// setup is a real server behind a Listener.
type setup struct {
	server   *http.Server
	listener *park.Listener
	poller   *poll.Poller
	requests atomic.Int64
	served   chan struct{} // closed when Serve has returned
}

// echo answers with the request's target and body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
}

func serve(t *testing.T, o park.Options, change func(*http.Server)) *setup {
	t.Helper()
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, inner, o, change)
}

func serveOn(t *testing.T, inner net.Listener, o park.Options, change func(*http.Server)) *setup {
	t.Helper()
	if o.After == 0 {
		o.After = after
	}
	poller, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{poller: poller, listener: park.New(inner, poller, o), served: make(chan struct{})}
	s.server = &http.Server{
		Handler: http.HandlerFunc(echo), ReadHeaderTimeout: time.Minute, IdleTimeout: time.Hour, ConnState: s.listener.ConnState,
	}
	if change != nil {
		change(s.server)
	}
	handler := s.server.Handler
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		handler.ServeHTTP(w, r)
	})
	go func() {
		defer close(s.served)
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = s.server.Close()
		<-s.served
		if err := poller.Close(); err != nil {
			t.Errorf("closing the poller: %v", err)
		}
	})
	return s
}

// client is one end of a connection, for requests by hand.
type client struct {
	*net.TCPConn
	t      *testing.T
	reader *bufio.Reader
}

func (s *setup) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, s.listener.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return &client{TCPConn: c, t: t, reader: bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("failed to send %q: %v", text, err)
	}
}

// expect reads an answer of 200 and compares its body.
func (c *client) expect(want string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.t.Fatalf("failed to read the answer %q: %v", want, err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || string(body) != want {
		c.t.Fatalf("answer %d %q, %v; want %q", response.StatusCode, body, err, want)
	}
}

// ended checks that the server has closed the connection without another byte.
func (c *client) ended() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.reader); err != nil || len(rest) > 0 {
		c.t.Errorf("the connection ended with %q, %v, want nothing", rest, err)
	}
}

func get(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func post(target, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
}

func (c *client) exchange(target string) {
	c.t.Helper()
	c.send(get(target))
	c.expect("GET " + target + " ")
}

// until waits for a condition, which the test's own deadline bounds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		pass(time.Millisecond)
	}
}

// pass lets time pass on purpose, where that is what is tested.
func pass(d time.Duration) { <-time.After(d) }

func (s *setup) parked(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d connections are parked", n), func() bool { return s.listener.Parked() == n })
}

// TestHeadsSplitAtEveryByte sends requests in two pieces, with a pause that is
// longer than net/http waits for one, whatever net/http holds then.
func TestHeadsSplitAtEveryByte(t *testing.T) {
	t.Parallel()
	const body = "some body"
	const request = "POST /split HTTP/1.1\r\nHost: h\r\nX: y\r\nContent-Length: 9\r\n\r\n" + body
	for _, tt := range []struct {
		name   string
		parked bool // all connections are parked between the requests
		before string
		want   string
		piped  bool // the piece follows the request before at once
	}{
		{name: "parked", parked: true, before: get("/before"), want: "GET /before "},
		{name: "before it is parked", before: get("/before"), want: "GET /before "},
		{name: "pipelined", before: get("/before"), want: "GET /before ", piped: true},
		{name: "pipelined behind a body", before: post("/before", "abc"), want: "POST /before abc", piped: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, park.Options{}, nil)
			clients := make([]*client, len(request))
			for at := range clients {
				c := s.dial(t)
				clients[at] = c
				if tt.piped {
					c.send(tt.before + request[:at])
					c.expect(tt.want)
					continue
				}
				c.send(tt.before)
				c.expect(tt.want)
				if !tt.parked {
					c.send(request[:at])
				}
			}
			if tt.parked {
				s.parked(t, len(clients))
				for at, c := range clients {
					c.send(request[:at])
				}
			}
			// The first connection has no byte of the next request.
			s.parked(t, 1)
			pass(3 * after)
			s.parked(t, 1)
			for at, c := range clients {
				c.send(request[at:])
				c.expect("POST /split " + body)
			}
			s.parked(t, len(clients))
			for _, c := range clients {
				c.exchange("/after")
			}
		})
	}
}

func TestPipelinedRequestsOfAParkedConnection(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{}, nil)
	c := s.dial(t)
	c.exchange("/first")
	s.parked(t, 1)
	const n = 50
	var all strings.Builder
	for i := range n {
		all.WriteString(get(fmt.Sprintf("/%d", i)))
	}
	c.send(all.String())
	for i := range n {
		c.expect(fmt.Sprintf("GET /%d ", i))
	}
	s.parked(t, 1)
}

// TestHeadThatNeverComes checks that a head that stops is cut by Options.Head
// for its first bytes, and by the server's own bound after these.
func TestHeadThatNeverComes(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{"G", "GET", "GET /", "GET / HTTP/1.1\r\n"} {
		s := serve(t, park.Options{Head: 3 * after}, func(server *http.Server) { server.ReadHeaderTimeout = 3 * after })
		for _, when := range []string{"at once", "soon", "parked"} {
			c := s.dial(t)
			if when == "at once" {
				c.send(get("/") + piece)
				c.expect("GET / ")
			} else {
				c.exchange("/")
				if when == "parked" {
					s.parked(t, 1)
				}
				c.send(piece)
			}
			// net/http answers some with 400.
			if _, err := io.Copy(io.Discard, c.reader); err != nil {
				t.Errorf("after %q, sent %s: %v, want that the connection is closed", piece, when, err)
			}
			s.parked(t, 0)
		}
	}
}

func TestHangUpWhileParked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		act  func(c *client)
		want int64 // requests
	}{
		{name: "close", act: func(c *client) { _ = c.Close() }, want: 1},
		{name: "half-close", act: func(c *client) {
			_ = c.CloseWrite()
			c.ended()
		}, want: 1},
		{name: "reset", act: func(c *client) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}, want: 1},
		{name: "half-close behind a request", act: func(c *client) {
			c.send(get("/last"))
			_ = c.CloseWrite()
			c.expect("GET /last ")
			c.ended()
		}, want: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, park.Options{}, nil)
			c := s.dial(t)
			c.exchange("/")
			s.parked(t, 1)
			tt.act(c)
			s.parked(t, 0)
			if n := s.poller.Watched(); n != 0 {
				t.Errorf("%d connections are still watched", n)
			}
			if n := s.requests.Load(); n != tt.want {
				t.Errorf("%d requests were served, want %d", n, tt.want)
			}
		})
	}
}

// TestAtTheMomentOfParking has requests arrive just when connections are parked.
func TestAtTheMomentOfParking(t *testing.T) {
	t.Parallel()
	const early = time.Millisecond
	s := serve(t, park.Options{After: early}, nil)
	var group sync.WaitGroup
	for worker := range uint64(8) {
		c := s.dial(t)
		group.Go(func() {
			random := rand.New(rand.NewPCG(worker, 1))
			for i := range 300 {
				target := fmt.Sprintf("/%d", i)
				if _, err := io.WriteString(c, get(target)); err != nil {
					t.Error(err)
					return
				}
				response, err := http.ReadResponse(c.reader, nil)
				if err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || string(body) != "GET "+target+" " {
					t.Errorf("request %d: answer %q, %v", i, body, err)
				}
				pass(early*9/10 + time.Duration(random.IntN(int(early/4))))
			}
		})
	}
	group.Wait()
}

// TestDescriptorReuse opens and closes connections of all kinds, so that their
// numbers are given out again and again.
func TestDescriptorReuse(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{After: 2 * time.Millisecond}, nil)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for round := range 40 {
				c, err := net.DialTCP("tcp", nil, s.listener.Addr().(*net.TCPAddr))
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				reader := bufio.NewReader(c)
				for i := range 3 {
					target := fmt.Sprintf("/%d-%d-%d", worker, round, i)
					_, _ = io.WriteString(c, get(target))
					response, err := http.ReadResponse(reader, nil)
					if err != nil {
						t.Errorf("%s: %v", target, err)
						return
					}
					if body, err := io.ReadAll(response.Body); err != nil || string(body) != "GET "+target+" " {
						t.Errorf("%s: answer %q, %v", target, body, err)
					}
					_ = response.Body.Close()
					pass(time.Duration((worker+round+i)%6) * time.Millisecond)
				}
				if round%2 == 0 {
					_ = c.SetLinger(0)
				}
				_ = c.Close()
			}
		})
	}
	group.Wait()
	s.parked(t, 0)
	if n := s.poller.Watched(); n != 0 {
		t.Errorf("%d connections are still watched", n)
	}
}

func TestIdleLimit(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{Idle: 5 * after}, nil)
	c := s.dial(t)
	c.exchange("/")
	s.parked(t, 1)
	c.ended()
	s.parked(t, 0)
}

func TestMaxParked(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{Max: 2}, nil)
	var all []*client
	for i := range 3 {
		c := s.dial(t)
		c.exchange("/")
		s.parked(t, min(i+1, 2))
		all = append(all, c)
	}
	all[0].ended()
	all[1].exchange("/")
	all[2].exchange("/")
}

// TestManyWakeAtOnce wakes more connections than may be on their way.
func TestManyWakeAtOnce(t *testing.T) {
	t.Parallel()
	const n = 60
	for _, waking := range []int{1, 7, n} {
		s := serve(t, park.Options{Waking: waking}, nil)
		var all []*client
		for range n {
			c := s.dial(t)
			c.exchange("/")
			all = append(all, c)
		}
		s.parked(t, n)
		for _, c := range all {
			c.send(get("/again"))
		}
		for _, c := range all {
			c.expect("GET /again ")
		}
		s.parked(t, n)
	}
}

// TestServersOwnIdleTimeout checks that a server that waits for less time than
// it takes to park does as without parking, and that one without a bound parks.
func TestServersOwnIdleTimeout(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{After: time.Minute}, func(server *http.Server) { server.IdleTimeout = 2 * after })
	c := s.dial(t)
	c.exchange("/")
	c.ended()

	s = serve(t, park.Options{}, func(server *http.Server) { server.IdleTimeout, server.ReadHeaderTimeout = 0, 0 })
	c = s.dial(t)
	c.exchange("/")
	s.parked(t, 1)
	c.exchange("/")
	s.parked(t, 1)
}

// TestReadDeadlineOfAHandler checks that deadlines of handlers are their own.
func TestReadDeadlineOfAHandler(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{}, func(server *http.Server) {
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if r.URL.Path == "/short" {
				_ = control.SetReadDeadline(time.Now().Add(after))
			} else {
				_ = control.SetReadDeadline(time.Now().Add(time.Minute))
			}
			body, err := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %t", body, err != nil)
		})
	})
	c := s.dial(t)
	c.send(post("/long", "a"))
	c.expect("a false")
	s.parked(t, 1)
	c.send("POST /long HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx")
	pass(4 * after)
	c.send("y")
	c.expect("xy false")
	c.send("POST /short HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx")
	c.expect("x true")
}

func TestHijackOfAConnectionThatWasParked(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{}, func(server *http.Server) {
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/hijack" {
				echo(w, r)
				return
			}
			c, buffer, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			bare, ok := c.(interface{ NetConn() net.Conn })
			if !ok {
				t.Errorf("a hijacked %T has no NetConn", c)
				return
			}
			if _, ok := bare.NetConn().(*net.TCPConn); !ok {
				t.Errorf("NetConn is a %T", bare.NetConn())
			}
			go func() {
				defer func() { _ = c.Close() }()
				// Longer than it takes to park.
				pass(3 * after)
				_, _ = io.CopyN(c, buffer, 5)
				var one [1]byte
				_ = c.SetReadDeadline(time.Now().Add(after))
				if _, err := c.Read(one[:]); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("reading with a deadline: %v, want that it passes", err)
				}
			}()
		})
	})
	for range 2 {
		c := s.dial(t)
		c.exchange("/")
		s.parked(t, 1)
		c.send(get("/hijack") + "he")
		c.send("llo")
		var got [5]byte
		if _, err := io.ReadFull(c.reader, got[:]); err != nil || string(got[:]) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
		c.ended()
		s.parked(t, 0)
	}
}

func TestNoGoroutines(t *testing.T) {
	const n = 500
	s := serve(t, park.Options{}, nil)
	before := runtime.NumGoroutine()
	for range n {
		s.dial(t).exchange("/")
	}
	s.parked(t, n)
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	if now := runtime.NumGoroutine(); now != before {
		t.Errorf("%d parked connections have %d goroutines, want 0", n, now-before)
	}
}

func TestUnsentIsBounded(t *testing.T) {
	t.Parallel()
	got := make(chan int, 1)
	s := serve(t, park.Options{}, func(server *http.Server) {
		server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			raw, err := c.(*park.Conn).SyscallConn()
			if err != nil {
				t.Error(err)
				return ctx
			}
			_ = raw.Control(func(fd uintptr) {
				value, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
				if err != nil {
					t.Error(err)
				}
				got <- value
			})
			return ctx
		}
	})
	s.dial(t).exchange("/")
	if value := <-got; value != 32<<10 {
		t.Errorf("TCP_NOTSENT_LOWAT is %d, want 32 KiB", value)
	}
}

// failing fails each second Accept.
type failing struct {
	net.Listener
	err   error
	calls atomic.Int64
}

// Accept implements net.Listener.
func (f *failing) Accept() (net.Conn, error) {
	if f.calls.Add(1)%2 == 1 {
		return nil, f.err
	}
	return f.Listener.Accept()
}

func TestAcceptThatLacksDescriptors(t *testing.T) {
	t.Parallel()
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, &failing{Listener: inner, err: &net.OpError{Op: "accept", Err: syscall.EMFILE}}, park.Options{}, nil)
	for range 3 {
		s.dial(t).exchange("/")
	}
	s.parked(t, 3)
}

// TestAcceptThatFails checks that an error ends the server, as without parking.
func TestAcceptThatFails(t *testing.T) {
	t.Parallel()
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	l := park.New(&failing{Listener: inner, err: broken}, nil, park.Options{})
	if _, err := l.Accept(); !errors.Is(err, broken) {
		t.Errorf("Accept: %v, want the listener's error", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
}

// TestWithoutPoller serves as net/http does.
func TestWithoutPoller(t *testing.T) {
	t.Parallel()
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{listener: park.New(inner, nil, park.Options{After: after})}
	s.server = &http.Server{Handler: http.HandlerFunc(echo), ConnState: s.listener.ConnState, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(s.listener) }()
	defer func() { _ = s.server.Close() }()
	c := s.dial(t)
	c.exchange("/")
	pass(3 * after)
	if n := s.listener.Parked(); n != 0 {
		t.Errorf("%d connections are parked", n)
	}
	c.exchange("/")
}
