// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package httpcall

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
)

// rawBackend serves each connection with a function, which gets the connection's
// number, from 0.
type rawBackend struct {
	address string
	dialed  atomic.Int32
}

func serveRaw(t *testing.T, serve func(n int, c net.Conn)) *rawBackend {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &rawBackend{address: listener.Addr().String()}
	var group sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			n := int(b.dialed.Add(1)) - 1
			group.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				serve(n, c)
			})
		}
	})
	return b
}

// request is one to the backend.
func (b *rawBackend) request(ctx context.Context, t *testing.T, method string, header http.Header) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.address+"/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = nil
	if header != nil {
		r.Header = header
	}
	if method == http.MethodPost {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
		r.Body, _ = r.GetBody()
		r.ContentLength = 4
	}
	return r
}

// newLean returns the lean way to backends on this machine.
func newLean(t *testing.T) *lean {
	t.Helper()
	l, ok := newTransport(&config.HTTPPlan{Network: config.NetworkPublic}, Options{AllowLoopback: true, MaxConcurrency: 4}).(*lean)
	if !ok {
		t.Fatal("not lean")
	}
	t.Cleanup(l.CloseIdleConnections)
	return l
}

// hear reads one request of a backend, all of it.
func hear(t *testing.T, from *bufio.Reader) bool {
	t.Helper()
	r, err := http.ReadRequest(from)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

// outcome is what a caller sees of an answer.
type outcome struct {
	Status  int
	Body    string
	Trailer string
	Error   bool
}

// fetch asks once and reads all.
func fetch(t *testing.T, way http.RoundTripper, r *http.Request) (outcome, error) {
	t.Helper()
	response, err := way.RoundTrip(r)
	if err != nil {
		return outcome{Error: true}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return outcome{Status: response.StatusCode, Body: string(body), Trailer: response.Trailer.Get("X-T"), Error: err != nil}, err
}

// TestAnswersOnTheWire asks backends twice that answer in all ways, good and bad: what
// a caller sees is what net/http makes of it, and the connection is used again only
// after an answer that ended where it said.
func TestAnswersOnTheWire(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	hello := outcome{Status: 200, Body: "hello"}
	broken := func(status int, body string) outcome { return outcome{Status: status, Body: body, Error: true} }
	for _, tt := range []struct {
		name, method, answer string
		hangUp               bool
		want                 outcome
		kept                 bool
		// beyond says that more is sent than the answer, which net/http may take for the
		// next one if that is asked for at once.
		beyond bool
	}{
		{name: "length", answer: ok + "Content-Length: 5\r\n\r\nhello", want: hello, kept: true},
		{name: "nothing", answer: ok + "Content-Length: 0\r\n\r\n", want: outcome{Status: 200}, kept: true},
		{name: "chunks", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", want: hello, kept: true},
		{name: "trailer", answer: ok + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: t\r\n\r\n", want: outcome{Status: 200, Body: "hello", Trailer: "t"}, kept: true},
		{name: "length and chunks", answer: ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", want: hello, kept: true},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", want: outcome{Status: 204}, kept: true},
		{name: "304 with a length", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", want: outcome{Status: 304}, kept: true},
		{name: "HEAD", method: http.MethodHead, answer: ok + "Content-Length: 5\r\n\r\n", want: outcome{Status: 200}, kept: true},
		{name: "HEAD with chunks", method: http.MethodHead, answer: ok + "Transfer-Encoding: chunked\r\n\r\n", want: outcome{Status: 200}, kept: true},
		{name: "no phrase", answer: "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", want: hello, kept: true},
		{name: "no status", answer: "HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", want: outcome{Error: true}},
		{name: "line feeds", answer: "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", want: hello, kept: true},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", want: hello},
		{name: "HTTP/1.0, kept", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", want: hello, kept: true},
		{name: "close", answer: ok + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", want: hello},
		{name: "close without a body", answer: ok + "Connection: close\r\nContent-Length: 0\r\n\r\n", want: outcome{Status: 200}},
		{name: "to the end", answer: ok + "\r\nhello", hangUp: true, want: hello},
		{name: "length and the end", answer: ok + "Content-Length: 5\r\n\r\nhello", hangUp: true, want: hello},
		{name: "continue", answer: "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", want: hello, kept: true},
		{name: "early hints", answer: "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", want: hello, kept: true},
		{name: "another protocol", answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", hangUp: true, want: outcome{Status: 101}},
		{name: "status 99", answer: "HTTP/1.1 099 What\r\nContent-Length: 5\r\n\r\nhello", want: outcome{Status: 99, Body: "hello"}},

		{name: "more than the answer", beyond: true, answer: ok + "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\nforged", want: hello},
		{name: "more than the chunks", beyond: true, answer: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", want: hello},
		{name: "more than nothing", beyond: true, answer: "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", want: outcome{Status: 204}},
		{name: "a body after HEAD", beyond: true, method: http.MethodHead, answer: ok + "Content-Length: 5\r\n\r\nhello", want: outcome{Status: 200}},

		{name: "hung up", hangUp: true, want: outcome{Error: true}},
		{name: "hung up in the head", answer: ok + "Content-Le", hangUp: true, want: outcome{Error: true}},
		{name: "hung up in the body", answer: ok + "Content-Length: 9\r\n\r\nhello", hangUp: true, want: broken(200, "hello")},
		{name: "hung up in a chunk", answer: ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", hangUp: true, want: broken(200, "hello")},
		{name: "hung up between chunks", answer: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", hangUp: true, want: broken(200, "hello")},
		{name: "hung up in the trailer", answer: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: ", hangUp: true, want: broken(200, "hello")},
		{name: "garbage", answer: "hello?\r\n\r\n", hangUp: true, want: outcome{Error: true}},
		{name: "TLS", answer: "\x15\x03\x01\x00\x02\x02\x46\r\n", hangUp: true, want: outcome{Error: true}},
		{name: "two lengths", answer: ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", want: outcome{Error: true}},
		{name: "one length twice", answer: ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", want: hello, kept: true},
		{name: "a negative length", answer: ok + "Content-Length: -5\r\n\r\nhello", want: outcome{Error: true}},
		{name: "an encoding of transfers", answer: ok + "Transfer-Encoding: gzip, chunked\r\n\r\nhello", want: outcome{Error: true}},
		{name: "a bad chunk", answer: ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello", want: broken(200, "")},
		{name: "a bad chunk and no more", answer: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", want: broken(200, "hello")},
		{name: "a huge head", answer: ok + "X: " + strings.Repeat("x", maxHeaderBytes) + "\r\n\r\n", want: outcome{Error: true}},
		{name: "a large head", answer: ok + "Content-Length: 5\r\nX: " + strings.Repeat("x", maxHeaderBytes-200) + "\r\n\r\nhello", want: hello, kept: true},
		{name: "endless hints", answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxHeaderBytes/20), want: outcome{Error: true}},
		{name: "a long body", answer: ok + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), want: outcome{Status: 200, Body: strings.Repeat("x", 100000)}, kept: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.method == "" {
				tt.method = http.MethodGet
			}
			for _, way := range []string{"lean", "plain"} {
				if way == "plain" && tt.beyond {
					continue
				}
				b := serveRaw(t, func(_ int, c net.Conn) {
					from := bufio.NewReader(c)
					for hear(t, from) {
						if _, err := io.WriteString(c, tt.answer); err != nil || tt.hangUp {
							return
						}
					}
				})
				l := newLean(t)
				l.plain.DisableCompression = true
				var by transport = l
				if way == "plain" {
					by = l.plain
				}
				for range 2 {
					got, err := fetch(t, by, b.request(t.Context(), t, tt.method, nil))
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("%s: %v (-want +got):\n%s", way, err, diff)
					}
				}
				want := int32(2)
				if tt.kept {
					want = 1
				}
				// net/http gives up a connection if its goroutines are late.
				if n := b.dialed.Load(); n != want && (way != "plain" || n < want) {
					t.Errorf("%s: %d connections, want %d", way, n, want)
				}
				by.CloseIdleConnections()
			}
		})
	}
}

// TestNoAnswerIsAnothers has many calls at once, some of which end early, of a backend
// that answers with what it was asked, in pieces, and often with more behind it.
func TestNoAnswerIsAnothers(t *testing.T) {
	t.Parallel()
	var answered atomic.Int32
	b := serveRaw(t, func(_ int, c net.Conn) {
		for from := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(from)
			if err != nil {
				return
			}
			id := r.Header.Get("X-Id")
			answer := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(2*len(id)) + "\r\n\r\n" + id + id
			switch answered.Add(1) % 4 {
			case 0:
				send(c, answer+answer)
			case 1:
				send(c, answer[:20])
				runtime.Gosched()
				send(c, answer[20:])
			case 2:
				send(c, answer[:len(answer)-1])
				runtime.Gosched()
				send(c, answer[len(answer)-1:])
			default:
				send(c, answer)
			}
		}
	})
	l := newLean(t)
	var group sync.WaitGroup
	for caller := range 8 {
		group.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				early := i%5 == 4
				if early {
					go func() { runtime.Gosched(); cancel() }()
				}
				id := strconv.Itoa(caller) + "-" + strconv.Itoa(i)
				got, err := fetch(t, l, b.request(ctx, t, http.MethodGet, http.Header{"X-Id": {id}}))
				if early && err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("call %s ended with %v", id, err)
					}
				} else if got.Body != id+id {
					t.Errorf("call %s got %q, %v", id, got.Body, err)
				}
				cancel()
			}
		})
	}
	group.Wait()
}

// TestWhatIsSent compares, byte by byte, what both ways send, and what they refuse.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(r *http.Request)
		refused bool
	}{
		{name: "GET", change: func(*http.Request) {}},
		{name: "HEAD", change: func(r *http.Request) { r.Method = http.MethodHead }},
		{name: "DELETE", change: func(r *http.Request) { r.Method = http.MethodDelete }},
		{name: "no method", change: func(r *http.Request) { r.Method = "" }},
		{name: "another method", change: func(r *http.Request) { r.Method = "BREW" }},
		{name: "a bad method", refused: true, change: func(r *http.Request) { r.Method = "BR EW" }},
		{name: "POST", change: func(r *http.Request) { setBody(r, "hello") }},
		{name: "POST nothing", change: func(r *http.Request) { r.Method = http.MethodPost }},
		{name: "POST as much as is lean", change: func(r *http.Request) { setBody(r, strings.Repeat("x", maxLeanBody)) }},
		{name: "POST more", change: func(r *http.Request) { setBody(r, strings.Repeat("x", maxLeanBody+1)) }},
		{name: "POST chunks", change: func(r *http.Request) { setBody(r, "hello"); r.ContentLength = -1 }},
		{name: "less than announced", refused: true, change: func(r *http.Request) { setBody(r, "hello"); r.ContentLength = 6 }},
		{name: "more than announced", refused: true, change: func(r *http.Request) { setBody(r, "hello"); r.ContentLength = 4 }},
		{name: "headers", change: func(r *http.Request) {
			r.Header = http.Header{"X-A": {"1", "2 \t"}, "x-b": {"ü"}, "User-Agent": {"mine"}, "Accept-Encoding": {"br"}, "X.~": {"3"}}
		}},
		{name: "no user agent", change: func(r *http.Request) { r.Header.Set("User-Agent", "") }},
		{name: "headers that are ignored", change: func(r *http.Request) {
			r.Header = http.Header{"Host": {"evil.example"}, "Content-Length": {"7"}, "Transfer-Encoding": {"chunked"}, "Trailer": {"X"}}
		}},
		{name: "a bad name", refused: true, change: func(r *http.Request) { r.Header["X Y"] = []string{"1"} }},
		{name: "a name with a colon", refused: true, change: func(r *http.Request) { r.Header["X:Y"] = []string{"1"} }},
		{name: "an empty name", refused: true, change: func(r *http.Request) { r.Header[""] = []string{"1"} }},
		{name: "a line break", refused: true, change: func(r *http.Request) { r.Header["X-A"] = []string{"1\r\nX-B: 2"} }},
		{name: "a deletion", refused: true, change: func(r *http.Request) { r.Header["X-A"] = []string{"\x7f"} }},
		{name: "no header", refused: true, change: func(r *http.Request) { r.Header = nil }},
		{name: "another host", change: func(r *http.Request) { r.Host = "backend.example:80" }},
		{name: "a bad host", change: func(r *http.Request) { r.Host = "a b/c" }},
		{name: "a host with a line break", change: func(r *http.Request) { r.Host = "a\r\nX-B: 2" }},
		{name: "a host in Unicode", change: func(r *http.Request) { r.Host = "bücher.example" }},
		{name: "no host in the URL", refused: true, change: func(r *http.Request) { r.URL.Host = "" }},
		{name: "another scheme", refused: true, change: func(r *http.Request) { r.URL.Scheme = "ftp" }},
		{name: "escapes", change: func(r *http.Request) { r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/a/b", "/a%2Fb", "q=%20&r" }},
		{name: "no path", change: func(r *http.Request) { r.URL.Path = "" }},
		{name: "opaque", change: func(r *http.Request) { r.URL.Opaque = "//x/y" }},
		{name: "a control character", refused: true, change: func(r *http.Request) { r.URL.Opaque = "/x\x01" }},
		{name: "user info", change: func(r *http.Request) { r.URL.User = nil; r.URL, _ = r.URL.Parse("//me:pass@" + r.URL.Host + "/x") }},
		{name: "a fragment", change: func(r *http.Request) { r.URL.Fragment = "f" }},
		{name: "close", change: func(r *http.Request) { r.Close = true }},
		{name: "a large head", change: func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", maxLeanRequest)); setBody(r, "hello") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sent := [2]string{"-", "-"}
			var errs [2]error
			for i := range sent {
				heard := make(chan string, 4)
				b := serveRaw(t, func(_ int, c net.Conn) {
					var all bytes.Buffer
					if hear(t, bufio.NewReader(io.TeeReader(c, &all))) {
						heard <- all.String()
						_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
					}
				})
				l := newLean(t)
				l.plain.DisableCompression = true
				r := b.request(t.Context(), t, http.MethodGet, http.Header{})
				r.Host = "backend.example"
				tt.change(r)
				if i == 0 {
					_, errs[i] = fetch(t, l, r)
				} else {
					_, errs[i] = fetch(t, l.plain, r)
				}
				if errs[i] == nil {
					sent[i] = strings.ReplaceAll(<-heard, b.address, "ADDRESS")
				}
			}
			if diff := cmp.Diff(sent[1], sent[0]); diff != "" {
				t.Errorf("what is sent (-net/http +lean):\n%s", diff)
			}
			if (errs[0] != nil) != tt.refused || (errs[1] != nil) != tt.refused {
				t.Errorf("lean: %v, net/http: %v, want refused %t", errs[0], errs[1], tt.refused)
			}
		})
	}
}

// setBody gives a request a body.
func setBody(r *http.Request, body string) {
	r.Method = http.MethodPost
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
}

// TestStaleConnections has the backend close, reset, or talk on the connection that is
// kept, before it is used again: no caller sees anything of it, whatever it sends.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		then func(c net.Conn)
	}{
		{name: "closed", then: func(c net.Conn) { c.Close() }},
		{name: "closed for writing", then: func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }},
		{name: "reset", then: func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() }},
		{name: "a forged answer", then: func(c net.Conn) { send(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged") }},
		{name: "one byte", then: func(c net.Conn) { send(c, "\n") }},
		{name: "timeout", then: func(c net.Conn) { send(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"); c.Close() }},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				t.Parallel()
				answered, asked := make(chan struct{}), make(chan string, 4)
				b := serveRaw(t, func(n int, c net.Conn) {
					from := bufio.NewReader(c)
					for hear(t, from) {
						asked <- method
						send(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
						if n == 0 {
							<-answered
							tt.then(c)
						}
					}
				})
				l := newLean(t)
				for range 2 {
					got, err := fetch(t, l, b.request(t.Context(), t, method, nil))
					if got != (outcome{Status: 200, Body: "true"}) {
						t.Errorf("got %v, %v", got, err)
					}
					if n := len(l.idle.conns); n != 1 {
						t.Fatalf("%d connections are kept, want 1", n)
					}
					if b.dialed.Load() == 1 {
						close(answered)
						untilStale(t, l.idle.conns[0])
					}
				}
				if n, requests := b.dialed.Load(), len(asked); n != 2 || requests != 2 {
					t.Errorf("%d connections and %d requests, want 2 and 2", n, requests)
				}
			})
		}
	}
}

// send writes to a connection that the other side may have closed.
func send(c net.Conn, s string) { _, _ = io.WriteString(c, s) }

// untilStale waits for what the other side did to arrive, without reading it.
func untilStale(t *testing.T, c *conn) {
	t.Helper()
	if err := c.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return !errors.Is(err, syscall.EAGAIN)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestRetries has a connection break that was used before, when the second request is
// under way: it is sent again only if that does no harm, and once.
func TestRetries(t *testing.T) {
	t.Parallel()
	key := http.Header{"Idempotency-Key": {"k"}}
	for _, tt := range []struct {
		name, method string
		header       http.Header
		said         string // before it breaks
		always       bool   // Every connection breaks that way.
		fresh        bool   // The first one breaks.
		want         outcome
		requests     int32
	}{
		{name: "GET", method: http.MethodGet, want: outcome{Status: 200, Body: "true"}, requests: 3},
		{name: "HEAD", method: http.MethodHead, want: outcome{Status: 200}, requests: 3},
		{name: "DELETE", method: http.MethodDelete, want: outcome{Error: true}, requests: 2},
		{name: "POST", method: http.MethodPost, want: outcome{Error: true}, requests: 2},
		{name: "POST with a key", method: http.MethodPost, header: key, want: outcome{Status: 200, Body: "true"}, requests: 3},
		{name: "it had begun to answer", method: http.MethodGet, said: "H", want: outcome{Error: true}, requests: 2},
		{name: "all break", method: http.MethodGet, always: true, want: outcome{Error: true}, requests: 3},
		{name: "a fresh one breaks", method: http.MethodGet, fresh: true, want: outcome{Error: true}, requests: 1},
	} {
		for _, reset := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int32
				b := serveRaw(t, func(n int, c net.Conn) {
					from := bufio.NewReader(c)
					for i := 0; hear(t, from); i++ {
						requests.Add(1)
						if tt.fresh || n == 0 && i == 1 || n > 0 && tt.always {
							send(c, tt.said)
							if reset {
								_ = c.(*net.TCPConn).SetLinger(0)
							}
							return
						}
						body := "true"
						if tt.method == http.MethodHead {
							body = ""
						}
						send(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"+body)
					}
				})
				l := newLean(t)
				var got outcome
				var err error
				for i := range 2 {
					if tt.fresh && i == 1 {
						break
					}
					got, err = fetch(t, l, b.request(t.Context(), t, tt.method, tt.header))
				}
				if got != tt.want || requests.Load() != tt.requests {
					t.Errorf("reset %t: got %v (%v) after %d requests, want %v after %d", reset, got, err, requests.Load(), tt.want, tt.requests)
				}
			})
		}
	}
}

// TestEndOfACall cancels calls in each of their states: the caller gets its context's
// error, the backend sees the end, and nothing is kept.
func TestEndOfACall(t *testing.T) {
	t.Parallel()
	why := errors.New("why it ended")
	for _, tt := range []struct{ name, said string }{
		{name: "no answer"},
		{name: "in the status", said: "HTTP/1.1 2"},
		{name: "in the head", said: "HTTP/1.1 200 OK\r\nX: "},
		{name: "after hints", said: "HTTP/1.1 103 Early Hints\r\n\r\n"},
		{name: "in the body", said: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"},
		{name: "in chunks", said: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{name: "before the end of the connection", said: "HTTP/1.1 200 OK\r\n\r\nhello"},
	} {
		for _, how := range []string{"cancel", "cause", "deadline"} {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				t.Parallel()
				said, gone := make(chan struct{}), make(chan struct{})
				b := serveRaw(t, func(_ int, c net.Conn) {
					defer close(gone)
					hear(t, bufio.NewReader(c))
					send(c, tt.said)
					close(said)
					_, _ = c.Read(make([]byte, 1))
				})
				want := context.Canceled
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				switch how {
				case "cancel":
					go func() { <-said; cancel(nil) }()
				case "cause":
					go func() { <-said; cancel(why) }()
				case "deadline":
					want = context.DeadlineExceeded
					var stop context.CancelFunc
					ctx, stop = context.WithTimeoutCause(ctx, time.Second, why)
					defer stop()
				}
				l := newLean(t)
				_, err := fetch(t, l, b.request(ctx, t, http.MethodGet, nil))
				if !errors.Is(err, want) || how != "cancel" && !errors.Is(err, why) {
					t.Errorf("got %v, want %v", err, want)
				}
				select {
				case <-gone:
				case <-time.After(10 * time.Second):
					t.Error("the connection is still open")
				}
				if len(l.idle.conns) != 0 {
					t.Error("the connection is kept")
				}
			})
		}
	}
}

// TestWaitingCallsTakeNoGoroutine counts goroutines while calls wait for heads and for
// bodies, and after them; it is not parallel to others.
func TestWaitingCallsTakeNoGoroutine(t *testing.T) {
	const calls = 10
	for _, said := range []string{"", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"} {
		before := atRest()
		var lc net.ListenConfig
		listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l := newLean(t)
		b := &rawBackend{address: listener.Addr().String()}
		ended := make(chan error)
		for range calls {
			go func() {
				_, err := fetch(t, l, b.request(ctx, t, http.MethodGet, nil))
				ended <- err
			}()
		}
		conns := make([]net.Conn, calls)
		for i := range conns {
			if conns[i], err = listener.Accept(); err != nil {
				t.Fatal(err)
			}
			if !hear(t, bufio.NewReader(conns[i])) {
				t.Fatal("no request")
			}
			send(conns[i], said)
		}
		if n := goroutines(before + calls); n != before+calls {
			t.Errorf("%d goroutines for %d calls", n-before, calls)
		}
		cancel()
		for i := range conns {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if n, err := conns[i].Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("the connection of a cancelled call is open")
			}
			conns[i].Close()
		}
		listener.Close()
		if n := goroutines(before); n != before {
			t.Errorf("%d goroutines after the calls, %d before", n, before)
		}
	}
}

// goroutines returns the number of goroutines, once it is what is wanted or some time
// has passed.
func goroutines(want int) int {
	for range 200 {
		if runtime.NumGoroutine() == want {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	return runtime.NumGoroutine()
}

// atRest returns the number of goroutines, once those of other tests have gone.
func atRest() int {
	n := runtime.NumGoroutine()
	for since := 0; since < 20; since++ {
		<-time.After(10 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != n {
			n, since = now, 0
		}
	}
	return n
}

// TestOneConnection calls one after the other: one connection carries all, whatever
// their methods and answers.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if len(body) == 0 {
			w.WriteHeader(http.StatusNoContent)
		}
		_, _ = w.Write(body)
	}))
	defer s.Close()
	l := newLean(t)
	b := &rawBackend{address: s.Listener.Addr().String()}
	var first net.Conn
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if first == nil {
			first = info.Conn
		}
		if info.Conn != first {
			t.Error("another connection")
		}
	}})
	for i := range 300 {
		r := b.request(ctx, t, http.MethodGet, nil)
		want := ""
		if i%3 == 1 {
			want = strings.Repeat("x", 10*i+1)
			setBody(r, want)
		}
		if got, err := fetch(t, l, r); err != nil || got.Body != want {
			t.Fatalf("call %d: got %d bytes, %v", i, len(got.Body), err)
		}
	}
}

// greetOnce is a backend that answers one request with hello; gone is closed when its
// caller has closed the connection.
func greetOnce(t *testing.T) (b *rawBackend, gone <-chan struct{}) {
	t.Helper()
	left := make(chan struct{})
	b = serveRaw(t, func(_ int, c net.Conn) {
		defer close(left)
		hear(t, bufio.NewReader(c))
		send(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		_, _ = c.Read(make([]byte, 1))
	})
	return b, left
}

// TestCloseBeforeTheEnd drops an answer that has not been read: its connection goes.
func TestCloseBeforeTheEnd(t *testing.T) {
	t.Parallel()
	b, gone := greetOnce(t)
	l := newLean(t)
	response, err := l.RoundTrip(b.request(t.Context(), t, http.MethodGet, nil))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if n, err := response.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("read %d bytes after the end: %v", n, err)
	}
	<-gone
	if len(l.idle.conns) != 0 {
		t.Error("the connection is kept")
	}
}

// TestEndBeforeTheRest cancels a call whose answer is there and not read: it can be read
// still, but the connection is closed and not kept.
func TestEndBeforeTheRest(t *testing.T) {
	t.Parallel()
	b, gone := greetOnce(t)
	ctx, cancel := context.WithCancel(t.Context())
	l := newLean(t)
	response, err := l.RoundTrip(b.request(ctx, t, http.MethodGet, nil))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-gone
	if body, err := io.ReadAll(response.Body); string(body) != "hello" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	response.Body.Close()
	if len(l.idle.conns) != 0 {
		t.Error("the connection is kept")
	}
}

// TestIdleConnections puts connections one after the other: each is closed after its
// time, by one timer, which does not run when there is nothing to close.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := &idleConns{limit: 2}
		var mu sync.Mutex
		closed := make(map[string]time.Duration)
		began := time.Now()
		put := func(name string) bool {
			return pool.put(&conn{host: name, abort: func() {
				mu.Lock()
				defer mu.Unlock()
				closed[name] = time.Since(began)
			}})
		}
		if !put("a") {
			t.Error("a is not kept")
		}
		<-time.After(time.Minute)
		if !put("b") || put("c") {
			t.Error("b is not kept, or c is")
		}
		<-time.After(time.Hour)
		synctest.Wait()
		want := map[string]time.Duration{"a": idleTimeout, "b": time.Minute + idleTimeout}
		if diff := cmp.Diff(want, closed); diff != "" {
			t.Errorf("closed (-want +got):\n%s", diff)
		}
		if pool.armed {
			t.Error("the timer is armed")
		}
		put("d")
		pool.close()
		if _, ok := closed["d"]; !ok || pool.armed || pool.timer.Stop() {
			t.Error("d is kept, or the timer")
		}
		put("e")
		if !pool.armed {
			t.Error("e would be kept forever")
		}
		if c := pool.pop("f"); c != nil {
			t.Errorf("got a connection to %s", c.host)
		}
		if c := pool.pop("e"); c == nil {
			t.Error("e is lost")
		}
		pool.close()
	})
}

// TestUnpack reads answers of backends that compress whether they are asked to or not.
func TestUnpack(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, "hello")
	_ = z.Close()
	for _, tt := range []struct {
		name, stream, encoding, body string
		header                       http.Header
		want                         outcome
	}{
		{name: "gzip", encoding: "GZip", body: packed.String(), want: outcome{Status: 200, Body: "hello"}},
		{name: "broken gzip", encoding: "gzip", body: "hello", want: outcome{Status: 200, Error: true}},
		{name: "cut gzip", encoding: "gzip", body: packed.String()[:packed.Len()-9], want: outcome{Status: 200, Body: "hello", Error: true}},
		{name: "nothing", encoding: "gzip", want: outcome{Status: 200}},
		{name: "no chunk", encoding: "gzip\r\nTransfer-Encoding: chunked", body: "0\r\n\r\n", want: outcome{Status: 200}},
		{name: "asked for", encoding: "gzip", header: http.Header{"Accept-Encoding": {"gzip"}}, body: packed.String(), want: outcome{Status: 200, Body: packed.String()}},
		{name: "a stream", stream: config.StreamSSE, encoding: "gzip", body: packed.String(), want: outcome{Status: 200, Body: packed.String()}},
		{name: "another", encoding: "br", body: "hello", want: outcome{Status: 200, Body: "hello"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := serveRaw(t, func(_ int, c net.Conn) {
				for from := bufio.NewReader(c); hear(t, from); {
					send(c, "HTTP/1.1 200 OK\r\nContent-Encoding: "+tt.encoding+"\r\nContent-Length: "+strconv.Itoa(len(tt.body))+"\r\n\r\n"+tt.body)
				}
			})
			l := newLean(t)
			l.unpack = tt.stream == ""
			for range 2 {
				if got, err := fetch(t, l, b.request(t.Context(), t, http.MethodGet, tt.header)); got != tt.want {
					t.Errorf("got %v, %v, want %v", got, err, tt.want)
				}
			}
		})
	}
}
