// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package streamable

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/keyring"
)

// A session may move after its request was found to belong here. It lives, so that
// nobody may be told to begin anew.
func TestASessionThatHasJustMovedIsNotUnknown(t *testing.T) {
	t.Parallel()
	sessions := session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), session.Options{Max: 2, IdleTimeout: time.Hour, MaxAge: time.Hour}, nil)
	moved, err := sessions.Create("", engine.EraStreamable, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	sessions.Moved(moved.Key(), netip.MustParseAddrPort("192.0.2.1:8082"))
	ended, err := sessions.Create("", engine.EraStreamable, &engine.Session{})
	if err != nil {
		t.Fatal(err)
	}
	ended.Close("")
	s := New(transport.New(transport.Options{Sessions: sessions}))
	for _, tt := range []struct {
		name, id, want string
		status         int
	}{
		{name: "moved", id: moved.ID(), status: http.StatusServiceUnavailable, want: "session_moves"},
		{name: "ended", id: ended.ID(), status: http.StatusNotFound, want: "unknown_session"},
	} {
		for method, serve := range map[string]http.HandlerFunc{
			http.MethodGet: s.Stream, http.MethodDelete: s.Delete,
			http.MethodPost: func(w http.ResponseWriter, r *http.Request) { s.Post(w, r, []byte(`{}`), func() {}) },
		} {
			w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, "/mcp", nil)
			r.Header.Set(sessionHeader, tt.id)
			serve(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%s %s: %d %s, want %d %s", method, tt.name, w.Code, w.Body, tt.status, tt.want)
			}
		}
	}
}
