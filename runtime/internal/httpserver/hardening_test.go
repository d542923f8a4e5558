// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// dial opens a bare connection and writes text to it.
func (w *world) dial(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(long)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

//nolint:thelper // The scenario is a test, not a helper.
func init() {
	commonScenarios = append(commonScenarios, scenario{
		name:  "bodies over the limit",
		musts: []string{"body-size", "refusal-body"},
		run: func(t *testing.T) {
			w := newWorld(t, worldOptions{})
			body := `{"jsonrpc":"2.0","id":1,"method":"ping"` + strings.Repeat(" ", 64<<10) + "}"
			heads := map[string]string{
				"a length that is claimed":     "Content-Length: 1099511627776\r\n\r\n",
				"a length that is just over":   fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
				"a length that is not claimed": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
			}
			for name, rest := range heads {
				conn := w.dial(t, "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+rest)
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got, _ := io.ReadAll(response.Body)
				if response.StatusCode != http.StatusRequestEntityTooLarge || !response.Close || !strings.HasPrefix(string(got), `{"error":"request_too_large",`) {
					t.Errorf("%s: %d %s, close %v", name, response.StatusCode, got, response.Close)
				}
			}
			if got := w.do(t, request{path: "/mcp", body: body[:40] + "}"}); got.status != 200 {
				t.Errorf("a body within the limit: %+v", got)
			}
		},
	})
}

// A body that drips in must end its request, whether anybody reads it or not.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{settings: func(s *transport.Settings) { s.ReadTimeout = 50 * time.Millisecond }})
	tests := []struct {
		name, head string
		want       int
	}{
		{name: "that is read", head: "POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\n", want: 408},
		{name: "of a refused request", head: "POST /nowhere HTTP/1.1\r\n", want: 404},
		{name: "of a wrong type", head: "POST /mcp HTTP/1.1\r\nContent-Type: text/plain\r\n", want: 415},
		{name: "of a GET", head: "GET /sse HTTP/1.1\r\n", want: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn := w.dial(t, tt.head+"Host: x\r\nContent-Length: 100\r\n\r\n{")
			reader := bufio.NewReader(conn)
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != tt.want {
				t.Errorf("status %d, want %d", response.StatusCode, tt.want)
			}
			if _, err := io.Copy(io.Discard, response.Body); err != nil {
				t.Fatal(err)
			}
			if _, err := reader.ReadByte(); err != io.EOF {
				t.Errorf("the connection is not closed: %v", err)
			}
		})
	}
}

// listener hands out one connection.
type listener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowAndLargeHeads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, head string
		after      time.Duration
		want       string
	}{
		{name: "a head that does not end", head: "GET /sse HTTP/1.1\r\nHost: x\r\n", after: 10 * time.Second},
		{name: "an idle connection", head: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", after: 620 * time.Second, want: "HTTP/1.1 204"},
		{name: "a head that is too large", head: "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", want: "HTTP/1.1 431"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &listener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
				client, served := net.Pipe()
				l.conns <- served
				server := httpserver.NewServer(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(http.StatusNoContent)
				}), slog.New(slog.DiscardHandler))
				go func() { _ = server.Serve(l) }()
				defer server.Close()
				began := time.Now()
				go func() { _, _ = io.WriteString(client, tt.head) }()
				got, err := io.ReadAll(client)
				if err != nil || !strings.HasPrefix(string(got), tt.want) {
					t.Errorf("read %.100q, %v; want %q", got, err, tt.want)
				}
				if waited := time.Since(began).Round(time.Second); tt.after != 0 && waited != tt.after {
					t.Errorf("the connection was closed after %v, want %v", waited, tt.after)
				}
			})
		})
	}
}

// Whatever a client sends comes back inside of one event.
func TestEventsCannotBeForged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	e, messages := w.sseSession(t, "", "")
	const evil = `x\r\n\r\nevent: endpoint\r\ndata: http://evil.example\n\n`
	w.do(t, request{path: messages, body: `{"jsonrpc":"2.0","id":"` + evil + `","method":"tools/call","params":{"name":"echo","arguments":{"message":"` + evil + `"}}}`})
	if got := e.message(); !strings.Contains(fmt.Sprint(got["id"]), "evil.example") {
		t.Errorf("got %v", got)
	}
	w.do(t, request{path: messages, body: `{"jsonrpc":"2.0","id":"` + "x\u2028" + `","method":"` + evil + `"}`})
	if got := e.message(); got["error"] == nil {
		t.Errorf("got %v", got)
	}
	w.do(t, request{path: messages, body: callBody(2, "echo", "{}")})
	if got := e.message(); got["id"] != float64(2) {
		t.Errorf("got %v, want the next answer", got)
	}
	for _, id := range []string{"a%0d%0aSet-Cookie:%20x=1", "%00", strings.Repeat("a", 200)} {
		got := w.do(t, request{path: "/messages?sessionId=" + id, body: initialized})
		if got.status != 404 || got.header.Get("Set-Cookie") != "" {
			t.Errorf("session %q: %+v", id, got)
		}
	}
}

// Fifty clients that make tools talk and never read must cost no more than
// their outboxes, must not slow down others, and are cut at the write deadline.
func TestClientsThatNeverRead(t *testing.T) { //nolint:paralleltest // It measures memory.
	const clients, most = 50, 64 << 20
	w := newWorld(t, worldOptions{settings: func(s *transport.Settings) { s.WriteTimeout = 2 * time.Second }})
	before := heap()
	for i := range clients {
		w.neverRead(t, fmt.Sprintf("client%d", i))
	}
	cut, worst, top := 0, time.Duration(0), uint64(0)
	deadline := time.After(2 * long)
	for cut < clients {
		select {
		case reason := <-w.closed:
			if reason != stream.WriteTimeout {
				t.Fatalf("a client that does not read was cut with %q", reason)
			}
			cut++
		case <-deadline:
			t.Fatalf("%d of %d clients were cut", cut, clients)
		default:
			began := time.Now()
			if got := w.do(t, modernCall("echo", `{"message":"hi"}`).with("X-Who", "other")); got.status != 200 {
				t.Fatalf("another client's call: %+v", got)
			}
			worst = max(worst, time.Since(began))
			top = max(top, heap())
		}
	}
	t.Logf("slowest other call %v, heap grew by %d KiB", worst, int64(top-before)>>10)
	if worst > time.Second {
		t.Errorf("another client's call took %v", worst)
	}
	if top > before+most {
		t.Errorf("the heap grew by %d KiB", (top-before)>>10)
	}
}

// A client that asks for much and does not read the answers is cut, too.
func TestAnswersThatNobodyReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{settings: func(s *transport.Settings) { s.WriteTimeout = 200 * time.Millisecond }})
	conn := w.dial(t, "")
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	q := modernCall("large", "{}")
	head := "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, value := range q.header {
		head += name + ": " + value + "\r\n"
	}
	const requests = 100
	for range requests {
		if _, err := fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", head, len(q.body), q.body); err != nil {
			t.Fatal(err)
		}
	}
	// The handlers end although nothing is read, and with them the connection.
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	for time.Since(began) < time.Second {
		if err := w.handler.Quiet(ctx); err != nil {
			t.Fatal(err)
		}
	}
	n, _ := io.Copy(io.Discard, conn)
	if n >= requests*256<<10 {
		t.Errorf("all %d bytes were kept for a client that did not read", n)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// neverRead opens a session whose client reads its address and nothing more,
// and calls a tool that reports without end.
func (w *world) neverRead(t *testing.T, who string) {
	t.Helper()
	conn := w.dial(t, "")
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /sse HTTP/1.1\r\nHost: x\r\nX-Who: %s\r\n\r\n", who); err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	for b := make([]byte, 1); !strings.Contains(head.String(), "sessionId=") || !strings.HasSuffix(head.String(), "\n\n"); {
		if _, err := conn.Read(b); err != nil {
			t.Fatal(err)
		}
		head.Write(b)
	}
	_, id, _ := strings.Cut(head.String(), "sessionId=")
	header := map[string]string{"X-Who": who}
	messages := "/messages?sessionId=" + strings.TrimSpace(id)
	for _, body := range []string{initialize("2024-11-05"), initialized, callBody(1, "flood", "{}")} {
		if got := w.do(t, request{path: messages, body: body, header: header}); got.status != 202 {
			t.Fatalf("%s: %+v", body, got)
		}
	}
}
