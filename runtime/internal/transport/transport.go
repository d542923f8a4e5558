// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package transport holds what the three transports of MCP over HTTP share:
// reading a body, refusing, and answering a POST. The packages below it each
// translate one wire to the engine's calls, and the engine's errors to statuses.
package transport

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// ListChanged is the dirty bit that says that the list of tools has changed.
const ListChanged uint32 = 1

// Settings are what a new configuration may change while streams are open. All
// values must be set; see the defaults of runtime/config.
type Settings struct {
	// Heartbeat is how long a stream may be quiet.
	Heartbeat time.Duration
	// WriteTimeout bounds one write of at most 64 KiB.
	WriteTimeout time.Duration
	// ReadTimeout bounds how long a client may take to send a body.
	ReadTimeout time.Duration
	// MaxRequestSize bounds a body in bytes.
	MaxRequestSize int64
	// CompressMinSize is the size in bytes from which JSON is compressed.
	CompressMinSize int
	// SSEMode is config.SSE's Mode.
	SSEMode string
}

// Streams reserves places for open streams, and admits sessions; *limit.Limiter
// is one. Its errors are *limit.Exceeded.
type Streams interface {
	Stream() (release func(), err error)
	Session() error
}

// Options are what a Core needs. The functions and the Observer may be nil.
type Options struct {
	Engine   *engine.Engine
	Sessions *session.Registry
	Streams  Streams
	Settings Settings
	Logger   *slog.Logger
	// Observer learns what streams do.
	Observer stream.Observer
	// Queued learns how many bytes outboxes take on, or let go (negative).
	Queued func(delta int)
	// Refused learns the code of each refusal, for metrics.
	Refused func(code string)
	// Budget bounds the bytes that are held in bodies and answers, and wait in
	// outboxes, in sum: beyond it bodies and streams are refused. Nil makes one of
	// DefaultBudget. See NewBudget.
	Budget *limit.Bytes
	// Host runs the long-lived streams; nil makes one whose streams are plain.
	Host *stream.Host
}

// Core is what the transports share. It is safe for concurrent use.
type Core struct {
	Engine   *engine.Engine
	Sessions *session.Registry
	Logger   *slog.Logger
	Observer stream.Observer

	host     *stream.Host
	streams  Streams
	queued   func(delta int)
	refused  func(code string)
	bytes    *limit.Bytes
	settings atomic.Pointer[Settings]
	parting  atomic.Bool
	leaving  atomic.Bool
	calls    sync.WaitGroup
	// admission is held for reading while a message is accepted; see Exclude.
	admission sync.RWMutex
}

// New makes a Core.
func New(o Options) *Core {
	c := &Core{
		Engine: o.Engine, Sessions: o.Sessions, Logger: o.Logger, Observer: o.Observer,
		host: o.Host, streams: o.Streams, refused: o.Refused,
		bytes: o.Budget,
	}
	if c.host == nil {
		c.host = stream.NewHost(stream.HostOptions{Plain: true})
	}
	if c.bytes == nil {
		c.bytes = NewBudget(0, o.Settings.MaxRequestSize)
	}
	c.queued = func(delta int) {
		c.bytes.Count(int64(delta))
		if o.Queued != nil {
			o.Queued(delta)
		}
	}
	if c.refused == nil {
		c.refused = func(string) {}
	}
	c.settings.Store(&o.Settings)
	return c
}

// Settings are those in force now.
func (c *Core) Settings() *Settings { return c.settings.Load() }

// Configure takes new settings. Open streams keep those they began with.
func (c *Core) Configure(s Settings) { c.settings.Store(&s) }

// Part asks clients to use other connections from now on: each answer ends its own.
// Everything is still served.
func (c *Core) Part() { c.parting.Store(true) }

// Parting reports whether Part or Leave was called.
func (c *Core) Parting() bool { return c.parting.Load() }

// Leave refuses new sessions and streams from now on: the replica drains.
func (c *Core) Leave() {
	c.parting.Store(true)
	c.leaving.Store(true)
	c.Sessions.Seal()
}

// Leaving reports whether Leave was called.
func (c *Core) Leaving() bool { return c.leaving.Load() }

// Go runs a call that outlives its request. Wait waits for it. See Outlive.
func (c *Core) Go(run func()) { c.calls.Go(run) }

// Wait waits for all calls that were started by Go.
func (c *Core) Wait() { c.calls.Wait() }

// OpenStream reserves a place for a stream, or refuses the request and returns
// false. What a peer forwards has its place there.
func (c *Core) OpenStream(w http.ResponseWriter, r *http.Request) (release func(), ok bool) {
	if c.Leaving() {
		c.RefuseLeaving(w, r)
		return nil, false
	}
	if IsForwarded(r.Context()) {
		return func() {}, true
	}
	if c.bytes.Full() {
		c.refuseBytes(w, r)
		return nil, false
	}
	release, err := c.streams.Stream()
	if err == nil {
		return release, true
	}
	c.refuseExceeded(w, r, err)
	return nil, false
}

// NewOutbox makes an outbox of the default size that is counted.
func (c *Core) NewOutbox() *stream.Outbox { return stream.NewOutbox(stream.DefaultLimit, c.queued) }

// StreamOptions are those for a stream of a transport that opens now.
func (c *Core) StreamOptions(transport string) stream.Options {
	s := c.Settings()
	return stream.Options{Transport: transport, Heartbeat: s.Heartbeat, WriteTimeout: s.WriteTimeout, Observer: c.Observer}
}

// ServeStream runs a long-lived stream; see stream.Host.
func (c *Core) ServeStream(w http.ResponseWriter, r *http.Request, out *stream.Outbox, o stream.Options, ended func(stream.CloseReason)) {
	c.host.Serve(w, r, out, o, ended)
}

// Event makes a stream's message of an engine's.
func Event(m engine.Message) stream.Message {
	kind := "notification"
	switch {
	case m.Response:
		kind = "response"
	case m.Fold != "":
		kind = "progress"
	}
	return stream.Message{Data: m.Data, Event: "message", Kind: kind, Group: m.Group, Urgent: m.Response, Fold: m.Fold}
}

// RenderLegacy makes the notifications of dirty bits for a session's stream.
func RenderLegacy(bits uint32) []stream.Message {
	if bits&ListChanged == 0 {
		return nil
	}
	return []stream.Message{{Data: engine.ListChanged(), Event: "message", Kind: "list_changed"}}
}

// SessionID is the session that a request names, each endpoint in its own way: in the
// header of Streamable HTTP, or for HTTP+SSE, which has no such header, in the query,
// or as the last event that a client saw which connects again; empty if it names none.
func SessionID(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/messages"):
		return QuerySession(r)
	case !strings.HasSuffix(r.URL.Path, "/sse"):
		return r.Header.Get("Mcp-Session-Id")
	case r.Method == http.MethodGet:
		return r.Header.Get("Last-Event-ID")
	default:
		return ""
	}
}

// QuerySession is the session that a request's query names, empty if it names
// none.
func QuerySession(r *http.Request) string {
	const name = "sessionId"
	if r.URL.RawQuery == "" {
		return ""
	}
	// What the endpoint event said needs no parser.
	if id, ok := strings.CutPrefix(r.URL.RawQuery, name+"="); ok && !strings.ContainsAny(id, "&;+%=") {
		return id
	}
	return r.URL.Query().Get(name)
}
