// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The race detector makes pools forget, and with them all that is counted here.

package app

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// guarded is a configuration with keys, limits, and a tool with a schema.
const guarded = `
contract: 1
name: guarded
tools:
- name: echo
  description: Echoes.
  inputSchema: {type: object, properties: {text: {type: string, maxLength: 100}}, required: [text], additionalProperties: false}
  static: {content: [{text: "${arguments.text}"}]}
auth: {apiKeys: {secretRef: {name: keys}}}
`

// wire is a connection to the runtime whose client allocates nothing, so that
// what is allocated meanwhile is the runtime's.
type wire struct {
	conn net.Conn
	in   [8 << 10]byte
	have int
}

func dial(t *testing.T, address string) *wire {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(5 * patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &wire{conn: conn}
}

// until reads up to a mark, and gives what came before it. It is valid until the
// next read.
func (w *wire) until(t *testing.T, mark string) []byte {
	t.Helper()
	for {
		if i := bytes.Index(w.in[:w.have], []byte(mark)); i >= 0 {
			return w.in[:i+len(mark)]
		}
		w.more(t)
	}
}

func (w *wire) more(t *testing.T) {
	t.Helper()
	n, err := w.conn.Read(w.in[w.have:])
	if err != nil {
		t.Fatalf("read %q: %v", w.in[:w.have], err)
	}
	w.have += n
}

// drop forgets the first n bytes.
func (w *wire) drop(n int) { w.have = copy(w.in[:], w.in[n:w.have]) }

// ask sends a request and gives the head and the body of its answer.
func (w *wire) ask(t *testing.T, request []byte, status string) (head, body []byte) {
	t.Helper()
	if _, err := w.conn.Write(request); err != nil {
		t.Fatal(err)
	}
	head = w.until(t, "\r\n\r\n")
	_, rest, ok := bytes.Cut(head, []byte("Content-Length: "))
	if !bytes.HasPrefix(head, []byte(status)) || !ok {
		t.Fatalf("answered %q", head)
	}
	size := 0
	for _, c := range rest[:bytes.IndexByte(rest, '\r')] {
		size = 10*size + int(c-'0')
	}
	for w.have < len(head)+size {
		w.more(t)
	}
	return head, w.in[len(head) : len(head)+size]
}

// post is a request with the key.
func post(path, header, body string) []byte {
	return []byte("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + clientKey + "\r\nContent-Type: application/json\r\n" +
		"Accept: application/json, text/event-stream\r\n" + header + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

const (
	clientKey   = "a-key-of-the-test-0123456789"
	opening     = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`
	opened      = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	calling     = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello, gate"},"_meta":{%s"progressToken":7}}}`
	modernMeta  = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"io.modelcontextprotocol/clientCapabilities":{},`
	wantedBlock = `"content":[{"type":"text","text":"hello, gate"}]`
)

// streamableCalls opens a session of Streamable HTTP.
func streamableCalls(t *testing.T, address string) func() {
	t.Helper()
	w := dial(t, address)
	head, body := w.ask(t, post("/mcp", "", opening), "HTTP/1.1 200")
	_, id, _ := strings.Cut(string(head), "Mcp-Session-Id: ")
	id, _, _ = strings.Cut(id, "\r\n")
	w.drop(len(head) + len(body))
	header := "Mcp-Session-Id: " + id + "\r\nMCP-Protocol-Version: 2025-06-18\r\n"
	head, body = w.ask(t, post("/mcp", header, opened), "HTTP/1.1 202")
	w.drop(len(head) + len(body))
	return jsonCalls(t, w, post("/mcp", header, fmt.Sprintf(calling, "")))
}

func statelessCalls(t *testing.T, address string) func() {
	t.Helper()
	header := "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n"
	return jsonCalls(t, dial(t, address), post("/mcp", header, fmt.Sprintf(calling, modernMeta)))
}

func jsonCalls(t *testing.T, w *wire, request []byte) func() {
	t.Helper()
	return func() {
		head, body := w.ask(t, request, "HTTP/1.1 200")
		if !bytes.Contains(body, []byte(wantedBlock)) {
			t.Fatalf("answered %s", body)
		}
		w.drop(len(head) + len(body))
	}
}

// sseCalls opens a session of HTTP+SSE.
func sseCalls(t *testing.T, address string) func() {
	t.Helper()
	events, w := dial(t, address), dial(t, address)
	if _, err := events.conn.Write([]byte("GET /sse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + clientKey + "\r\nAccept: text/event-stream\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(string(events.until(t, "\n\n")), "data: messages")
	path := "/messages" + strings.TrimSpace(query)
	events.have = 0
	send := func(message []byte) {
		head, body := w.ask(t, message, "HTTP/1.1 202")
		w.drop(len(head) + len(body))
	}
	receive := func(want string) {
		event := events.until(t, "\n\n")
		if !bytes.Contains(event, []byte(want)) {
			t.Fatalf("event %s", event)
		}
		events.drop(len(event))
	}
	send(post(path, "", opening))
	receive(`"serverInfo"`)
	send(post(path, "", opened))
	request := post(path, "", fmt.Sprintf(calling, ""))
	return func() {
		send(request)
		receive(wantedBlock)
	}
}

// TestCallsAllocateLittle holds what a call of a tool costs, with keys, limits,
// validation and metrics, and with what net/http allocates for a request: goal 6
// KB and 80 allocations. The bars are a tenth above what is measured.
func TestCallsAllocateLittle(t *testing.T) {
	const calls = 2000
	r := &running{file: filepath.Join(t.TempDir(), "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16)}
	write(t, r.file, guarded)
	keys := filepath.Join(filepath.Dir(r.file), "secrets", "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(keys, "client"), clientKey)
	address := strings.TrimPrefix(r.run(t).url, "http://")
	for _, tt := range []struct {
		name          string
		open          func(t *testing.T, address string) func()
		allocs, bytes uint64
	}{
		{name: "streamable", open: streamableCalls, allocs: 56, bytes: 5300},
		{name: "stateless", open: statelessCalls, allocs: 68, bytes: 5900},
		{name: "sse", open: sseCalls, allocs: 52, bytes: 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			call := tt.open(t, address)
			for range calls / 10 {
				call()
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range calls {
				call()
			}
			runtime.ReadMemStats(&after)
			allocs, size := (after.Mallocs-before.Mallocs)/calls, (after.TotalAlloc-before.TotalAlloc)/calls
			t.Logf("a call takes %d allocations and %d bytes", allocs, size)
			if allocs > tt.allocs || size > tt.bytes {
				t.Errorf("a call takes %d allocations and %d bytes, want at most %d and %d", allocs, size, tt.allocs, tt.bytes)
			}
		})
	}
}
