// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/httpserver"
)

// everyFace is a request to each endpoint and method that a browser could send.
func everyFace() []request {
	return []request{
		{path: "/sse"},
		{path: "/mcp"},
		{path: "/mcp", method: http.MethodDelete},
		{path: "/mcp", body: initialize("2025-11-25")},
		modernCall("echo", "{}"),
		{path: "/messages?sessionId=x", body: initialized},
		{path: "/nowhere"},
		{path: "/mcp", method: http.MethodOptions},
	}
}

//nolint:thelper // The scenarios are tests, not helpers.
var commonScenarios = []scenario{
	{
		name:  "origins",
		musts: []string{"origin", "refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{access: httpserver.Access{Hosts: []string{"orders.example.com", "*.shop.example.com", "localhost", "127.0.0.1"}, Origins: []string{"https://app.example.org"}}})
			host := strings.TrimPrefix(w.url, "http://")
			tests := []struct {
				name, origin, host string
				want               bool
			}{
				{name: "listed", origin: "https://app.example.org", want: true},
				{name: "listed, in other letters", origin: "https://APP.example.org", want: true},
				{name: "a host of this server", origin: "https://orders.example.com", want: true},
				{name: "below a wildcard", origin: "https://a.shop.example.com", want: true},
				{name: "two labels below a wildcard", origin: "https://a.b.shop.example.com"},
				{name: "the wildcard's parent", origin: "https://shop.example.com"},
				{name: "this server itself", origin: w.url, want: true},
				{name: "another port of this machine", origin: "http://127.0.0.1:1"},
				{name: "another program of this machine", origin: "http://localhost:1"},
				{name: "foreign", origin: "https://evil.example"},
				{name: "rebound: origin and host are foreign alike", origin: "http://evil.example", host: "evil.example"},
				{name: "listed with another scheme", origin: "http://app.example.org"},
				{name: "null", origin: "null"},
				{name: "no URL", origin: "app.example.org"},
				{name: "with a path", origin: "https://orders.example.com/x"},
				{name: "with a user", origin: "https://orders.example.com@evil.example"},
				{name: "another scheme", origin: "file://orders.example.com"},
			}
			for _, tt := range tests {
				header := map[string]string{"Origin": tt.origin, "Host": host}
				if tt.host != "" {
					header["Host"] = tt.host
				}
				got := w.do(t, request{path: "/mcp", body: initialize("2025-11-25"), header: header})
				if (got.status == 200) != tt.want || (got.status == 403) == tt.want {
					t.Errorf("%s: %+v, want allowed %v", tt.name, got, tt.want)
				}
				if tt.want && (got.header.Get("Access-Control-Allow-Origin") != tt.origin || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "Mcp-Session-Id")) {
					t.Errorf("%s: %v lacks CORS headers", tt.name, got.header)
				}
				if !tt.want && got.header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: a refused origin may read the answer", tt.name)
				}
			}
		},
	},
	{
		name:  "a foreign origin is refused on every face and method",
		musts: []string{"origin"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			for _, q := range everyFace() {
				if q.header == nil {
					q.header = map[string]string{}
				}
				if got := w.do(t, q.with("Origin", "http://evil.example")); got.status != 403 || !strings.HasPrefix(got.body, `{"error":"origin_not_allowed",`) {
					t.Errorf("%s %s: %+v, want 403", q.method, q.path, got)
				}
			}
		},
	},
	{
		name:  "hosts",
		musts: []string{"host"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{access: httpserver.Access{Hosts: []string{"orders-mcp.shop.svc", "Orders.Example.Com"}, EnforceHost: true}})
			for host, want := range map[string]int{
				"orders-mcp.shop.svc": 404, "orders-mcp.shop.svc:80": 404, "orders.example.com.": 404, "localhost": 404, "localhost:9": 404,
				"[::1]:80": 404, "127.0.0.1": 404, "evil.example": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "orders-mcp.shop.svc.evil.example": 403,
			} {
				if got := w.do(t, request{path: "/nowhere", header: map[string]string{"Host": host}}); got.status != want {
					t.Errorf("Host %q: %+v, want %d", host, got, want)
				}
			}
			for _, q := range everyFace() {
				if q.header == nil {
					q.header = map[string]string{}
				}
				if got := w.do(t, q.with("Host", "evil.example")); got.status != 403 {
					t.Errorf("%s %s: %+v, want 403", q.method, q.path, got)
				}
			}
			w.handler.Configure(httpserver.Access{})
			if got := w.do(t, request{path: "/nowhere", header: map[string]string{"Host": "anything"}}); got.status != 404 {
				t.Errorf("without the list: %+v, want 404", got)
			}
		},
	},
	{
		name:  "preflights",
		musts: []string{"origin"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{access: httpserver.Access{Origins: []string{"https://app.example.org"}}})
			got := w.do(t, request{path: "/mcp", method: http.MethodOptions, header: map[string]string{
				"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST", "X-Who": "nobody",
				"Access-Control-Request-Headers": "authorization, Mcp-Session-Id,mcp-param-region, x-evil",
			}})
			if want := "authorization, mcp-session-id, mcp-param-region"; got.status != 204 || got.header.Get("Access-Control-Allow-Headers") != want {
				t.Errorf("preflight: %+v, want 204 with %s", got, want)
			}
		},
	},
	{
		name:  "credentials",
		musts: []string{"authenticated", "refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			for _, q := range everyFace()[:6] {
				if q.header == nil {
					q.header = map[string]string{}
				}
				got := w.do(t, q.with("X-Who", "nobody"))
				if got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer realm="fairlead"` || got.body != `{"error":"missing_credentials","message":"send a key"}` {
					t.Errorf("%s %s: %+v, want 401", q.method, q.path, got)
				}
			}
		},
	},
	{
		name:  "request ids and safe headers",
		musts: []string{"refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			for given, echoed := range map[string]bool{"abc-1.2_3": true, strings.Repeat("a", 65): false, "a b": false, `"x"`: false, "": false} {
				got := w.do(t, request{path: "/nowhere", header: map[string]string{"X-Request-Id": given}})
				if id := got.header.Get("X-Request-Id"); id == "" || (id == given) != echoed {
					t.Errorf("X-Request-Id %q: %q", given, id)
				}
				if got.status != 404 || got.header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(got.body, `{"error":"not_found",`) {
					t.Errorf("got %+v", got)
				}
			}
		},
	},
	{
		name:  "a bug in a handler ends its request only",
		musts: []string{"refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			got := w.do(t, request{path: "/mcp", header: map[string]string{"X-Who": "panic"}})
			if got.status != 500 || !strings.HasPrefix(got.body, `{"error":"internal_error",`) || strings.Contains(got.body, "a bug") {
				t.Errorf("got %+v, want 500 that tells nothing", got)
			}
			if got := w.do(t, request{path: "/mcp", body: initialize("2025-11-25")}); got.status != 200 {
				t.Errorf("the next request: %+v", got)
			}
		},
	},
	{
		name:  "large answers are compressed for those who take it",
		musts: []string{"http-answer"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			// On a busy machine it might become a stream.
			large := modernCall("large", "{}").with("Accept", "application/json")
			plain, packed := w.do(t, large), w.do(t, large.with("Accept-Encoding", "br, gzip"))
			if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" || len(packed.body)*10 > len(plain.body) {
				t.Fatalf("plain %v %d, packed %v %d", plain.header, len(plain.body), packed.header, len(packed.body))
			}
			z, err := gzip.NewReader(strings.NewReader(packed.body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(z); err != nil || !bytes.Equal(body, []byte(plain.body)) {
				t.Errorf("the bodies differ: %v", err)
			}
			for _, q := range []request{modernCall("echo", "{}").with("Accept-Encoding", "gzip"), modernCall("large", "{}").with("Accept-Encoding", "gzip;q=0")} {
				if got := w.do(t, q); got.header.Get("Content-Encoding") != "" {
					t.Errorf("%v was compressed", q.header)
				}
			}
		},
	},
	{
		name:  "streams are counted",
		musts: []string{"bound-streams"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{streams: 1})
			id := w.streamableSession(t, "2025-11-25", "")
			e := w.open(t, request{path: "/sse"})
			for _, q := range []request{
				{path: "/sse"},
				{path: "/mcp", header: map[string]string{"Mcp-Session-Id": id, "Accept": "text/event-stream"}},
				modern("subscriptions/listen", "", `"notifications":{}`),
			} {
				if got := w.do(t, q); got.status != 429 || got.header.Get("Retry-After") != "5" || !strings.HasPrefix(got.body, `{"error":"streams_per_replica",`) {
					t.Errorf("%s: %+v, want 429", q.path, got)
				}
			}
			e.hangUp()
			receive(t, closedAsSignal(w), "the stream closed")
			w.open(t, request{path: "/sse"})
		},
	},
	{
		name:  "parting",
		musts: []string{"leaving"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			_, messages := w.sseSession(t, "", "")
			w.core.Part()
			for _, q := range []request{
				{path: "/sse"},
				{path: "/mcp", header: map[string]string{"Mcp-Session-Id": id, "Accept": "text/event-stream"}},
				{path: "/mcp", body: initialize("2025-11-25")},
				{path: "/mcp", body: callBody(1, "echo", "{}"), header: inSession(id)},
				{path: messages, body: callBody(1, "echo", "{}")},
				modernCall("echo", "{}"),
			} {
				w.wantLastAnswer(t, q)
			}
		},
	},
	{
		name:  "leaving",
		musts: []string{"leaving"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			id := w.streamableSession(t, "2025-11-25", "")
			_, messages := w.sseSession(t, "", "")
			w.core.Leave()
			for _, q := range []request{
				{path: "/sse"},
				{path: "/mcp", header: map[string]string{"Mcp-Session-Id": id, "Accept": "text/event-stream"}},
				{path: "/mcp", body: initialize("2025-11-25")},
				modern("subscriptions/listen", "", `"notifications":{}`),
			} {
				if got := w.do(t, q); got.status != 503 || got.header.Get("Retry-After") == "" || !strings.HasPrefix(got.body, `{"error":"leaving",`) {
					t.Errorf("%s: %+v, want 503", q.path, got)
				}
			}
			for _, q := range []request{
				{path: "/mcp", body: callBody(1, "echo", "{}"), header: inSession(id)},
				{path: messages, body: callBody(1, "echo", "{}")},
				modernCall("echo", "{}"),
			} {
				w.wantLastAnswer(t, q)
			}
		},
	},
}

// closedAsSignal waits for any stream to end.
func closedAsSignal(w *world) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		<-w.closed
		// The place is free when the handler has returned, which follows.
		for {
			if _, streams := w.limits.Usage(); streams == 0 {
				break
			}
		}
		close(done)
	}()
	return done
}

// wantLastAnswer sends a request, whose answer must end its connection.
func (w *world) wantLastAnswer(t *testing.T, q request) {
	t.Helper()
	response := w.send(t, t.Context(), q)
	response.Body.Close()
	if response.StatusCode >= 300 || !response.Close {
		t.Errorf("%s: %d, close %v; want an answer and the end of the connection", q.path, response.StatusCode, response.Close)
	}
}
