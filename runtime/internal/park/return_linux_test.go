// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package park_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/runtime/internal/park"
)

// taken are the connections that the path /take hijacks, after an answer.
type taken chan *net.TCPConn

func serveTaking(t *testing.T) (*setup, taken) {
	t.Helper()
	all := make(taken, 16)
	s := serve(t, park.Options{}, func(server *http.Server) {
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/take" {
				echo(w, r)
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")
			all <- conn.(*park.Conn).NetConn().(*net.TCPConn)
		})
	})
	return s, all
}

func (c *client) take(all taken) *net.TCPConn {
	c.t.Helper()
	c.send(get("/take"))
	c.expect("taken")
	return <-all
}

func TestReturn(t *testing.T) {
	t.Parallel()
	const next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, tt := range []struct {
		name          string
		ahead, before string // What was read, and what waits in the socket.
		after         string // What comes then.
	}{
		{name: "idle", after: next},
		{name: "all was read", ahead: next},
		{name: "a part was read", ahead: next[:7], after: next[7:]},
		{name: "a part was read, the rest is there", ahead: next[:1], before: next[1:]},
		{name: "all is there", before: next},
		{name: "a part is there", before: next[:9], after: next[9:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, all := serveTaking(t)
			c := s.dial(t)
			for range 3 {
				conn := c.take(all)
				c.send(tt.before)
				s.listener.Return(conn, []byte(tt.ahead))
				if tt.after == next {
					s.parked(t, 1) // It waits like any other.
				} else {
					pass(3 * after) // Whoever has begun is not parked.
				}
				c.send(tt.after)
				c.expect("GET /next ")
				c.exchange("/more")
				s.parked(t, 1)
			}
		})
	}
}

func TestReturnWhileLeaving(t *testing.T) {
	t.Parallel()
	s, all := serveTaking(t)
	silent, asks, late := s.dial(t), s.dial(t), s.dial(t)
	first, second, third := silent.take(all), asks.take(all), late.take(all)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.listener.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	s.listener.Return(first, nil)
	silent.ended()
	asks.send(get("/asked"))
	until(t, "the request has arrived", func() bool { return asked(second) })
	s.listener.Return(second, nil)
	asks.expect("GET /asked ")
	if err := s.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	late.send(get("/late"))
	until(t, "the request has arrived", func() bool { return asked(third) })
	s.listener.Return(third, nil)
	if rest, _ := io.ReadAll(late.reader); len(rest) > 0 {
		t.Errorf("after the end %q was answered", rest)
	}
}

// asked reports whether the peer has sent something.
func asked(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n = peek(fd) })
	return n > 0
}

func peek(fd uintptr) int {
	var b [1]byte
	n, _, _ := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n
}
