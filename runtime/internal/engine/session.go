// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

// Session is the state of a legacy session. It is safe for concurrent use. The
// zero value is a session before initialize.
type Session struct{}

// Initialized reports whether initialize was accepted.
func (s *Session) Initialized() bool { return false }

// Version is the negotiated revision, empty before initialize.
func (s *Session) Version() string { return "" }

// Client is the client's self-reported name and version, each cut to 128 bytes.
func (s *Session) Client() (name, version string) { return "", "" }

// Running counts the requests that are accepted and not yet answered.
func (s *Session) Running() int { return 0 }

// CancelAll cancels every running request, which then gets no response. The
// reason becomes the cause of the tools' contexts.
func (s *Session) CancelAll(reason string) {}

// ListChanged is the legacy notifications/tools/list_changed.
func ListChanged() []byte {
	return []byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
}
