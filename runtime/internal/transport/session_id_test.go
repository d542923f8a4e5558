// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Each endpoint has its own way to name a session, and takes no notice of the others':
// a request would be sent to another session's owner.
func TestSessionID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, method, target, want string }{
		{name: "a message", method: http.MethodPost, target: "/mcp?sessionId=query", want: "header"},
		{name: "a stream", method: http.MethodGet, target: "/mcp", want: "header"},
		{name: "below a prefix", method: http.MethodDelete, target: "/orders/mcp", want: "header"},
		{name: "a stream of HTTP+SSE", method: http.MethodGet, target: "/sse?sessionId=query", want: "event"},
		{name: "a stream of HTTP+SSE below a prefix", method: http.MethodGet, target: "/orders/sse", want: "event"},
		{name: "no stream of HTTP+SSE", method: http.MethodPost, target: "/sse?sessionId=query"},
		{name: "a message of HTTP+SSE", method: http.MethodPost, target: "/messages?sessionId=query", want: "query"},
		{name: "a message of HTTP+SSE that names none", method: http.MethodPost, target: "/orders/messages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.target, nil)
			r.Header.Set("Mcp-Session-Id", "header")
			r.Header.Set("Last-Event-Id", "event")
			if got := SessionID(r); got != tt.want {
				t.Errorf("SessionID = %q, want %q", got, tt.want)
			}
		})
	}
}
