// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import "context"

// Stuck are clients that call a tool and never read what it sends.
type Stuck struct{ sessions []*session }

// Stick opens n of them, half over each transport that has sessions.
func Stick(ctx context.Context, server Server, tool Tool, n int) (*Stuck, error) {
	stuck := &Stuck{}
	for id := range n {
		kind := []Kind{SSE, Session}[id%2]
		s, err := openNarrow(ctx, server.at(kind), kind)
		stuck.sessions = append(stuck.sessions, s)
		if err == nil {
			err = s.ask(tool.message(kind, id))
		}
		if err != nil {
			stuck.Close()
			return nil, err
		}
	}
	return stuck, nil
}

// ask sends a call. What is left open is what is sent to without end.
func (s *session) ask(message string) error {
	if s.kind != SSE {
		return s.posts.Request(s.path, s.header, []byte(message))
	}
	if _, _, err := s.send(message); err != nil {
		return err
	}
	return s.posts.Close()
}

// Close ends their connections.
func (s *Stuck) Close() { closeAll(s.sessions, true) }
