// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package client is a small MCP client that does not give up: it connects over
// any of MCP's HTTP transports, notices that a stream or a session was lost,
// comes back with growing delays, resumes where the protocol can, and says what
// happens in typed events. It is a layer on the official SDK, whose types it
// uses for tools and results.
//
// Not everything may be repeated: a call whose bytes have left is never sent
// again, unless the tool declares itself read-only or idempotent and the caller
// asked for it. See Call.Retry.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Client is one logical connection to a server. It is safe for concurrent use.
type Client struct {
	options Options
	events  *queue
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has ended and every connection is closed

	mu      sync.Mutex
	current *connection   // nil while disconnected
	failure error         // why the last attempt failed; nil while connected
	stopped bool          // set when run ends; failure says why
	changed chan struct{} // closed and replaced whenever one of the above changes

	retiring sync.WaitGroup
}

// Connect starts to connect and returns at once; calls wait until the
// connection is there, and Wait does nothing else. The client lives until ctx
// ends or Close is called. The error is about the options.
//
// Before the first success a refusal that no repetition can mend (an unknown
// path, a wrong key, a bad certificate) ends the client. Later it keeps trying
// whatever happens, since servers are reconfigured and keys rotate.
func Connect(ctx context.Context, options Options) (*Client, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &Client{
		options: o, events: newQueue(o.Buffer), cancel: cancel,
		done: make(chan struct{}), changed: make(chan struct{}),
	}
	go c.run(ctx)
	return c, nil
}

// Events gives what happens, in order; it is closed after Closed. There is one
// channel: readers share it. Nobody has to read it.
func (c *Client) Events() <-chan Event { return c.events.out }

// Wait returns when the client is connected. It fails with the reason when the
// client has given up, and with the last failure when ctx ends.
func (c *Client) Wait(ctx context.Context) error {
	conn, err := c.connected(ctx)
	if err == nil {
		conn.calls.Done()
	}
	return err
}

// Info is how the server introduced itself; nil while disconnected.
func (c *Client) Info() *mcp.InitializeResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return nil
	}
	return c.current.session.InitializeResult()
}

// Transport is what was agreed on; empty while disconnected.
func (c *Client) Transport() Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return ""
	}
	return c.current.transport
}

// Close ends the session, if there is one, and waits for everything that the
// client started. Calls that still run fail.
func (c *Client) Close() {
	c.cancel()
	<-c.done
}

// run holds a connection until ctx ends.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	var (
		attempt int
		ever    bool
	)
	for ctx.Err() == nil {
		conn, err := c.dial(ctx)
		began := time.Now()
		switch {
		case err == nil:
			ever = true
			err = c.hold(ctx, conn)
		case !ever && permanent(err):
			c.stop(err)
			return
		default:
			c.set(nil, err)
		}
		if ctx.Err() != nil {
			break
		}
		// A server that accepts and drops at once is no success.
		if conn != nil && time.Since(began) > c.options.Backoff.step(attempt) {
			attempt = 0
		}
		delay := c.options.Backoff.delay(attempt, after(err))
		attempt++
		c.events.put(Disconnected{At: now(), Err: err, RetryIn: delay})
		if wait(ctx, delay) != nil {
			break
		}
	}
	c.stop(nil)
}

// hold keeps a connection until it is lost, and gives the reason.
func (c *Client) hold(ctx context.Context, conn *connection) error {
	c.set(conn, nil)
	c.events.put(conn.connected(false))
	ended := make(chan error, 1)
	go func() { ended <- conn.session.Wait() }()
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-conn.link.lost:
		err = conn.link.cause
	case err = <-ended:
		err = conn.ended(err)
	}
	c.set(nil, err)
	c.retiring.Go(func() { conn.retire(ctx) })
	return err
}

// ended finds the best reason for the end of a session.
func (conn *connection) ended(err error) error {
	select {
	case <-conn.link.lost:
		return conn.link.cause
	default:
	}
	switch {
	case errors.Is(err, mcp.ErrSessionMissing):
		return errors.New("the server no longer knows the session")
	case conn.link.refusal.Load() != nil:
		return conn.link.refusal.Load()
	case err == nil:
		return errStreamEnded
	}
	return err
}

// connected is the event that announces conn.
func (conn *connection) connected(resumed bool) Connected {
	info := conn.session.InitializeResult()
	e := Connected{At: now(), Transport: conn.transport, ProtocolVersion: info.ProtocolVersion, Resumed: resumed}
	if info.ServerInfo != nil {
		e.Server, e.ServerVersion = info.ServerInfo.Name, info.ServerInfo.Version
	}
	return e
}

// interrupted reports that the stream of l broke and that l tries to resume it.
func (c *Client) interrupted(l *link, err error, retryIn time.Duration) {
	if conn := c.owner(l); conn != nil {
		c.events.put(Disconnected{At: now(), Err: err, RetryIn: retryIn})
	}
}

func (c *Client) resumed(l *link) {
	if conn := c.owner(l); conn != nil {
		c.events.put(conn.connected(true))
	}
}

// owner is the current connection if l is its link.
func (c *Client) owner(l *link) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.link != l {
		return nil
	}
	return c.current
}

// set changes the state and wakes whoever waits for it.
func (c *Client) set(conn *connection, failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.failure = conn, failure
	close(c.changed)
	c.changed = make(chan struct{})
}

// stop is the end of run.
func (c *Client) stop(err error) {
	c.mu.Lock()
	c.current, c.stopped, c.failure = nil, true, err
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	c.retiring.Wait()
	c.events.close(Closed{At: now(), Err: err})
}

// connected waits for a connection and reserves it; the caller ends the
// reservation with calls.Done unless there is an error.
func (c *Client) connected(ctx context.Context) (*connection, error) {
	for {
		c.mu.Lock()
		conn, failure, stopped, changed := c.current, c.failure, c.stopped, c.changed
		if conn != nil {
			conn.calls.Add(1)
		}
		c.mu.Unlock()
		switch {
		case conn != nil:
			return conn, nil
		case stopped && failure != nil:
			return nil, failure
		case stopped:
			return nil, ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if failure != nil {
				return nil, fmt.Errorf("not connected to %s: %w (last failure: %w)", c.options.URL, ctx.Err(), failure)
			}
			return nil, fmt.Errorf("not connected to %s: %w", c.options.URL, ctx.Err())
		}
	}
}

func logEvent(p *mcp.LoggingMessageParams) Log { //nolint:staticcheck // SA1019: deprecated in 2026-07-28 only.
	e := Log{At: now(), Level: string(p.Level), Logger: p.Logger}
	data, err := json.Marshal(p.Data)
	if err != nil {
		data = []byte("null") // It was JSON when it came, and is so again.
	}
	e.Data = data
	return e
}
