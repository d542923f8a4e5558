// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// stuck is a client whose other side does not read yet, and whose queue is full.
// Wait waits for the requests that fill it.
func stuck(t *testing.T) (c *Client, other net.Conn, filling *sync.WaitGroup) {
	t.Helper()
	asks, answers := net.Pipe()
	c, filling = NewClient(asks), &sync.WaitGroup{}
	for range maxQueued/window + 8 {
		filling.Go(func() {
			if a, _, err := c.Do(t.Context(), &Request{Method: http.MethodPost, Target: "/", Body: make([]byte, window)}); err == nil {
				_, _ = io.Copy(io.Discard, a)
				a.Close()
			}
		})
	}
	until(t, "the queue is full", func() bool { return c.c.full() != nil })
	t.Cleanup(func() {
		c.Close()
		c.Wait()
		answers.Close()
	})
	return c, answers, filling
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(20 * time.Second); !is(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

func ends(t *testing.T, what string, wait func()) {
	t.Helper()
	over := make(chan struct{})
	go func() {
		wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not end", what)
	}
}

// Those that wait for room learn that there will be none.
func TestAConnectionThatFailsLetsAllWaitersGo(t *testing.T) {
	t.Parallel()
	c, _, filling := stuck(t)
	c.Close()
	ends(t, "a request on a connection that has failed", filling.Wait)
}

// The word that nobody waits must not overtake the request itself.
func TestARequestThatIsGivenUpBeforeItLeftEnds(t *testing.T) {
	t.Parallel()
	c, other, _ := stuck(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	busy := c.Busy()
	asking.Go(func() {
		if _, _, err := c.Do(ctx, &Request{Method: http.MethodGet, Target: "/stream"}); err == nil {
			t.Error("a request was answered that was given up")
		}
	})
	until(t, "the request waits", func() bool { return c.Busy() > busy })
	queued := func() int {
		c.c.mu.Lock()
		defer c.c.mu.Unlock()
		return len(c.c.queue)
	}
	before := queued()
	cancel()
	until(t, "that is said", func() bool { return queued() > before })
	ended := make(chan struct{})
	serving, stop := context.WithCancel(t.Context())
	go Serve(serving, other, ServerOptions{Logger: slog.New(slog.DiscardHandler), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		<-r.Context().Done()
		close(ended)
	})})
	defer stop()
	asking.Wait()
	ends(t, "the handler of a request that was given up", func() { <-ended })
}

func TestAHeadThatIsTooLargeEndsNothingElse(t *testing.T) {
	t.Parallel()
	asks, answers := net.Pipe()
	began, answer := make(chan struct{}), make(chan struct{})
	serving, stop := context.WithCancel(t.Context())
	defer stop()
	go Serve(serving, answers, ServerOptions{Logger: slog.New(slog.DiscardHandler), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-answer
	})})
	c := NewClient(asks)
	defer c.Wait()
	defer c.Close()
	var running sync.WaitGroup
	running.Go(func() {
		a, _, err := c.Do(t.Context(), &Request{Method: http.MethodGet, Target: "/"})
		if err != nil {
			t.Errorf("a request beside it: %v", err)
			return
		}
		a.Close()
	})
	<-began
	for name, header := range map[string]http.Header{
		"fields": {"A": make([]string, maxFields+1)}, "bytes": {"A": {strings.Repeat("a", maxHead)}},
	} {
		if _, _, err := c.Do(t.Context(), &Request{Method: http.MethodGet, Target: "/", Header: header}); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
	close(answer)
	ends(t, "the request beside it", running.Wait)
}

// A request may be refused before the other side has said that it takes no more.
func TestARefusalComesBeforeItsReason(t *testing.T) {
	t.Parallel()
	asks, other := net.Pipe()
	c := NewClient(asks)
	defer c.Wait()
	defer c.Close()
	go func() { _, _ = io.Copy(io.Discard, other) }()
	results := make(chan error, 2)
	for range 2 {
		busy := c.Busy()
		go func() {
			a, _, err := c.Do(t.Context(), &Request{Method: http.MethodPost, Target: "/"})
			if err == nil && a.Status != http.StatusOK {
				err = fmt.Errorf("status %d", a.Status)
			}
			results <- err
		}()
		until(t, "the request runs", func() bool { return c.Busy() > busy })
	}
	if _, err := other.Write(appendFrameHead(nil, kindRefused, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-results; !errors.Is(err, ErrAway) {
		t.Errorf("a request that was refused: %v", err)
	}
	if !c.Away() {
		t.Error("the connection seems to take requests")
	}
	h := (&head{first: "200"}).append(nil)
	payload := append(uvarint(nil, len(h)), h...)
	if _, err := other.Write(append(appendFrameHead(nil, kindHead|last, 0, len(payload)), payload...)); err != nil {
		t.Fatal(err)
	}
	if err := <-results; err != nil {
		t.Errorf("the other request: %v", err)
	}
}
