// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package load drives an MCP server as many clients would, and measures what
// that costs the server.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/wire"
)

// Revisions of the protocol: of sessions, and of the era without them.
const (
	legacy = "2025-06-18"
	modern = "2026-07-28"
)

const (
	initialize  = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + legacy + `","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

// Kind is the transport of a session, and what of it stays open.
type Kind string

const (
	// SSE is a session of HTTP+SSE (2024-11-05) with its stream.
	SSE Kind = "sse"
	// Stream is a session of Streamable HTTP with an open GET stream.
	Stream Kind = "stream"
	// Session is a session of Streamable HTTP without a stream.
	Session Kind = "session"
	// Stateless is a client of the era without sessions (2026-07-28).
	Stateless Kind = "stateless"
)

// Server is where a server of the benchmark listens.
type Server struct {
	Addr string
	// Callee is another replica, to which calls go once the session is open;
	// empty means Addr.
	Callee string
	// Key is an API key that the server accepts.
	Key string
	// Path is that of the transport under test.
	Path string
	// Sample tells what the server has used; with collect after it gave all free
	// memory back.
	Sample func(ctx context.Context, collect bool) (door.Sample, error)
	// Change changes a tool of the server.
	Change func(ctx context.Context) error
}

// session is one client.
type session struct {
	server Server
	kind   Kind
	// posts carries the messages of the client; it may be shared.
	posts *wire.Conn
	// events is the open stream; nil without one.
	events *wire.Stream
	// path and header say where messages go.
	path   string
	header wire.Header
	body   []byte
	// ending says that the server closes the connection of the messages.
	ending bool
	// dial opens its connections.
	dial func(ctx context.Context, addr, key string) (*wire.Conn, error)
}

// open brings a session up. Its messages go through posts, or through a
// connection of its own if that is nil.
func open(ctx context.Context, server Server, kind Kind, posts *wire.Conn) (*session, error) {
	s := &session{server: server, kind: kind, posts: posts, path: server.Path, dial: wire.Dial}
	err := s.open(ctx)
	return s, err
}

// openNarrow is open for a client that will not read.
func openNarrow(ctx context.Context, server Server, kind Kind) (*session, error) {
	s := &session{server: server, kind: kind, path: server.Path, dial: wire.DialNarrow}
	err := s.open(ctx)
	return s, err
}

func (s *session) open(ctx context.Context) error {
	if s.posts == nil {
		var err error
		if s.posts, err = s.dial(ctx, s.server.Addr, s.server.Key); err != nil {
			return err
		}
	}
	var err error
	switch s.kind {
	case SSE:
		err = s.openSSE(ctx)
	case Stateless:
	default:
		err = s.openSession()
	}
	if err == nil && s.kind == Stream {
		s.events, err = s.get(ctx)
	}
	return err
}

func (s *session) openSession() error {
	head, _, err := s.send(initialize)
	if err != nil {
		return err
	}
	s.header = wire.Line("Mcp-Session-Id", head.Session) + wire.Line("MCP-Protocol-Version", legacy)
	_, _, err = s.send(initialized)
	return err
}

func (s *session) openSSE(ctx context.Context) error {
	events, err := s.get(ctx)
	if err != nil {
		return err
	}
	s.events = events
	endpoint, err := events.Next()
	if err != nil {
		return fmt.Errorf("failed to read the endpoint: %w", err)
	}
	// It may be relative to the stream's own URL, or absolute.
	reference, err := (&url.URL{Path: s.path}).Parse(string(endpoint))
	if err != nil {
		return fmt.Errorf("failed to read the endpoint: %w", err)
	}
	s.path = reference.RequestURI()
	if _, _, err := s.send(initialize); err != nil {
		return err
	}
	if _, err := events.Next(); err != nil {
		return fmt.Errorf("failed to read the answer of initialize: %w", err)
	}
	_, _, err = s.send(initialized)
	return err
}

func (s *session) get(ctx context.Context) (*wire.Stream, error) {
	c, err := s.dial(ctx, s.server.Addr, s.server.Key)
	if err != nil {
		return nil, err
	}
	return c.Get(s.server.Path, s.header)
}

// send posts a message; an answer that is no success is an error.
func (s *session) send(message string) (wire.Head, []byte, error) {
	head, body, err := s.posts.Post(s.path, s.header, []byte(message), s.body)
	s.body = body
	if err != nil {
		err = fmt.Errorf("failed to post to %q: %w", s.path, err)
	}
	if err == nil && head.Status/100 != 2 {
		err = &wire.RefusedError{Status: head.Status, Body: string(body)}
	}
	s.ending = head.Close
	return head, body, err
}

// close ends the connections without a word, as most clients do.
func (s *session) close(own bool) error {
	var errs []error
	if s.events != nil {
		errs = append(errs, s.events.Abandon())
	}
	if own && s.posts != nil {
		errs = append(errs, s.posts.Abandon())
	}
	return errors.Join(errs...)
}

// Tool is what a caller calls.
type Tool struct {
	Name, Arguments string
}

// message is the call of a tool with a progress token.
func (t Tool) message(kind Kind, id int) string {
	meta := fmt.Sprintf(`"progressToken":%d`, id)
	if kind == Stateless {
		meta += `,"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":{},` +
			`"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}`
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{%s}}}`, id, t.Name, t.Arguments, meta)
}

// header is what calls of the tool need.
func (t Tool) header(kind Kind) wire.Header {
	if kind != Stateless {
		return ""
	}
	return wire.Line("MCP-Protocol-Version", modern) + wire.Line("Mcp-Method", "tools/call") + wire.Line("Mcp-Name", t.Name)
}
