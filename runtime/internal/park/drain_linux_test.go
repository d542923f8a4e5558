// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package park_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/park"
)

// TestLeavingInEachState drains and shuts down with a connection in each state:
// requests that were sent before are answered, and no connection is left open.
func TestLeavingInEachState(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before func(s *setup, c *client)
		after  func(c *client)
	}{
		{name: "parked", before: func(s *setup, c *client) {
			c.exchange("/")
			s.parked(c.t, 1)
		}, after: func(*client) {}},
		{name: "parked with a request", before: func(s *setup, c *client) {
			c.exchange("/")
			s.parked(c.t, 1)
			c.send(get("/late"))
		}, after: func(c *client) { c.expect("GET /late ") }},
		{name: "idle", before: func(_ *setup, c *client) { c.exchange("/") }, after: func(*client) {}},
		{name: "being served", before: func(s *setup, c *client) {
			c.exchange("/")
			s.parked(c.t, 1)
			c.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
			until(c.t, "the request is served", func() bool { return s.requests.Load() == 2 })
			c.send("x")
		}, after: func(c *client) { c.expect("POST /slow x") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, park.Options{}, nil)
			c := s.dial(t)
			tt.before(s, c)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := s.listener.Drain(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.server.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			tt.after(c)
			c.ended()
			if parked, watched := s.listener.Parked(), s.poller.Watched(); parked+watched != 0 {
				t.Errorf("%d parked, %d watched", parked, watched)
			}
		})
	}
}

// TestDrainOfAStuckRequest checks that Drain ends with its context.
func TestDrainOfAStuckRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{}, nil)
	c := s.dial(t)
	c.exchange("/")
	s.parked(t, 1)
	c.send("GET /")
	s.parked(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	if err := s.listener.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v, want that time is up", err)
	}
	c.send(" HTTP/1.1\r\nHost: h\r\n\r\n")
	c.expect("GET / ")
	if err := s.listener.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNothingIsParkedAfterDrain checks that idle connections are net/http's
// from then on.
func TestNothingIsParkedAfterDrain(t *testing.T) {
	t.Parallel()
	s := serve(t, park.Options{}, nil)
	c := s.dial(t)
	c.exchange("/")
	if err := s.listener.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := s.dial(t)
	other.exchange("/")
	pass(3 * after)
	if n := s.listener.Parked(); n != 0 {
		t.Errorf("%d connections are parked", n)
	}
	other.exchange("/")
}

// TestCloseEndsParkedConnections closes the server without a Drain.
func TestCloseEndsParkedConnections(t *testing.T) {
	t.Parallel()
	for _, shut := range []func(*http.Server) error{(*http.Server).Close, func(s *http.Server) error { return s.Shutdown(t.Context()) }} {
		s := serve(t, park.Options{}, nil)
		c := s.dial(t)
		c.exchange("/")
		s.parked(t, 1)
		if err := shut(s.server); err != nil {
			t.Fatal(err)
		}
		c.ended()
		if parked, watched := s.listener.Parked(), s.poller.Watched(); parked+watched != 0 {
			t.Errorf("%d parked, %d watched", parked, watched)
		}
	}
}
