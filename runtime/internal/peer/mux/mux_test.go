// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// long is how long a test waits for what should come at once.
const long = 20 * time.Second

// pair connects two ends over loopback, of which one serves h until the test ends.
func pair(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	asks, answers := sockets(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		Serve(ctx, answers, ServerOptions{Handler: h, Logger: slog.New(slog.DiscardHandler)})
		close(served)
	}()
	c := NewClient(asks)
	t.Cleanup(func() {
		c.Close()
		c.Wait()
		cancel()
		<-served
	})
	return c
}

func sockets(t *testing.T) (one, other net.Conn) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var d net.Dialer
	if one, err = d.DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if other, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		one.Close()
		other.Close()
	})
	return one, other
}

func do(t *testing.T, c *Client, q *Request) *Response {
	t.Helper()
	a, _, err := c.Do(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestARequestAndItsAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		body, answer int
	}{
		{name: "small", body: 10, answer: 20},
		{name: "empty"},
		{name: "a frame", body: maxData, answer: maxData},
		{name: "a frame and one", body: maxData + 1, answer: maxData + 1},
		{name: "a window", body: window, answer: window},
		{name: "larger than all windows", body: 3<<20 + 7, answer: 5<<20 + 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := pair(t, func(w http.ResponseWriter, r *http.Request) {
				got, err := io.ReadAll(r.Body)
				if err != nil || len(got) != tt.body || r.ContentLength != int64(tt.body) {
					t.Errorf("the handler read %d bytes of %d, %v", len(got), r.ContentLength, err)
				}
				if diff := cmp.Diff([]string{"POST", "/mcp", "a=b", "one,two"}, []string{r.Method, r.URL.Path, r.URL.RawQuery, strings.Join(r.Header["X-Some"], ",")}); diff != "" {
					t.Error(diff)
				}
				w.Header().Add("X-Answer", "1")
				w.Header().Add("X-Answer", "2")
				w.WriteHeader(http.StatusTeapot)
				if n, err := w.Write(bytes.Repeat([]byte("x"), tt.answer)); n != tt.answer || err != nil {
					t.Errorf("Write = %d, %v", n, err)
				}
			})
			a := do(t, c, &Request{
				Method: http.MethodPost, Target: "/mcp?a=b", Body: bytes.Repeat([]byte("y"), tt.body),
				Header: http.Header{"X-Some": {"one", "two"}, "Content-Length": {fmt.Sprint(tt.body)}},
			})
			got, err := io.ReadAll(a)
			if err != nil || len(got) != tt.answer || a.Status != http.StatusTeapot {
				t.Errorf("status %d, %d bytes, %v", a.Status, len(got), err)
			}
			if diff := cmp.Diff(http.Header{"X-Answer": {"1", "2"}}, a.Header); diff != "" {
				t.Error(diff)
			}
			if n := c.Busy(); n != 1 {
				t.Errorf("%d requests run before Close", n)
			}
			a.Close()
			if n := c.Busy(); n != 0 {
				t.Errorf("%d requests run after Close", n)
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	c := pair(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	var running sync.WaitGroup
	for i := range 64 {
		running.Go(func() {
			for j := range 20 {
				want := strings.Repeat(fmt.Sprint(i, j), 1+j*700)
				a, _, err := c.Do(t.Context(), &Request{Method: http.MethodPost, Target: "/", Body: []byte(want)})
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(a)
				a.Close()
				if err != nil || string(got) != want {
					t.Errorf("%d bytes instead of %d, %v", len(got), len(want), err)
				}
			}
		})
	}
	running.Wait()
	if n := c.Busy(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// What is flushed arrives although the answer goes on.
func TestAStreamArrivesPieceByPiece(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	c := pair(t, func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		if err := control.Flush(); err != nil {
			t.Error(err)
		}
		for text := range next {
			_, _ = io.WriteString(w, text)
			if err := control.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	a := do(t, c, &Request{Method: http.MethodGet, Target: "/"})
	b := make([]byte, 100)
	for _, text := range []string{"one", "two"} {
		next <- text
		if n, err := a.Read(b); err != nil || string(b[:n]) != text {
			t.Fatalf("Read = %q, %v", b[:n], err)
		}
	}
	close(next)
	if n, err := a.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("Read = %d, %v", n, err)
	}
}

func within(t *testing.T, what string, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(long):
		t.Fatal(what)
	}
}

// Each is a way in which a request ends before its time, of which the handler
// learns.
func TestTheHandlerLearnsThatNobodyWaits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(c *Client, a *Response, cancel func())
	}{
		{name: "closed", end: func(_ *Client, a *Response, _ func()) { a.Close() }},
		{name: "context", end: func(_ *Client, _ *Response, cancel func()) { cancel() }},
		{name: "connection", end: func(c *Client, _ *Response, _ func()) { c.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			c := pair(t, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				if _, err := w.Write(make([]byte, maxBuffered)); err == nil {
					t.Error("Write went on")
				}
				close(gone)
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a, _, err := c.Do(ctx, &Request{Method: http.MethodGet, Target: "/"})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			tt.end(c, a, cancel)
			within(t, "the handler goes on", gone)
		})
	}
}

func TestARequestWithoutAnAnswerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := pair(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, sent, err := c.Do(ctx, &Request{Method: http.MethodGet, Target: "/"}); !sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Do = %t, %v", sent, err)
	}
	if n := c.Busy(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

// A side that does not read holds up its own answer alone, and no more of it than a
// window.
func TestAStuckReaderHoldsNobodyElseUp(t *testing.T) {
	t.Parallel()
	wrote, ended := make(chan int, 1), make(chan error, 1)
	c := pair(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		total := 0
		for {
			n, err := w.Write(make([]byte, maxBuffered))
			if total += n; err != nil {
				wrote <- total
				ended <- err
				return
			}
		}
	})
	stuck := do(t, c, &Request{Method: http.MethodGet, Target: "/stuck"})
	for range 10 {
		if a := do(t, c, &Request{Method: http.MethodGet, Target: "/quick"}); a.Status != http.StatusOK {
			t.Errorf("status %d", a.Status)
		}
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the writer ended with %v", err)
	}
	if n := <-wrote; n > window+2*maxBuffered {
		t.Errorf("%d bytes were written to who does not read", n)
	}
	if got, err := io.ReadAll(stuck); len(got) > window || !errors.Is(err, ErrReset) {
		t.Errorf("ReadAll = %d bytes, %v", len(got), err)
	}
}

func TestAnAnswerBeforeTheWholeRequest(t *testing.T) {
	t.Parallel()
	c := pair(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	for range 20 {
		if a := do(t, c, &Request{Method: http.MethodPost, Target: "/", Body: make([]byte, 1<<20)}); a.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", a.Status)
		}
	}
}

func TestAPanicEndsItsAnswerAlone(t *testing.T) {
	t.Parallel()
	c := pair(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/bug" {
			panic("a bug")
		}
	})
	if _, sent, err := c.Do(t.Context(), &Request{Method: http.MethodGet, Target: "/bug"}); !sent || !errors.Is(err, ErrReset) {
		t.Errorf("Do = %t, %v", sent, err)
	}
	if got, err := io.ReadAll(do(t, c, &Request{Method: http.MethodGet, Target: "/abort"})); !errors.Is(err, ErrReset) {
		t.Errorf("ReadAll = %q, %v", got, err)
	}
	if a := do(t, c, &Request{Method: http.MethodGet, Target: "/"}); a.Status != http.StatusOK {
		t.Errorf("status %d", a.Status)
	}
}

func TestNothingIsSentOnAConnectionThatHasEnded(t *testing.T) {
	t.Parallel()
	c := pair(t, func(http.ResponseWriter, *http.Request) {})
	c.Close()
	if _, sent, err := c.Do(t.Context(), &Request{Method: http.MethodGet, Target: "/"}); sent || !errors.Is(err, ErrClosed) {
		t.Errorf("Do = %t, %v", sent, err)
	}
}

// Whoever breaks the protocol loses the connection, and nothing else happens.
func TestWhatIsNoFrameEndsTheConnection(t *testing.T) {
	t.Parallel()
	frame := func(k kind, id uint32, payload ...byte) []byte {
		return append(appendFrameHead(nil, k, id, len(payload)), payload...)
	}
	h := (&head{first: "GET", second: "/", fields: http.Header{}}).append(nil)
	get := append([]byte{byte(len(h))}, h...)
	for _, tt := range []struct {
		name string
		send []byte
	}{
		{name: "another protocol", send: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{name: "too long", send: []byte{0xff, 0xff, 0xff, byte(kindData), 0, 0, 0, 0}},
		{name: "unknown kind", send: append(frame(kindHead, 1, get...), frame(9, 1)...)},
		{name: "no head", send: frame(kindHead, 1)},
		{name: "a head that is cut", send: frame(kindHead, 1, get[:len(get)-1]...)},
		{name: "twice the same", send: append(frame(kindHead, 1, get...), frame(kindHead, 1, get...)...)},
		{name: "after the end", send: append(frame(kindHead|last, 1, get...), frame(kindData, 1, 1)...)},
		{name: "more than the window", send: append(frame(kindHead, 1, get...), bytes.Repeat(frame(kindData, 1, make([]byte, maxData)...), 5)...)},
		{name: "a window without a number", send: append(frame(kindHead, 1, get...), frame(kindWindow, 1)...)},
		{name: "a window beyond all", send: append(frame(kindHead, 1, get...), frame(kindWindow, 1, 0xff, 0xff, 0xff, 0xff)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asks, answers := sockets(t)
			served := make(chan struct{})
			go func() {
				defer close(served)
				Serve(t.Context(), answers, ServerOptions{
					Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
					Logger:  slog.New(slog.DiscardHandler),
				})
			}()
			if _, err := asks.Write(tt.send); err != nil {
				t.Fatal(err)
			}
			within(t, "the connection goes on", served)
		})
	}
}

func FuzzHead(f *testing.F) {
	f.Add((&head{first: "POST", second: "/mcp?a=b", fields: http.Header{"A": {"b", "c"}, "D": {""}}}).append(nil))
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		h, data, err := parseHead(append(uvarint(nil, len(encoded)), encoded...))
		if err != nil {
			return
		}
		if len(data) != 0 {
			t.Fatalf("%d bytes are left", len(data))
		}
		again, _, err := parseHead(append(uvarint(nil, len(h.append(nil))), h.append(nil)...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, again, cmp.AllowUnexported(head{})); diff != "" {
			t.Fatal(diff)
		}
	})
}
