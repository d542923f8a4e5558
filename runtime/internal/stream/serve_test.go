// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pipes is a listener of in-memory connections without any buffer, which work
// with fake time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// open serves out to one client inside a bubble and returns the client's
// connection, after the request was sent, and where Serve's result appears.
func open(t *testing.T, out *Outbox, opts Options) (client net.Conn, result <-chan CloseReason) {
	t.Helper()
	results := make(chan CloseReason, 1)
	listener := newPipes()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		results <- Serve(w, r, out, opts)
	}), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	client = listener.dial(t)
	t.Cleanup(func() { client.Close() })
	if _, err := io.WriteString(client, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return client, results
}

func readUntil(t *testing.T, r *bufio.Reader, mark string) string {
	t.Helper()
	var got bytes.Buffer
	for !bytes.HasSuffix(got.Bytes(), []byte(mark)) {
		if got.Len() > 64<<10 {
			t.Fatalf("no %q in %q", mark, got.Bytes()[:200])
		}
		c, err := r.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q, waiting for %q", err, got.String(), mark)
		}
		got.WriteByte(c)
	}
	return got.String()
}

func TestServeSendsTheHeadAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := NewOutbox(0, nil)
		client, _ := open(t, out, Options{Head: http.Header{"Mcp-Session-Id": {"abc"}}})
		began := time.Now()
		response, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the head came after %v", waited)
		}
		want := map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform",
			"X-Accel-Buffering": "no", "Mcp-Session-Id": "abc",
		}
		got := map[string]string{}
		for name := range want {
			got[name] = response.Header.Get(name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("head (-want +got):\n%s", diff)
		}
	})
}

func TestServeWritesWhatPiledUpInOneWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := NewOutbox(0, nil)
		for _, word := range []string{"a", "b"} {
			if err := out.Send(t.Context(), Message{Data: []byte(word), Event: "message"}); err != nil {
				t.Fatal(err)
			}
		}
		out.Mark(2)
		client, _ := open(t, out, Options{
			First:  &Message{Event: "endpoint", Data: []byte("messages")},
			Render: func(bits uint32) []Message { return []Message{{Data: []byte{'0' + byte(bits)}}} },
		})
		r := bufio.NewReader(client)
		readUntil(t, r, "\r\n\r\n")
		want := "20\r\nevent: endpoint\ndata: messages\n\n\r\n"
		if got := readUntil(t, r, want); got != want {
			t.Errorf("first chunk %q, want %q", got, want)
		}
		want = "39\r\nevent: message\ndata: a\n\nevent: message\ndata: b\n\ndata: 2\n\n\r\n"
		if got := readUntil(t, r, want); got != want {
			t.Errorf("second chunk %q, want %q", got, want)
		}
	})
}

func TestServeHeartbeatsOnlyWhenQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := NewOutbox(0, nil)
		client, _ := open(t, out, Options{Heartbeat: 15 * time.Second})
		r := bufio.NewReader(client)
		readUntil(t, r, "\r\n\r\n")
		began := time.Now()
		go func() {
			time.Sleep(10 * time.Second) //nolint:forbidigo // Fake time inside a bubble.
			if err := out.Send(t.Context(), Message{Data: []byte("x")}); err != nil {
				t.Error(err)
			}
		}()
		readUntil(t, r, "data: x\n\n\r\n")
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("the message came after %v", got)
		}
		for _, want := range []time.Duration{25 * time.Second, 40 * time.Second} {
			if got := readUntil(t, r, "\n\n\r\n"); got != "8\r\n: ping\n\n\r\n" {
				t.Errorf("read %q, want a comment", got)
			}
			if got := time.Since(began); got != want {
				t.Errorf("a heartbeat after %v, want %v", got, want)
			}
		}
	})
}

func TestServeEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		act   func(t *testing.T, out *Outbox, client net.Conn)
		want  CloseReason
		after time.Duration
	}{
		{name: "client hangs up", act: func(_ *testing.T, _ *Outbox, client net.Conn) { client.Close() }, want: ClientGone},
		{name: "client stops reading", act: func(t *testing.T, out *Outbox, _ net.Conn) {
			t.Helper()
			if err := out.Send(t.Context(), Message{Data: []byte("x")}); err != nil {
				t.Error(err)
			}
		}, want: WriteTimeout, after: 10 * time.Second},
		{name: "client misses a heartbeat", act: func(*testing.T, *Outbox, net.Conn) {}, want: WriteTimeout, after: 25 * time.Second},
		{name: "drain", act: func(_ *testing.T, out *Outbox, _ net.Conn) { out.Close(Drain) }, want: Drain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				out := NewOutbox(0, nil)
				client, result := open(t, out, Options{})
				readUntil(t, bufio.NewReader(client), "\r\n\r\n")
				synctest.Wait() // The head's write is over: what follows does not cut it.
				began := time.Now()
				tt.act(t, out, client)
				if got := <-result; got != tt.want {
					t.Errorf("Serve = %q, want %q", got, tt.want)
				}
				if got := time.Since(began); got != tt.after {
					t.Errorf("Serve returned after %v, want %v", got, tt.after)
				}
				if got := out.Reason(); got != tt.want {
					t.Errorf("Reason() = %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// A client that does not read loses its connection at the deadline, also while its
// request still has a call to wait for.
func TestServeCutsAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener, finish := newPipes(), make(chan struct{})
		out := NewOutbox(0, nil)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			go Serve(w, r, out, Options{})
			<-finish
		})}
		go server.Serve(listener) //nolint:errcheck // Its end is Close.
		defer server.Close()
		defer close(finish)
		client := listener.dial(t)
		defer client.Close()
		if _, err := io.WriteString(client, "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-out.Done()
		synctest.Wait()
		if took := time.Since(began); out.Reason() != WriteTimeout || took != DefaultWriteTimeout {
			t.Errorf("the stream ended after %v: %s, want %v: %s", took, out.Reason(), DefaultWriteTimeout, WriteTimeout)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the client reads %v, want the end", err)
		}
	})
}

// A deadline that was left behind would fail the first write after it.
func TestServeClearsItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := NewOutbox(0, nil)
		client, _ := open(t, out, Options{Heartbeat: time.Hour, WriteTimeout: time.Second})
		r := bufio.NewReader(client)
		readUntil(t, r, "\r\n\r\n")
		readUntil(t, r, ": ping\n\n\r\n")
		readUntil(t, r, ": ping\n\n\r\n")
		if got := out.Reason(); got != "" {
			t.Errorf("a healthy stream ended: %q", got)
		}
	})
}

func TestServeFlushesBeforeItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := NewOutbox(0, nil)
		if err := out.Send(t.Context(), Message{Data: []byte("last")}); err != nil {
			t.Fatal(err)
		}
		out.Mark(1)
		out.CloseWith(Drain, Message{Data: []byte("bye")})
		client, result := open(t, out, Options{Render: func(uint32) []Message { return []Message{{Data: []byte("changed")}} }})
		response, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != "data: last\n\ndata: changed\n\ndata: bye\n\n" {
			t.Errorf("body %q, %v", body, err)
		}
		if got := <-result; got != Drain {
			t.Errorf("Serve = %q", got)
		}
	})
}

type recorder struct {
	mu    sync.Mutex
	lines []string
	bytes int
}

func (r *recorder) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}
func (r *recorder) StreamOpened(transport string) { r.add("opened " + transport) }
func (r *recorder) StreamClosed(transport string, reason CloseReason, lived time.Duration) {
	r.add("closed " + transport + " " + string(reason) + " " + lived.String())
}

func (r *recorder) OutboxBytes(delta int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += delta
}

func (r *recorder) MessageWritten(kind string, queued time.Duration) {
	r.add("written " + kind + " " + queued.String())
}

func TestServeTellsItsObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		out := NewOutbox(0, seen.OutboxBytes)
		if err := out.Send(t.Context(), Message{Data: []byte("x"), Kind: "response"}); err != nil {
			t.Fatal(err)
		}
		if seen.bytes != 1+overhead {
			t.Errorf("%d bytes are queued, want %d", seen.bytes, 1+overhead)
		}
		time.Sleep(time.Second) //nolint:forbidigo // Fake time inside a bubble.
		client, result := open(t, out, Options{Transport: "sse", Observer: seen})
		readUntil(t, bufio.NewReader(client), "data: x\n\n\r\n")
		synctest.Wait()
		client.Close()
		<-result
		want := []string{"opened sse", "written response 1s", "closed sse client_gone 0s"}
		if !slices.Equal(seen.lines, want) || seen.bytes != 0 {
			t.Errorf("observed %q and %d bytes left, want %q", seen.lines, seen.bytes, want)
		}
	})
}
