// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"fairlead.dev/fairlead/test/e2e/record"
)

// streamableWire speaks Streamable HTTP of 2025-11-25 and resumes both its
// stream and the answers to its calls.
type streamableWire struct {
	g *Goer

	mu      sync.Mutex // guards session; held while one is opened
	session string
}

func (s *streamableWire) header(session string) map[string]string {
	return map[string]string{"Mcp-Session-Id": session, "Mcp-Protocol-Version": streamableVersion}
}

// current returns the session, and opens one if there is none.
func (s *streamableWire) current(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != "" {
		return s.session, nil
	}
	_, header, err := s.g.Target.exchange(ctx, initialize(streamableVersion), "0", nil)
	if err != nil {
		return "", err
	}
	session := header.Get("Mcp-Session-Id")
	response, err := s.g.Target.open(ctx, http.MethodPost, s.g.Target.Base+"/mcp",
		request("", "notifications/initialized", map[string]any{}), s.header(session))
	if err != nil {
		return "", err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	response.Body.Close()
	// One that could not be introduced is no session that anybody used.
	s.g.note(record.Event{What: record.Session, Session: record.ShortSession(session)})
	s.session = session
	return session, nil
}

// gone forgets a session that the server does not know any more.
func (s *streamableWire) gone(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == session {
		s.session = ""
	}
}

func (s *streamableWire) ready(ctx context.Context) (string, error) {
	for {
		session, err := s.current(ctx)
		if err == nil {
			return record.ShortSession(session), nil
		}
		rest(ctx, waitAfter(err))
		if ctx.Err() != nil {
			return "", err
		}
	}
}

func (s *streamableWire) stream(ctx context.Context) {
	session, lastID := "", ""
	for ctx.Err() == nil {
		now, err := s.current(ctx)
		if err != nil {
			rest(ctx, waitAfter(err))
			continue
		}
		if now != session {
			session, lastID = now, ""
		}
		var events *events
		events, err = s.follow(ctx, session, lastID, "main", s.unasked)
		switch {
		case err == nil || errors.Is(err, io.EOF):
			lastID = events.lastID
			rest(ctx, max(events.retry, shortWait))
		case is(err, http.StatusNotFound):
			s.gone(session)
		default:
			if is(err, http.StatusMethodNotAllowed) {
				lastID = ""
			}
			rest(ctx, waitAfter(err))
		}
	}
}

// unasked notes what is no business of the client's own stream: an answer.
func (s *streamableWire) unasked(m message) bool {
	if m.Method == "" && len(m.ID) > 0 {
		s.g.answered(strings.Trim(string(m.ID), `"`), m)
	}
	return false
}

// follow opens a stream, resumed if there is an id, and passes messages on until
// take has what it wants or the stream ends.
func (s *streamableWire) follow(ctx context.Context, session, lastID, name string, take func(message) bool) (*events, error) {
	header := s.header(session)
	header["Accept"] = "text/event-stream"
	if lastID != "" {
		header["Last-Event-ID"] = lastID
	}
	response, err := s.g.Target.open(ctx, http.MethodGet, s.g.Target.Base+"/mcp", nil, header)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	s.g.note(record.Event{What: record.Open, Stream: name, Session: record.ShortSession(session)})
	stream := newEvents(response.Body)
	stream.lastID = lastID
	return stream, s.take(ctx, stream, session, name, take)
}

// take reads a stream until it has what is wanted; its end comes as an error.
func (s *streamableWire) take(ctx context.Context, stream *events, session, name string, take func(message) bool) error {
	for {
		got, err := stream.next()
		if err != nil {
			s.g.cut(ctx, name, record.ShortSession(session), err)
			return io.EOF // However it ended, it may be resumed.
		}
		if m, ok := decode(got.data); ok && take(m) {
			return nil
		}
	}
}

func (s *streamableWire) call(ctx context.Context, id string, params map[string]any) (message, error) {
	session, err := s.current(ctx)
	if err != nil {
		return message{}, err
	}
	response, err := s.g.Target.open(ctx, http.MethodPost, s.g.Target.Base+"/mcp", request(`"`+id+`"`, "tools/call", params), s.header(session))
	if err != nil {
		if is(err, http.StatusNotFound) {
			s.gone(session)
		}
		return message{}, err
	}
	defer response.Body.Close()
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "text/event-stream" {
		data, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
		if err != nil {
			return message{}, &lostError{err}
		}
		m, ok := decode(data)
		if !ok {
			return message{}, &lostError{errors.New("the answer is no message")}
		}
		return m, nil
	}
	return s.await(ctx, newEvents(response.Body), session, id)
}

// await reads the answer from an event stream, and resumes it if it is cut.
func (s *streamableWire) await(ctx context.Context, stream *events, session, id string) (message, error) {
	var answer message
	name := "answer to " + id
	wanted := func(m message) bool {
		if m.Method != "" || string(m.ID) != `"`+id+`"` {
			return false
		}
		answer = m
		return true
	}
	err := s.take(ctx, stream, session, name, wanted)
	for err != nil {
		if stream.lastID == "" {
			return message{}, &lostError{errors.New("the answer's stream ended and has no id to resume from")}
		}
		rest(ctx, max(stream.retry, shortWait))
		if ctx.Err() != nil {
			return message{}, &lostError{ctx.Err()}
		}
		var resumed *events
		resumed, err = s.follow(ctx, session, stream.lastID, name, wanted)
		switch {
		case resumed != nil:
			stream = resumed
		case is(err, http.StatusNotFound):
			s.gone(session)
			return message{}, &lostError{err}
		case is(err, http.StatusMethodNotAllowed):
			return message{}, &lostError{err}
		default:
			rest(ctx, waitAfter(err))
		}
	}
	return answer, nil
}
