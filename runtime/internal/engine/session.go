// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// maxClientText bounds each part of a client's self-description in bytes.
const maxClientText = 128

// Session is the state of a legacy session. It is safe for concurrent use. The
// zero value is a session before initialize.
type Session struct {
	mu            sync.Mutex
	version       string
	clientName    string
	clientVersion string
	level         level
	count         int
	// assumed is a version that initialize may still replace; see Continue.
	assumed bool
	// ended refuses requests that were on their way when CancelAll came.
	ended bool
	// running is a list through the calls themselves, so that an idle session
	// holds nothing and a call allocates nothing.
	running *Call
}

// Initialized reports whether initialize was accepted.
func (s *Session) Initialized() bool { return s.Version() != "" }

// Version is the negotiated revision, empty before initialize.
func (s *Session) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Client is the client's self-reported name and version, each cut to 128 bytes.
func (s *Session) Client() (name, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clientName, s.clientVersion
}

// Running counts the requests that are accepted and not yet answered.
func (s *Session) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// End cancels every running request, which then gets no response, and refuses
// all that come later. The reason becomes the cause of the tools' contexts.
func (s *Session) End(reason string) {
	cause := errors.New(reason)
	s.mu.Lock()
	s.ended = true
	calls := make([]*Call, 0, s.count)
	for c := s.running; c != nil; c = c.next {
		calls = append(calls, c)
	}
	s.mu.Unlock()
	for _, c := range calls {
		c.cancelWith(cause)
	}
}

// SessionState is what a session's next replica must know of it.
type SessionState struct {
	// Version is the negotiated revision, empty before initialize.
	Version string `json:"version,omitempty"`
	// ClientName and ClientVersion are the client's own, at most 128 bytes each.
	ClientName    string `json:"clientName,omitempty"`
	ClientVersion string `json:"clientVersion,omitempty"`
	// Level is the lowest level of logs that the client asked for, zero for none.
	Level uint8 `json:"level,omitempty"`
}

// Export gives the state to hand over. Running requests are no part of it.
func (s *Session) Export() SessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SessionState{Version: s.version, ClientName: s.clientName, ClientVersion: s.clientVersion, Level: uint8(s.level)}
}

// Restore makes a session of what another replica exported. It refuses revisions
// that have no sessions, and levels that do not exist.
func Restore(from SessionState) (*Session, error) {
	if from.Version != "" && !LegacyVersion(from.Version) {
		return nil, fmt.Errorf("revision %q has no sessions", from.Version)
	}
	if from.Level > uint8(levelEmergency) {
		return nil, fmt.Errorf("there is no log level %d", from.Level)
	}
	return &Session{
		version: from.Version, clientName: clip(from.ClientName), clientVersion: clip(from.ClientVersion), level: level(from.Level),
	}, nil
}

// Continue makes a session of a client that has lost one and goes on without
// initialize, at the revision that it says it had negotiated. It may initialize
// nevertheless, as it must if the revision is none that has sessions.
func Continue(version string) *Session {
	if !LegacyVersion(version) {
		return &Session{}
	}
	return &Session{version: negotiate(version), assumed: true}
}

// initialized reports whether initialize has come, once.
func (s *Session) initialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version != "" && !s.assumed
}

// open takes initialize's outcome, once.
func (s *Session) open(version, clientName, clientVersion string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version != "" && !s.assumed {
		return false
	}
	s.version, s.assumed = version, false
	s.clientName = clip(clientName)
	s.clientVersion = clip(clientVersion)
	return true
}

// setLevel takes the level of logging/setLevel.
func (s *Session) setLevel(l level) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = l
}

// logLevel is the lowest level that is sent. Until the client sets one, the
// server may choose (2025-11-25 server/utilities/logging): it is info.
func (s *Session) logLevel() level {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.level == 0 {
		return levelInfo
	}
	return s.level
}

// begin adds a request, unless one with its id is running or the session has
// ended.
func (s *Session) begin(c *Call) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return refuse(KindInvalidRequest, c.id, "invalid request: the session has ended")
	}
	for other := s.running; other != nil; other = other.next {
		if sameID(other.id, c.id) {
			return refuse(KindInvalidRequest, c.id, "invalid request: a request with this id is still running")
		}
	}
	c.next = s.running
	if c.next != nil {
		c.next.prev = c
	}
	s.running = c
	s.count++
	return nil
}

// end removes a request that began.
func (s *Session) end(c *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	default:
		s.running = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	s.count--
}

// cancel cancels the request with an id, if it is running.
func (s *Session) cancel(id []byte) {
	s.mu.Lock()
	c := s.running
	for c != nil && !sameID(c.id, id) {
		c = c.next
	}
	s.mu.Unlock()
	if c != nil {
		c.cancelWith(errCancelled)
	}
}

// clip cuts text to maxClientText bytes at a character.
func clip(s string) string {
	if len(s) <= maxClientText {
		return s
	}
	end := maxClientText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// ListChanged is the legacy notifications/tools/list_changed.
func ListChanged() []byte {
	return []byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
}
