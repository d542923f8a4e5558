// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	legacyVersion     = "2024-11-05"
	streamableVersion = "2025-11-25"
	modernVersion     = "2026-07-28"
)

// errCut is the end of a session's stream.
var errCut = errors.New("the stream ended")

// session is one MCP session with an open stream.
type session struct {
	target    Target
	kind      Kind
	notified  func(method string, at time.Time)
	messages  string            // where an SSE session posts
	header    map[string]string // of every request of a Streamable session
	stop      context.CancelFunc
	ended     chan struct{} // closed when the stream has ended, after cause is set
	cause     error
	mu        sync.Mutex
	next      int
	answering map[string]chan message // by request id; SSE only
}

// dial opens a session of a kind, with its stream, and initializes it. The
// session ends with ctx or by close. notified runs for each notification, in
// order, and must not block.
func (t Target) dial(ctx context.Context, kind Kind, notified func(method string, at time.Time)) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{
		target: t, kind: kind, notified: notified, stop: cancel,
		ended: make(chan struct{}), answering: map[string]chan message{},
	}
	var err error
	if kind == SSE {
		err = s.dialSSE(ctx)
	} else {
		err = s.dialStreamable(ctx)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

func (s *session) dialSSE(ctx context.Context) error {
	response, err := s.target.open(ctx, http.MethodGet, s.target.Base+"/sse", nil, map[string]string{"Accept": "text/event-stream"})
	if err != nil {
		return err
	}
	stream := newEvents(response.Body)
	first, err := stream.next()
	if err == nil {
		s.messages, err = s.target.endpoint(first)
	}
	if err != nil {
		response.Body.Close()
		return &lostError{err}
	}
	go s.read(response.Body, stream)
	if _, err := s.ask(ctx, initialize(legacyVersion), "0"); err != nil {
		return err
	}
	return s.tell(ctx, request("", "notifications/initialized", map[string]any{}))
}

func (s *session) dialStreamable(ctx context.Context) error {
	_, header, err := s.target.exchange(ctx, initialize(streamableVersion), "0", nil)
	if err != nil {
		return err
	}
	s.header = map[string]string{"Mcp-Session-Id": header.Get("Mcp-Session-Id"), "Mcp-Protocol-Version": streamableVersion}
	if err := s.tell(ctx, request("", "notifications/initialized", map[string]any{})); err != nil {
		return err
	}
	if s.notified == nil {
		return nil // Whoever only calls needs no stream.
	}
	response, err := s.target.open(ctx, http.MethodGet, s.target.Base+"/mcp", nil, s.header) //nolint:bodyclose // read closes it
	if err != nil {
		return err
	}
	go s.read(response.Body, newEvents(response.Body))
	return nil
}

// read passes on what the stream brings, until it ends.
func (s *session) read(body io.Closer, stream *events) {
	defer body.Close()
	defer close(s.ended)
	for {
		got, err := stream.next()
		if err != nil {
			s.cause = fmt.Errorf("%w: %w", errCut, err)
			return
		}
		m, ok := decode(got.data)
		if !ok {
			continue
		}
		if m.Method != "" {
			if s.notified != nil {
				s.notified(m.Method, time.Now())
			}
			continue
		}
		s.mu.Lock()
		waiting := s.answering[string(m.ID)]
		delete(s.answering, string(m.ID))
		s.mu.Unlock()
		if waiting != nil {
			waiting <- m
		}
	}
}

// id returns an id that the session has not used.
func (s *session) id() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return strconv.Itoa(s.next)
}

// ask sends a request and waits for its answer. A request that an SSE session
// took with 202 and does not answer before its stream ends is lost.
func (s *session) ask(ctx context.Context, body []byte, id string) (message, error) {
	if s.kind != SSE {
		m, _, err := s.target.exchange(ctx, body, id, s.header)
		return m, err
	}
	answer := make(chan message, 1)
	s.mu.Lock()
	s.answering[id] = answer
	s.mu.Unlock()
	if err := s.tell(ctx, body); err != nil {
		return message{}, err
	}
	select {
	case m := <-answer:
		return m, nil
	case <-s.ended:
		select {
		case m := <-answer: // It came just before the end.
			return m, nil
		default:
			return message{}, &lostError{s.cause}
		}
	case <-ctx.Done():
		return message{}, &lostError{ctx.Err()}
	}
}

// tell sends a message that is not answered in its own response.
func (s *session) tell(ctx context.Context, body []byte) error {
	address := s.messages
	if s.kind != SSE {
		address = s.target.Base + "/mcp"
	}
	response, err := s.target.open(ctx, http.MethodPost, address, body, s.header)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	return response.Body.Close()
}

// close ends the stream and waits for it.
func (s *session) close() {
	s.stop()
	if s.messages != "" || s.notified != nil {
		<-s.ended
	}
}
