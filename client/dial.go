// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The revisions of MCP that decide what a connection is.
const (
	versionStateless  = "2026-07-28"
	versionStreamable = "2025-11-25"
	versionSSE        = "2024-11-05"
)

// connectTimeout bounds one attempt to connect, the handshake of MCP included.
const connectTimeout = 30 * time.Second

var logLevels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// connection is one SDK session and the link under it.
type connection struct {
	link      *link
	session   *mcp.ClientSession
	transport Transport
	life      context.Context    //nolint:containedctx // It is the connection's own end, which its calls must see.
	cancel    context.CancelFunc // ends life

	handled  atomic.Int64   // progress messages that were dispatched
	progress sync.Map       // progress token -> func(Progress)
	signal   chan struct{}  // gets a value after a progress message was handled
	calls    sync.WaitGroup // calls that run on this connection
}

// dial connects once, by each of the ways that the options allow.
func (c *Client) dial(ctx context.Context) (*connection, error) {
	if c.options.Transport != Auto {
		return c.dialBy(ctx, c.options.Transport)
	}
	conn, err := c.dialBy(ctx, Auto)
	if err == nil || !mayBeSSE(err) {
		return conn, err
	}
	// MCP 2025-11-25, "Backwards Compatibility": a server that refuses the
	// handshake by 400, 404 or 405 may be one of HTTP+SSE.
	sse, sseErr := c.dialBy(ctx, SSE)
	if sseErr == nil {
		return sse, nil
	}
	return nil, err
}

func mayBeSSE(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}, status.Status)
}

// dialBy connects by one way; Auto leaves the choice between the eras of
// Streamable HTTP to the SDK.
func (c *Client) dialBy(ctx context.Context, by Transport) (*connection, error) {
	l, err := newLink(&c.options, by)
	if err != nil {
		return nil, err
	}
	l.interrupted = func(err error, retryIn time.Duration) { c.interrupted(l, err, retryIn) }
	l.resumed = func() { c.resumed(l) }

	// The stream of HTTP+SSE lives as long as the context that it was opened
	// with: the deadline of the attempt must not end it later.
	life, cancel := context.WithCancel(ctx)
	deadline := time.AfterFunc(connectTimeout, cancel)
	conn := &connection{link: l, life: life, cancel: cancel, signal: make(chan struct{}, 1)}
	err = c.handshake(life, conn, by)
	if !deadline.Stop() && err == nil {
		err = fmt.Errorf("the server did not answer within %s", connectTimeout)
	}
	if err == nil {
		return conn, nil
	}
	l.ending.Store(true)
	if conn.session != nil {
		_ = conn.session.Close()
	}
	cancel()
	switch status := l.refusal.Load(); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case life.Err() != nil && errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("the server did not answer within %s", connectTimeout)
	case status != nil && !errors.Is(err, ErrEra):
		return nil, status
	}
	return nil, err
}

// handshake fills in the session.
func (c *Client) handshake(ctx context.Context, conn *connection, by Transport) error {
	version := versionStateless
	var transport mcp.Transport = &mcp.StreamableClientTransport{
		Endpoint: c.options.URL, HTTPClient: conn.link.client(),
		// The link itself decides for how long a stream is resumed.
		MaxRetries: math.MaxInt32,
	}
	switch by {
	case SSE:
		version = versionSSE
		transport = &mcp.SSEClientTransport{Endpoint: c.options.URL, HTTPClient: conn.link.client()}
	case Streamable:
		version = versionStreamable
	case Auto, Stateless:
	}
	session, err := c.sdk(conn).Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return err
	}
	conn.session = session
	conn.link.refusal.Store(nil)
	conn.transport = by
	got := session.InitializeResult().ProtocolVersion
	if by == Auto || by == Stateless {
		conn.transport = Streamable
		if got >= versionStateless {
			conn.transport = Stateless
		}
	}
	if by == Stateless && conn.transport != Stateless {
		return fmt.Errorf("%w: it offers MCP %s, stateless needs %s", ErrEra, got, versionStateless)
	}
	if c.options.LogLevel != "" && conn.transport != Stateless && session.InitializeResult().Capabilities.Logging != nil { //nolint:staticcheck // SA1019: deprecated in 2026-07-28 only, and this is for what came before.
		level := &mcp.SetLoggingLevelParams{Level: mcp.LoggingLevel(c.options.LogLevel)} //nolint:staticcheck // SA1019: as above.
		if err := session.SetLoggingLevel(ctx, level); err != nil {                      //nolint:staticcheck // SA1019: as above.
			return fmt.Errorf("failed to set the log level: %w", err)
		}
	}
	return nil
}

// sdk gives the SDK's client, whose handlers report to c and conn.
func (c *Client) sdk(conn *connection) *mcp.Client {
	return mcp.NewClient(&mcp.Implementation{Name: c.options.Name, Version: c.options.Version}, &mcp.ClientOptions{
		Logger:       c.options.Logger,
		Capabilities: &mcp.ClientCapabilities{},
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) {
			c.events.put(ToolsChanged{At: now()})
		},
		LoggingMessageHandler: func(_ context.Context, r *mcp.LoggingMessageRequest) { //nolint:staticcheck // SA1019: servers still send logs.
			c.events.put(logEvent(r.Params))
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			conn.dispatch(r.Params)
		},
	})
}

// dispatch gives a progress message to its call.
func (conn *connection) dispatch(p *mcp.ProgressNotificationParams) {
	if f, ok := conn.progress.Load(p.ProgressToken); ok {
		f.(func(Progress))(Progress{At: now(), Progress: p.Progress, Total: p.Total, Message: p.Message})
	}
	conn.handled.Add(1)
	select {
	case conn.signal <- struct{}{}:
	default:
	}
}

// settle waits until every progress message that arrived was dispatched: the
// SDK does that on a goroutine of its own, which may lag behind the answer.
func (conn *connection) settle() {
	const most = 250 * time.Millisecond
	arrived := conn.link.seen.Load()
	timer := time.NewTimer(most)
	defer timer.Stop()
	for conn.handled.Load() < arrived {
		select {
		case <-conn.signal:
		case <-timer.C:
			// A tool's own text held the mark; do not wait for it again.
			conn.handled.Store(arrived)
			return
		}
	}
}

// retire closes the connection once its running calls have ended, or at once
// when ctx ends.
func (conn *connection) retire(ctx context.Context) {
	idle := make(chan struct{})
	go func() {
		conn.calls.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	conn.link.ending.Store(true)
	// Cancelled calls tell the server; closing then ends its session.
	conn.cancel()
	<-idle
	_ = conn.session.Close()
}
