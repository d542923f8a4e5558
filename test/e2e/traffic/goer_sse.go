// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"fairlead.dev/fairlead/test/e2e/record"
)

// sseWire speaks HTTP+SSE. Its stream is its session: after a cut it asks for
// the same session with Last-Event-ID, and takes a new one if it is given one.
type sseWire struct {
	g *Goer

	mu        sync.Mutex // guards all below
	session   string
	known     bool   // the server has initialized the session
	messages  string // where to post; empty without a usable session
	lastID    string
	close     context.CancelFunc      // of the stream
	answering map[string]chan message // closed when the answer cannot come
	changed   chan struct{}           // closed and replaced when messages changes
}

func (s *sseWire) stream(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.connect(ctx)
		rest(ctx, waitAfter(err))
	}
}

// connect opens the stream and reads it to its end.
func (s *sseWire) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := map[string]string{"Accept": "text/event-stream"}
	s.mu.Lock()
	if s.lastID != "" {
		header["Last-Event-ID"] = s.lastID
	}
	s.mu.Unlock()
	response, err := s.g.Target.open(ctx, http.MethodGet, s.g.Target.Base+"/sse", nil, header)
	if err != nil {
		if is(err, http.StatusNotFound) {
			s.begin("", "", "", nil)
		}
		return err
	}
	defer response.Body.Close()
	stream := newEvents(response.Body)
	first, err := stream.next()
	var messages string
	if err == nil {
		messages, err = s.g.Target.endpoint(first)
	}
	if err != nil {
		return &lostError{err}
	}
	address, err := url.Parse(messages)
	if err != nil {
		return err
	}
	session := record.ShortSession(address.Query().Get("sessionId"))
	s.g.note(record.Event{What: record.Open, Stream: "main", Session: session})
	var introducing sync.WaitGroup
	defer introducing.Wait()
	if s.begin(session, messages, stream.lastID, cancel) {
		introducing.Go(func() { s.introduce(ctx, session, messages) })
	}
	err = s.read(stream)
	s.g.cut(ctx, "main", session, err)
	s.pause()
	return nil
}

// begin takes over a session; an empty one forgets the last. It says whether the
// session must be initialized; one that goes on is usable at once.
func (s *sseWire) begin(session, messages, lastID string, closeStream context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID, s.close = lastID, closeStream
	if session != "" && session == s.session && s.known {
		s.usable(messages)
		return false
	}
	s.session, s.known = session, false
	for id, waiting := range s.answering {
		close(waiting)
		delete(s.answering, id)
	}
	return session != ""
}

// usable says where to post; the lock is held.
func (s *sseWire) usable(messages string) {
	s.messages = messages
	close(s.changed)
	s.changed = make(chan struct{})
}

// pause lets calls wait until the stream is open again.
func (s *sseWire) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usable("")
}

// anew ends the stream without its last event's id: the session is gone.
func (s *sseWire) anew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID = ""
	if s.close != nil {
		s.close()
	}
}

// introduce initializes a new session; if that fails the stream is opened again.
func (s *sseWire) introduce(ctx context.Context, session, messages string) {
	_, err := s.exchange(ctx, messages, "initialize "+session, strings.NewReplacer(`"id":0`, `"id":"initialize `+session+`"`).Replace(string(initialize(legacyVersion))))
	if err == nil {
		err = s.post(ctx, messages, string(request("", "notifications/initialized", map[string]any{})))
	}
	if err != nil {
		s.anew()
		return
	}
	s.g.note(record.Event{What: record.Session, Session: session})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == session {
		s.known = true
		s.usable(messages)
	}
}

// read takes messages to whoever waits for them, until the stream ends.
func (s *sseWire) read(stream *events) error {
	for {
		got, err := stream.next()
		if err != nil {
			return err
		}
		m, ok := decode(got.data)
		s.mu.Lock()
		if stream.lastID != "" {
			s.lastID = stream.lastID
		}
		id := strings.Trim(string(m.ID), `"`)
		waiting := s.answering[id]
		delete(s.answering, id)
		s.mu.Unlock()
		switch {
		case !ok || m.Method != "" || id == "":
		case waiting != nil:
			waiting <- m
		case !strings.HasPrefix(id, "initialize"):
			s.g.answered(id, m) // Nobody waits: it came twice, or too late.
		}
	}
}

func (s *sseWire) ready(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		session, messages, changed := s.session, s.messages, s.changed
		s.mu.Unlock()
		if messages != "" {
			return session, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", errors.New("there is no session")
		}
	}
}

func (s *sseWire) call(ctx context.Context, id string, params map[string]any) (message, error) {
	s.mu.Lock()
	session, messages := s.session, s.messages
	s.mu.Unlock()
	if messages == "" {
		return message{}, errors.New("the stream has just ended")
	}
	m, err := s.exchange(ctx, messages, id, string(request(`"`+id+`"`, "tools/call", params)))
	switch {
	case is(err, http.StatusNotFound):
		s.anew()
	case err == nil && m.Error != nil && strings.Contains(m.Error.Message, "initialize"):
		// It is no answer to the call: the server says that it does not know the client.
		s.g.note(record.Event{What: record.Told, Session: session, Why: m.Error.Message})
		s.anew()
		return message{}, &refusal{status: http.StatusConflict, body: m.Error.Message}
	}
	return m, err
}

// exchange posts a request and waits for its answer on the stream.
func (s *sseWire) exchange(ctx context.Context, messages, id, body string) (message, error) {
	answer := make(chan message, 1)
	s.mu.Lock()
	s.answering[id] = answer
	s.mu.Unlock()
	if err := s.post(ctx, messages, body); err != nil {
		s.mu.Lock()
		delete(s.answering, id)
		s.mu.Unlock()
		// What cannot be known may still have been answered.
		select {
		case m, ok := <-answer:
			if ok {
				return m, nil
			}
		default:
		}
		return message{}, err
	}
	select {
	case m, ok := <-answer:
		if !ok {
			return message{}, &lostError{errors.New("the session was replaced")}
		}
		return m, nil
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.answering, id)
		s.mu.Unlock()
		return message{}, &lostError{ctx.Err()}
	}
}

func (s *sseWire) post(ctx context.Context, messages, body string) error {
	response, err := s.g.Target.open(ctx, http.MethodPost, messages, []byte(body), nil)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	return response.Body.Close()
}
