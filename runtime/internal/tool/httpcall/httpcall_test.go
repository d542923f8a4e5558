// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/httpcall"
)

// inputSchema is what the tools of these tests take.
const inputSchema = `{"type":"object","properties":{"id":{"type":"string"},"verbose":{"type":"boolean"},"note":{"type":"string"}},"required":["id"]}`

// compile returns the plan of one HTTP tool.
func compile(tb testing.TB, h config.HTTP) *config.HTTPPlan {
	tb.Helper()
	program, err := config.CompileWith(&config.Server{
		Name: "test", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
		Tools: []config.Tool{{Name: "get_order", Description: "A test.", InputSchema: json.RawMessage(inputSchema), HTTP: &h}},
	}, config.CompileOptions{AllowLoopback: true})
	if err != nil {
		tb.Fatal(err)
	}
	return program.Tools[0].HTTP
}

// options are those of most tests; below TestPlain everything goes through net/http.
func options(tb testing.TB) httpcall.Options {
	tb.Helper()
	o := httpcall.Options{Tool: "get_order", AllowLoopback: true, MaxConcurrency: 4, MaxResponseSize: 1 << 20, Version: "v1.2.3"}
	if isPlain(tb) {
		return o.Plain()
	}
	return o
}

// isPlain reports whether a test runs below TestPlain.
func isPlain(tb testing.TB) bool {
	tb.Helper()
	return strings.HasPrefix(tb.Name(), "TestPlain/")
}

// TestPlain runs the tests once more, through net/http, which serves what the lean
// way does not.
func TestPlain(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"Answers": TestAnswers, "Bounds": TestBounds, "Canary": TestCanary, "CanarySpellings": TestCanarySpellings,
		"CloseLeavesNothing": TestCloseLeavesNothing, "Connections": TestConnections, "Endless": TestEndless, "HeldAnswers": TestHeldAnswers,
		"NumericHosts": TestNumericHosts, "ProxyIsIgnored": TestProxyIsIgnored, "Rebinding": TestRebinding, "Redirects": TestRedirects,
		"Request": TestRequest, "Secrets": TestSecrets, "SecretRotation": TestSecretRotation, "SlowHead": TestSlowHead,
		"StreamBackPressure": TestStreamBackPressure, "StreamIsLive": TestStreamIsLive, "Streams": TestStreams,
		"StreamWithoutListener": TestStreamWithoutListener, "Trace": TestTrace, "TraceOfFailure": TestTraceOfFailure, "Unreachable": TestUnreachable,
	} {
		t.Run(name, test)
	}
}

// backend starts a server and returns its URL.
func backend(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// recorder is a Sink that keeps what it gets.
type recorder struct {
	mu       sync.Mutex
	progress []tool.Progress
	logs     []tool.Log
	fail     error
}

func (r *recorder) Progress(_ context.Context, p tool.Progress) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Message = bytes.Clone(p.Message)
	r.progress = append(r.progress, p)
	return r.fail
}

func (r *recorder) Log(_ context.Context, l tool.Log) error {
	r.logs = append(r.logs, l)
	return r.fail
}

// call runs a tool once.
func call(t *testing.T, plan *config.HTTPPlan, o httpcall.Options, c tool.Call, sink tool.Sink) (tool.Result, error) {
	t.Helper()
	e := httpcall.New(plan, o)
	defer e.Close()
	if c.Arguments == nil {
		c.Arguments = map[string]any{"id": "7"}
	}
	if sink == nil {
		sink = &recorder{}
	}
	return e.Run(t.Context(), c, sink)
}

// text is the text of a result's only block.
func text(t *testing.T, r tool.Result) string {
	t.Helper()
	var blocks []struct{ Type, Text string }
	if err := json.Unmarshal(r.Content, &blocks); err != nil || len(blocks) != 1 || blocks[0].Type != "text" {
		t.Fatalf("not one block of text: %v: %s", err, r.Content)
	}
	return blocks[0].Text
}

func TestRequest(t *testing.T) {
	t.Parallel()
	secrets := t.TempDir()
	write(t, filepath.Join(secrets, "orders-api", "token"), "s3cret-s3cret\n")
	type seen struct {
		Line, Host, Body string
		Header           http.Header
	}
	for _, tt := range []struct {
		name string
		http config.HTTP
		args map[string]any
		want seen
	}{
		{
			name: "GET", http: config.HTTP{URL: "/orders/{id}", Query: map[string]string{"verbose": "${arguments.verbose}"}},
			args: map[string]any{"id": "a/b?c#d", "verbose": true},
			want: seen{Line: "GET /orders/a%2Fb%3Fc%23d?verbose=true", Header: http.Header{
				"User-Agent": {"fairlead/v1.2.3"}, "Accept": {"application/json, */*;q=0.8"},
			}},
		},
		{
			name: "POST with headers", http: config.HTTP{
				Method: "POST", URL: "/orders/{id}", Headers: map[string]string{"X-User": "${principal.subject}", "User-Agent": "mine", "Accept": "text/plain"},
				HeadersFrom: []config.SecretHeader{{Name: "authorization", SecretKeyRef: config.SecretKeyRef{Name: "orders-api", Key: "token"}, Prefix: "Bearer "}},
			},
			args: map[string]any{"id": "7", "note": "ü"},
			want: seen{Line: "POST /orders/7", Body: `{"note":"ü"}`, Header: http.Header{
				"User-Agent": {"mine"}, "Accept": {"text/plain"}, "Content-Type": {"application/json"},
				"Content-Length": {"13"}, "X-User": {"alice"}, "Authorization": {"Bearer s3cret-s3cret"},
			}},
		},
		{
			name: "SSE", http: config.HTTP{URL: "/x", Response: config.HTTPResponse{Stream: "SSE"}},
			want: seen{Line: "GET /x", Header: http.Header{
				"User-Agent": {"fairlead/v1.2.3"}, "Accept": {"text/event-stream, application/json;q=0.9, */*;q=0.5"},
			}},
		},
		{
			name: "NDJSON", http: config.HTTP{URL: "/x", Response: config.HTTPResponse{Stream: "NDJSON"}},
			want: seen{Line: "GET /x", Header: http.Header{
				"User-Agent": {"fairlead/v1.2.3"}, "Accept": {"application/x-ndjson, application/json;q=0.9, */*;q=0.5"},
			}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got seen
			url := backend(t, func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = seen{Line: r.Method + " " + r.URL.RequestURI(), Host: r.Host, Body: string(body), Header: r.Header}
			})
			tt.http.URL = url + tt.http.URL
			want := tt.want
			want.Host = strings.TrimPrefix(url, "http://")
			want.Header = want.Header.Clone()
			if isPlain(t) && tt.http.Response.Stream == "" {
				want.Header.Set("Accept-Encoding", "gzip")
			}
			o := options(t)
			o.SecretsDir = secrets
			_, err := call(t, compile(t, tt.http), o, tool.Call{Arguments: tt.args, Principal: auth.Principal{Name: "alice"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the backend saw (-want +got):\n%s", diff)
			}
		})
	}
}

// send writes to a connection that the other side may have closed.
func send(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

// write writes a file and its folder.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	for _, tt := range []struct {
		name        string
		status      int
		contentType string
		body        string
		structured  bool
		want        string // Content, or the text of the only block
		wantObject  string
		isError     bool
		wantErr     string
	}{
		{name: "JSON", contentType: "application/json; charset=utf-8", body: "{\n \"b\": 1.50,\n \"a\": [1, 2] }\n", want: `{"b":1.50,"a":[1,2]}`},
		{name: "JSON object with schema", contentType: "application/json", body: `{ "a": 1 }`, structured: true, want: `{"a":1}`, wantObject: `{"a":1}`},
		{name: "JSON array with schema", contentType: "application/json", body: `[1]`, structured: true, want: `[1]`},
		{name: "JSON of a vendor", contentType: "application/vnd.x+json", body: `{"a": 1}`, want: `{"a":1}`},
		{name: "broken JSON", contentType: "application/json", body: `{"a":`, wantErr: `tool "get_order": the backend's answer says that it is application/json, but it is not valid JSON`},
		{name: "JSON without a body", contentType: "application/json", want: ""},
		{name: "text", contentType: "text/plain", body: "héllo\n", want: "héllo\n"},
		{name: "text that is not UTF-8", contentType: "text/plain", body: "a\xffb", want: "a\uFFFDb"},
		{name: "XML", contentType: "application/atom+xml", body: "<a/>", want: "<a/>"},
		{name: "image", contentType: "image/png", body: "\x89PNG", want: `[{"type":"image","mimeType":"image/png","data":"` + b64([]byte("\x89PNG")) + `"}]`},
		{name: "image that is text", contentType: "image/svg+xml", body: "<svg/>", want: `[{"type":"image","mimeType":"image/svg+xml","data":"` + b64([]byte("<svg/>")) + `"}]`},
		{name: "audio", contentType: "audio/wav", body: "RIFF", want: `[{"type":"audio","mimeType":"audio/wav","data":"` + b64([]byte("RIFF")) + `"}]`},
		{
			name: "other", contentType: "application/pdf", body: "%PDF",
			want: `[{"type":"resource","resource":{"uri":"fairlead://tools/get_order/result","mimeType":"application/pdf","blob":"` + b64([]byte("%PDF")) + `"}}]`,
		},
		{name: "no type, text", contentType: "-", body: "hello", want: "hello"},
		{
			name: "no type, binary", contentType: "-", body: "\xff\xfe",
			want: `[{"type":"resource","resource":{"uri":"fairlead://tools/get_order/result","mimeType":"application/octet-stream","blob":"` + b64([]byte("\xff\xfe")) + `"}}]`,
		},
		{name: "no content", status: 204, want: ""},
		{name: "created", status: 201, contentType: "application/json", body: `{}`, want: `{}`},
		{name: "not found", status: 404, contentType: "application/json", body: `{"error":"no such order"}`, isError: true, want: `the backend answered 404 Not Found: {"error":"no such order"}`},
		{name: "error with a schema", status: 404, contentType: "application/json", body: `{"a":1}`, structured: true, isError: true, want: `the backend answered 404 Not Found: {"a":1}`},
		{name: "error without a body", status: 500, isError: true, want: "the backend answered 500 Internal Server Error"},
		{name: "error that is binary", status: 500, contentType: "image/png", body: "\x89PNG", isError: true, want: "the backend answered 500 Internal Server Error"},
		{name: "error with binary as text", status: 500, contentType: "text/plain", body: "\xff\xff\xff\xff\xff", isError: true, want: "the backend answered 500 Internal Server Error"},
		{name: "error with control characters", status: 500, contentType: "text/plain", body: "a\x1b[31mb\r\nc\x00", isError: true, want: "the backend answered 500 Internal Server Error: a[31mb\nc"},
		{name: "long error", status: 502, contentType: "text/html", body: strings.Repeat("ü", 3000), isError: true, want: "the backend answered 502 Bad Gateway: " + strings.Repeat("ü", 1024) + "…"},
		{name: "long error cut within a character", status: 502, contentType: "text/html", body: "a" + strings.Repeat("ü", 3000), isError: true, want: "the backend answered 502 Bad Gateway: a" + strings.Repeat("ü", 1023) + "…"},
		{name: "unknown status", status: 599, isError: true, want: "the backend answered 599"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
				switch tt.contentType {
				case "-":
					w.Header()["Content-Type"] = nil
				case "":
				default:
					w.Header().Set("Content-Type", tt.contentType)
				}
				if tt.status != 0 {
					w.WriteHeader(tt.status)
				}
				send(w, tt.body)
			})
			o := options(t)
			o.Structured = tt.structured
			got, err := call(t, compile(t, config.HTTP{URL: url}), o, tool.Call{}, nil)
			if tt.wantErr != "" {
				if tool.Message(err) != tt.wantErr {
					t.Errorf("Message = %q, want %q", tool.Message(err), tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			content := string(got.Content)
			if !strings.HasPrefix(tt.want, "[{") {
				content = text(t, got)
			}
			if content != tt.want || string(got.Structured) != tt.wantObject || got.IsError != tt.isError {
				t.Errorf("got %s, object %s, error %t\nwant %s, object %s, error %t", content, got.Structured, got.IsError, tt.want, tt.wantObject, tt.isError)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	const tail = "; redirects are not followed, the tool's url must be the final one"
	for _, tt := range []struct {
		name, location, want string
		status               int
	}{
		{name: "host", status: 302, location: "http://evil.example/x?y=z", want: "the backend answered 302 Found, a redirect to evil.example" + tail},
		{name: "address", status: 307, location: "http://169.254.169.254/latest", want: "the backend answered 307 Temporary Redirect, a redirect to another address" + tail},
		{name: "same host, which is an address here", status: 301, location: "/elsewhere", want: "the backend answered 301 Moved Permanently, a redirect to another address" + tail},
		{name: "none", status: 303, want: "the backend answered 303 See Other without a usable Location"},
		{name: "malformed", status: 308, location: "http://[::1", want: "the backend answered 308 Permanent Redirect without a usable Location"},
		{name: "not modified", status: 304, want: "the backend answered 304 Not Modified without a usable Location"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			requests := 0
			url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				if tt.location != "" {
					w.Header().Set("Location", tt.location)
				}
				w.WriteHeader(tt.status)
			})
			got, err := call(t, compile(t, config.HTTP{URL: url}), options(t), tool.Call{}, nil)
			if err != nil || text(t, got) != tt.want || !got.IsError || requests != 1 {
				t.Errorf("got %s, %v after %d requests, want %s", got.Content, err, requests, tt.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	closing := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	plain := backend(t, func(http.ResponseWriter, *http.Request) {})
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	headers := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("x", 100<<10))
	})
	refused := httptest.NewServer(http.NotFoundHandler())
	refused.Close()
	for _, tt := range []struct {
		name, url, network, want string
		inCluster                bool
	}{
		{name: "refused", url: refused.URL, want: "the backend refuses connections"},
		{name: "closed at once", url: closing, want: "the backend closed the connection before it answered"},
		{name: "no TLS", url: strings.Replace(plain, "http", "https", 1), want: "the backend does not speak TLS on this port"},
		{name: "unknown authority", url: secure.URL, want: "the backend's certificate is not valid or not trusted"},
		{name: "huge header", url: headers, want: "the request to the backend failed"},
		{name: "loopback in a cluster", url: plain, inCluster: true, want: "the backend's name leads to an address that network Public does not permit"},
		{name: "private", url: "http://10.1.2.3", want: "the backend's name leads to an address that network Public does not permit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.AllowLoopback = !tt.inCluster
			plan := compile(t, config.HTTP{URL: strings.Replace(tt.url, "10.1.2.3", "backend.example", 1)})
			if strings.Contains(tt.url, "10.1.2.3") {
				o.Resolver = resolver(t, "10.1.2.3")
			}
			_, err := call(t, plan, o, tool.Call{}, nil)
			if got, want := tool.Message(err), `tool "get_order": `+tt.want; got != want {
				t.Errorf("Message = %q, want %q (%v)", got, want, err)
			}
			for _, inside := range []string{"10.1.2.3", "127.0.0.1"} {
				if strings.Contains(tool.Message(err), inside) {
					t.Errorf("the message for clients holds the address: %q", tool.Message(err))
				}
			}
			var known *tool.Error
			if !errors.As(err, &known) || known.Err == nil {
				t.Errorf("no reason for the log: %v", err)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		stream string
		h      http.HandlerFunc
		want   string
	}{
		{
			name: "too large, announced", want: "the backend's answer is larger than 65536 bytes (limits.maxResponseSize)",
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "65537")
				send(w, strings.Repeat("x", 65537))
			},
		},
		{
			name: "endless", want: "the backend's answer is larger than 65536 bytes (limits.maxResponseSize)",
			h: func(w http.ResponseWriter, _ *http.Request) {
				for block := make([]byte, 4096); ; {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			},
		},
		{
			name: "gzip bomb", want: "the backend's answer is larger than 65536 bytes (limits.maxResponseSize)",
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				for block := make([]byte, 1<<16); ; {
					if _, err := z.Write(block); err != nil {
						return
					}
				}
			},
		},
		{
			name: "encoding that was not asked for", want: `the backend's answer has Content-Encoding "br", which was not asked for and is not understood`,
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "br")
				send(w, "x")
			},
		},
		{
			name: "a line of 10 MiB", stream: "SSE", want: "an event of the backend's stream is larger than 65536 bytes (limits.maxResponseSize) after 1 events",
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				send(w, "data: 1\n\ndata: ")
				send(w, strings.Repeat("x", 10<<20))
			},
		},
		{
			name: "a line of 10 MiB, NDJSON", stream: "NDJSON", want: "an event of the backend's stream is larger than 65536 bytes (limits.maxResponseSize) after 0 events",
			h: func(w http.ResponseWriter, _ *http.Request) { send(w, strings.Repeat("x", 10<<20)) },
		},
		{
			name: "broken off", want: "the backend's answer broke off",
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				send(w, "short")
			},
		},
		{
			name: "stream broken off", stream: "SSE", want: "the backend's answer broke off after 1 events",
			h: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				send(w, "data: 1\n\n")
				http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.MaxResponseSize = 65536
			_, err := call(t, compile(t, config.HTTP{URL: backend(t, tt.h), Response: config.HTTPResponse{Stream: tt.stream}}), o, tool.Call{}, nil)
			if got, want := tool.Message(err), `tool "get_order": `+tt.want; got != want {
				t.Errorf("Message = %q, want %q (%v)", got, want, err)
			}
		})
	}
}

// TestHeldAnswers reads answers of all sizes with room for some of them.
func TestHeldAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size int
		want string
	}{
		{size: 0},
		{size: 64<<10 - 1},
		{size: 64 << 10},
		{size: 64<<10 + 1},
		{size: 200 << 10},
		{size: 1 << 20},
		{size: 1<<20 + 1, want: "the backend's answer is larger than 1048576 bytes (limits.maxResponseSize)"},
	} {
		for _, room := range []int64{1 << 10, 4 << 20} {
			held := limit.NewBytes(room)
			o := options(t)
			o.Held = held
			want := tt.want
			if room < 4<<20 && tt.size >= 64<<10 {
				want = "too many bytes of requests and answers are held in memory; try again later"
			}
			url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				http.NewResponseController(w).Flush() // Without a length.
				_, _ = io.WriteString(w, strings.Repeat("x", tt.size))
			})
			result, err := call(t, compile(t, config.HTTP{URL: url}), o, tool.Call{}, nil)
			if want != "" {
				if got := tool.Message(err); got != `tool "get_order": `+want {
					t.Errorf("%d bytes, room for %d: %q, want %q", tt.size, room, got, want)
				}
			} else if err != nil || len(text(t, result)) != tt.size {
				t.Errorf("%d bytes, room for %d: %v", tt.size, room, err)
			}
			if n := held.Held(); n != 0 {
				t.Errorf("%d bytes, room for %d: %d are held after the call", tt.size, room, n)
			}
		}
	}
}

// TestEndless calls backends that never come to an end: the tool's timeout ends
// the call, and the connection with it.
func TestEndless(t *testing.T) {
	t.Parallel()
	trickle := func(w http.ResponseWriter, r *http.Request, piece string) {
		for r.Context().Err() == nil {
			send(w, piece)
			http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(time.Millisecond):
			}
		}
	}
	for _, tt := range []struct {
		name, stream string
		h            http.HandlerFunc
	}{
		{name: "no head", h: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{name: "slow body", h: func(w http.ResponseWriter, r *http.Request) { trickle(w, r, "x") }},
		{name: "slow error", h: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			trickle(w, r, "")
		}},
		{name: "endless events", stream: "SSE", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			trickle(w, r, "data: x\n\n")
		}},
		{name: "only comments", stream: "SSE", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			trickle(w, r, ": x\n")
		}},
		{name: "endless lines", stream: "NDJSON", h: func(w http.ResponseWriter, r *http.Request) { trickle(w, r, "1\n") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			url := backend(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(gone)
				tt.h(w, r)
			})
			e := httpcall.New(compile(t, config.HTTP{URL: url, Response: config.HTTPResponse{Stream: tt.stream}}), options(t))
			defer e.Close()
			guarded := tool.Guard(e, tool.Options{Name: "get_order", Timeout: 500 * time.Millisecond, MaxConcurrency: 1})
			result, err := guarded.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{})
			if tt.name == "slow error" {
				if err != nil || !result.IsError {
					t.Errorf("got %s, %v, want the status", result.Content, err)
				}
			} else if got, want := tool.Message(err), `tool "get_order" timed out after 500ms`; got != want {
				t.Errorf("Message = %q, want %q (%v)", got, want, err)
			}
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Error("the connection to the backend is still open")
			}
		})
	}
}

// TestSlowHead sends a head byte by byte without an end.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1024)); err != nil {
			return
		}
		send(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
		for err == nil {
			_, err = io.WriteString(conn, "x")
			<-time.After(time.Millisecond)
		}
	}()
	e := httpcall.New(compile(t, config.HTTP{URL: "http://" + listener.Addr().String()}), options(t))
	defer e.Close()
	guarded := tool.Guard(e, tool.Options{Name: "get_order", Timeout: 500 * time.Millisecond, MaxConcurrency: 1})
	_, err = guarded.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{})
	if got := tool.Outcome(tool.Result{}, err); got != tool.OutcomeTimeout {
		t.Errorf("Outcome = %s (%v), want timeout", got, err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the connection to the backend is still open")
	}
}

// TestConnections calls many times: the pool keeps as many connections as
// calls run at once and no more are dialed.
func TestConnections(t *testing.T) {
	t.Parallel()
	const concurrency = 4
	dialed := make(chan struct{}, 1000)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { send(w, "ok") }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialed <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	e := httpcall.New(compile(t, config.HTTP{URL: s.URL}), options(t))
	guarded := tool.Guard(e, tool.Options{Name: "get_order", Timeout: time.Minute, MaxConcurrency: concurrency})
	var group sync.WaitGroup
	for range 3 * concurrency {
		group.Go(func() {
			for range 50 {
				if _, err := guarded.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{}); err != nil {
					t.Errorf("Run: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := len(dialed); n > concurrency {
		t.Errorf("%d connections, want at most %d", n, concurrency)
	}
	e.Close()
}

// TestCloseLeavesNothing closes an Executor while a call runs: its connection
// is not kept after the call.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	arrived, answer, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		send(w, "ok")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	e := httpcall.New(compile(t, config.HTTP{URL: s.URL}), options(t))
	ended := make(chan error)
	go func() {
		_, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{})
		ended <- err
	}()
	<-arrived
	e.Close()
	close(answer)
	if err := <-ended; err != nil {
		t.Errorf("a running call was hurt by Close: %v", err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is kept after Close")
	}
}

func TestProxyIsIgnored(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) { send(w, "direct") })
	o := options(t)
	o.Resolver = resolver(t, "127.0.0.1")
	plan := compile(t, config.HTTP{URL: strings.Replace(url, "127.0.0.1", "backend.example", 1)})
	got, err := call(t, plan, o, tool.Call{}, nil)
	if err != nil || text(t, got) != "direct" {
		t.Errorf("got %s, %v", got.Content, err)
	}
}

func TestArgumentsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	url := backend(t, func(http.ResponseWriter, *http.Request) { t.Error("the backend was asked") })
	for _, tt := range []struct {
		name string
		http config.HTTP
		args map[string]any
	}{
		{name: "a path that goes up", http: config.HTTP{URL: url + "/orders/{id}"}, args: map[string]any{"id": ".."}},
		{name: "a header with a line break", http: config.HTTP{URL: url, Headers: map[string]string{"X-Note": "${arguments.note}"}}, args: map[string]any{"id": "7", "note": "a\r\nX-Admin: 1"}},
		{name: "text that is no number", http: config.HTTP{URL: url, Headers: map[string]string{"X-Note": "${int(arguments.note)}"}}, args: map[string]any{"id": "7", "note": "seven"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := call(t, compile(t, tt.http), options(t), tool.Call{Arguments: tt.args}, nil)
			if got, want := tool.Message(err), `tool "get_order": failed to build the request: `; !strings.HasPrefix(got, want) {
				t.Errorf("Message = %q, want %q", got, want)
			}
			if got := tool.Outcome(tool.Result{}, err); got != tool.OutcomeToolError {
				t.Errorf("Outcome = %q, want %q: the arguments are the caller's", got, tool.OutcomeToolError)
			}
		})
	}
}

// BenchmarkRun has the backend in the same process: compare both ways, no more.
func BenchmarkRun(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		send(w, `{"id":"7","state":"open"}`)
	}))
	defer s.Close()
	for _, way := range []struct {
		name    string
		options httpcall.Options
	}{{name: "lean", options: options(b)}, {name: "plain", options: options(b).Plain()}} {
		b.Run(way.name, func(b *testing.B) {
			e := httpcall.New(compile(b, config.HTTP{URL: s.URL + "/orders/{id}"}), way.options)
			defer e.Close()
			guarded := tool.Guard(e, tool.Options{Name: "get_order", Timeout: time.Minute, MaxConcurrency: 4})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := guarded.Run(b.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// resolver returns a resolver that answers each question for A records with
// the next of the addresses, the last one from then on.
func resolver(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		question := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(question)
			if err != nil {
				return
			}
			answer, isA := dnsAnswer(question[:n], addresses[0])
			if isA && len(addresses) > 1 {
				addresses = addresses[1:]
			}
			if _, err := server.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// dnsAnswer answers a question with one A record, or with none if it is not for
// A (RFC 1035 §4.1).
func dnsAnswer(question []byte, address string) (answer []byte, isA bool) {
	end := 12
	for question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5
	isA = question[end-3] == 1
	answer = append(answer, question[:2]...)
	answer = append(answer, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	answer = append(answer, question[12:end]...)
	if isA {
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		answer = append(answer, net.ParseIP(address).To4()...)
	}
	return answer, isA
}

// TestRebinding resolves a name first to a permitted address, then to a
// forbidden one: each dial is judged by the address that it uses.
func TestRebinding(t *testing.T) {
	t.Parallel()
	for _, forbidden := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"} {
		t.Run(forbidden, func(t *testing.T) {
			t.Parallel()
			reached := false
			url := backend(t, func(http.ResponseWriter, *http.Request) { reached = true })
			o := options(t)
			o.AllowLoopback = false
			o.Resolver = resolver(t, forbidden)
			plan := compile(t, config.HTTP{URL: strings.Replace(url, "127.0.0.1", "rebound.example", 1)})
			_, err := call(t, plan, o, tool.Call{}, nil)
			want := `tool "get_order": the backend's name leads to an address that network Public does not permit`
			if tool.Message(err) != want || reached {
				t.Errorf("Message = %q, reached %t, want %q", tool.Message(err), reached, want)
			}
		})
	}
	t.Run("second lookup", func(t *testing.T) {
		t.Parallel()
		requests := 0
		url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Connection", "close")
		})
		o := options(t)
		o.Resolver = resolver(t, "127.0.0.1", "10.0.0.1")
		e := httpcall.New(compile(t, config.HTTP{URL: strings.Replace(url, "127.0.0.1", "rebound.example", 1)}), o)
		defer e.Close()
		if _, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{}); err == nil || requests != 1 {
			t.Errorf("the second call reached the backend: %v, %d requests", err, requests)
		}
	})
}

// TestNumericHosts dials hosts that some resolvers read as addresses.
func TestNumericHosts(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"2130706433", "0177.0.0.1", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::]", "localhost"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.AllowLoopback = false
			// The contract refuses most of these; this shows that dialing would too.
			plan := compile(t, config.HTTP{URL: "http://backend.example"})
			plan.URL = compileURL(t, "http://"+host+":9")
			if plan.URL == nil {
				return
			}
			_, err := call(t, plan, o, tool.Call{}, nil)
			if err == nil {
				t.Error("it was dialed")
			}
			if strings.Contains(fmt.Sprint(err), "refuse") {
				t.Errorf("it was dialed: %v", err)
			}
		})
	}
}

// compileURL returns the URL of a plan, nil if the contract refuses it.
func compileURL(t *testing.T, url string) *config.URLTemplate {
	t.Helper()
	program, err := config.CompileWith(&config.Server{
		Name: "test", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
		Tools: []config.Tool{{Name: "get_order", Description: "A test.", HTTP: &config.HTTP{URL: url}}},
	}, config.CompileOptions{AllowLoopback: true})
	if err != nil {
		return nil
	}
	return program.Tools[0].HTTP.URL
}
