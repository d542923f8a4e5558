// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/internal/poll"
)

// long is how long a test waits for what should come at once.
const long = 20 * time.Second

// harbour is a Host behind a server of net/http.
type harbour struct {
	host   *Host
	poller *poll.Poller
	addr   string
	// requests are the streams that the next requests open, in order.
	requests chan *leanTest
	// returned are the connections of answers that were written.
	returned chan returned
}

// returned is what HostOptions.Return gets.
type returned struct {
	conn  *net.TCPConn
	ahead []byte
}

// leanTest is one stream and its client.
type leanTest struct {
	out    *Outbox
	opts   Options
	ended  chan CloseReason
	answer bool
	client *net.TCPConn
	read   *bufio.Reader
}

// narrow accepts connections that hold little, so that a client that does not
// read is noticed after a few KiB.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return c, err
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	poller, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &harbour{poller: poller, requests: make(chan *leanTest, 1024), returned: make(chan returned, 1024)}
	h.host = NewHost(HostOptions{Poller: poller, Return: func(c *net.TCPConn, ahead []byte) {
		t.Cleanup(func() { _ = c.Close() })
		h.returned <- returned{c, ahead}
	}})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Request-Id", "7")
		l := <-h.requests
		serve := h.host.Serve
		if l.answer {
			serve = h.host.Answer
		}
		serve(w, r, l.out, l.opts, func(reason CloseReason) { l.ended <- reason })
	}))
	server.Listener = narrow{server.Listener}
	server.Start()
	h.addr = server.Listener.Addr().String()
	t.Cleanup(func() {
		h.cut(t)
		server.Close()
		if err := poller.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// cut closes the host without patience.
func (h *harbour) cut(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cancel()
	if err := h.host.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// dial connects a client that holds little.
func (h *harbour) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		})
	}}
	c, err := dialer.DialContext(t.Context(), "tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(long)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// open opens a stream and reads its head.
func (h *harbour) open(t *testing.T, out *Outbox, opts Options) *leanTest {
	t.Helper()
	l := &leanTest{out: out, opts: opts, ended: make(chan CloseReason, 2), client: h.dial(t)}
	h.requests <- l
	if _, err := io.WriteString(l.client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	l.read = bufio.NewReaderSize(l.client, 16)
	readUntil(t, l.read, "\r\n\r\n")
	eventually(t, "the stream is open", func() bool {
		l.out.mu.Lock()
		defer l.out.mu.Unlock()
		return l.out.writer != nil && !l.out.busy || l.out.reason != ""
	})
	return l
}

// reason waits for the end of the stream.
func (l *leanTest) reason(t *testing.T) CloseReason {
	t.Helper()
	select {
	case got := <-l.ended:
		return got
	case <-time.After(long):
		t.Fatal("the stream did not end")
		return ""
	}
}

// reads wants the client to read exactly that, now.
func (l *leanTest) reads(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(l.read, got); err != nil || string(got) != want {
		t.Errorf("read %s, %v, want %s", short(string(got[:n])), err, short(want))
	}
}

// closed wants the client to have read everything, and the connection to have
// ended cleanly: an error would be a reset.
func (l *leanTest) closed(t *testing.T, want string) {
	t.Helper()
	rest, err := io.ReadAll(l.read)
	if err != nil || string(rest) != want {
		t.Errorf("read %s, %v; want %s and a clean end", short(string(rest)), err, short(want))
	}
}

func short(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%q… (%d bytes)", s[:200], len(s))
	}
	return strconv.Quote(s)
}

func send(t *testing.T, out *Outbox, data string) {
	t.Helper()
	if err := out.Send(t.Context(), Message{Data: []byte(data), Kind: "x"}); err != nil {
		t.Error(err)
	}
}

// eventually waits for a condition that comes true by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come true: " + what)
		}
	}
}

func TestLeanHead(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	l := &leanTest{out: NewOutbox(0, nil), ended: make(chan CloseReason, 1), client: h.dial(t)}
	l.opts = Options{Head: http.Header{"Mcp-Session-Id": {"a\r\nb"}}, First: &Message{Event: "endpoint", Data: []byte("messages")}}
	l.out.Close(Completed)
	h.requests <- l
	if _, err := io.WriteString(l.client, "POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(l.client)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err != nil || time.Since(date) > time.Minute {
		t.Errorf("Date: %q", response.Header.Get("Date"))
	}
	response.Header.Del("Date")
	want := http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache, no-transform"}, "X-Accel-Buffering": {"no"},
		"Mcp-Session-Id": {"a  b"}, "X-Request-Id": {"7"}, "Connection": {"close"},
	}
	if diff := cmp.Diff(want, response.Header); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
	body, err := io.ReadAll(response.Body)
	if response.Proto != "HTTP/1.0" || string(body) != "event: endpoint\ndata: messages\n\n" || err != nil {
		t.Errorf("%s, body %q, %v", response.Proto, body, err)
	}
	if got := l.reason(t); got != Completed {
		t.Errorf("reason %q", got)
	}
}

// counting gives ids in the order in which messages leave.
type counting struct{ n int }

func (c *counting) Keep(id []byte, _ *Message) []byte {
	c.n++
	return strconv.AppendInt(id, int64(c.n), 10)
}

func TestLeanWrites(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	seen := &recorder{}
	out := NewOutbox(0, seen.OutboxBytes)
	send(t, out, "before")
	l := h.open(t, out, Options{
		Transport: "sse", Observer: seen, Log: &counting{}, First: &Message{Data: []byte("first")},
		Render: func(bits uint32) []Message { return []Message{{Data: fmt.Append(nil, bits), Kind: "bits"}} },
	})
	l.reads(t, "data: first\n\nid: 1\ndata: before\n\n")
	send(t, out, "a")
	l.reads(t, "id: 2\ndata: a\n\n")
	out.Mark(3)
	l.reads(t, "id: 3\ndata: 3\n\n")
	large := strings.Repeat("x", 1<<20)
	for _, m := range []Message{{Data: []byte(large), Kind: "x"}, {Data: []byte("b"), Kind: "x"}} {
		go func() { _ = out.Send(context.WithoutCancel(t.Context()), m) }()
		if string(m.Data) != "b" {
			eventually(t, "the large one is queued", func() bool { return out.Bytes() > 1<<20 })
		}
	}
	l.reads(t, "id: 4\ndata: "+large+"\n\nid: 5\ndata: b\n\n")
	out.CloseWith(Drain, Message{Data: []byte("bye"), Kind: "last"})
	l.closed(t, "id: 6\ndata: bye\n\n")
	if got := l.reason(t); got != Drain {
		t.Errorf("reason %q", got)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	var kinds []string
	for _, line := range seen.lines {
		fields := strings.Fields(line)
		kinds = append(kinds, strings.Join(fields[:len(fields)-1], " "))
	}
	// "opened" has no time.
	want := []string{"opened", "written x", "written x", "written bits", "written x", "written x", "written last", "closed sse drain"}
	if diff := cmp.Diff(want, kinds); diff != "" || seen.bytes != 0 {
		t.Errorf("%d bytes are still queued; observed (-want +got):\n%s", seen.bytes, diff)
	}
	if h.poller.Watched() != 0 {
		t.Error("the ended stream is still watched")
	}
}

func TestLeanFindsThatTheClientIsGone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		act  func(c *net.TCPConn) error
	}{
		{name: "closed", act: (*net.TCPConn).Close},
		{name: "half-closed", act: (*net.TCPConn).CloseWrite},
		{name: "reset", act: func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }},
		{name: "speaks", act: func(c *net.TCPConn) error { _, err := c.Write([]byte("GET / HTTP/1.1\r\n")); return err }},
	}
	// stuck has a writer wait for a client that does not read.
	for _, stuck := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, stuck %v", tt.name, stuck), func(t *testing.T) {
				t.Parallel()
				h := newHarbour(t)
				l := h.open(t, NewOutbox(0, nil), Options{WriteTimeout: time.Hour})
				if stuck {
					send(t, l.out, strings.Repeat("x", 8<<20))
				}
				if err := tt.act(l.client); err != nil {
					t.Fatal(err)
				}
				if got := l.reason(t); got != ClientGone {
					t.Errorf("reason %q, want %q", got, ClientGone)
				}
				if got := l.out.Bytes(); got != 0 {
					t.Errorf("%d bytes are still held", got)
				}
				eventually(t, "nothing is watched", func() bool { return h.poller.Watched() == 0 })
			})
		}
	}
}

// A request that follows the first one at once is seen before any watch.
func TestLeanEndsForAPipelinedRequest(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	l := &leanTest{out: NewOutbox(0, nil), ended: make(chan CloseReason, 1), client: h.dial(t)}
	h.requests <- l
	if _, err := io.WriteString(l.client, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2)); err != nil {
		t.Fatal(err)
	}
	if got := l.reason(t); got != ClientGone {
		t.Errorf("reason %q, want %q", got, ClientGone)
	}
}

// The number of a descriptor that was closed belongs to somebody else at once.
func TestLeanLeavesReusedDescriptorsAlone(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	numbers := map[uintptr]bool{}
	reused := false
	for range 50 {
		before := h.open(t, NewOutbox(0, nil), Options{})
		old := h.streams()[0]
		token := old.token
		if err := old.raw.Control(func(fd uintptr) { numbers[fd] = true }); err != nil {
			t.Fatal(err)
		}
		before.out.Close(Completed)
		before.reason(t)
		if err := before.client.Close(); err != nil {
			t.Fatal(err)
		}
		after := h.open(t, NewOutbox(0, nil), Options{})
		if err := h.streams()[0].raw.Control(func(fd uintptr) { reused = reused || numbers[fd] }); err != nil {
			t.Fatal(err)
		}
		// Whatever comes late for the old stream must not reach the new one.
		h.poller.Forget(token)
		old.interrupt()
		old.Ready(token, poll.HungUp)
		before.out.Mark(1)
		if err := h.poller.Arm(token); err == nil {
			t.Error("the old watch is still there")
		}
		send(t, after.out, "x")
		after.reads(t, "data: x\n\n")
		if err := after.client.Close(); err != nil {
			t.Fatal(err)
		}
		if got := after.reason(t); got != ClientGone {
			t.Errorf("reason %q", got)
		}
	}
	if !reused {
		t.Error("no number was reused, so that this test shows nothing")
	}
}

// streams are those that are open.
func (h *harbour) streams() []*lean { return h.host.wheel.all() }

func TestLeanCutsWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	const timeout = 500 * time.Millisecond
	l := h.open(t, NewOutbox(0, nil), Options{WriteTimeout: timeout})
	other := h.open(t, NewOutbox(0, nil), Options{WriteTimeout: timeout})
	began := time.Now()
	sent, most := 0, 0
	for {
		err := l.out.Send(t.Context(), Message{Data: make([]byte, 1<<10)})
		if closed := (*ClosedError)(nil); errors.As(err, &closed) {
			if closed.Reason != WriteTimeout {
				t.Errorf("reason %q, want %q", closed.Reason, WriteTimeout)
			}
			break
		}
		if sent += 1 << 10; sent > 8<<20 {
			t.Fatal("the sender never waited")
		}
		most = max(most, l.out.Bytes())
		send(t, other.out, "x")
		other.reads(t, "data: x\n\n")
	}
	if most > DefaultLimit {
		t.Errorf("%d bytes were held, more than %d", most, DefaultLimit)
	}
	if took := time.Since(began); took < timeout {
		t.Errorf("cut after %v, before the deadline", took)
	}
	if got := l.reason(t); got != WriteTimeout || l.out.Bytes() != 0 {
		t.Errorf("reason %q, %d bytes left", got, l.out.Bytes())
	}
	send(t, other.out, "y")
	other.reads(t, "data: y\n\n")
}

// stuff fills a stream's connection until it takes nothing more, without any
// message in the outbox.
func (h *harbour) stuff(t *testing.T, l *lean) {
	t.Helper()
	if !l.out.claim() {
		t.Fatal("a writer is at work")
	}
	b := newBatch()
	// Where a large write finds no room a heartbeat still may. And for a moment the
	// kernel moves what it has to the client.
	for _, size := range []int{4 << 10, 1} {
		for moved := time.Now(); time.Since(moved) < 50*time.Millisecond; {
			b.rest = make([]byte, size)
			if err := l.try(b); err != nil {
				t.Fatal(err)
			}
			if len(b.rest) < size {
				moved = time.Now()
			}
		}
	}
	b.free()
	if !l.out.settle() {
		t.Fatal("something was sent")
	}
}

// A writer learns from the kernel who keeps up: a client that reads gets large writes,
// one that does not is left with a modest one at most.
func TestLeanKnowsWhoIsBehind(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	open := func() (*leanTest, *lean) {
		l := h.open(t, NewOutbox(0, nil), Options{})
		for _, s := range h.streams() {
			if s.out == l.out {
				return l, s
			}
		}
		t.Fatal("the stream is not open")
		return nil, nil
	}
	client, reading := open()
	send(t, client.out, strings.Repeat("x", substantial))
	client.reads(t, "data: "+strings.Repeat("x", substantial)+"\n\n")
	for !client.out.claim() { // The writer has let go.
		runtime.Gosched()
	}
	if reading.out.behind {
		t.Error("a client that has read all is behind")
	}
	reading.out.settle()
	_, stuck := open()
	h.stuff(t, stuck)
	if !stuck.out.claim() || !stuck.out.behind {
		t.Error("a client that does not read is not behind")
	}
	stuck.out.settle()
}

func TestLeanHeartbeats(t *testing.T) {
	t.Parallel()
	t.Run("healthy", func(t *testing.T) {
		t.Parallel()
		h := newHarbour(t)
		// A deadline that is left behind would have passed at the next one.
		l := h.open(t, NewOutbox(0, nil), Options{Heartbeat: 1500 * time.Millisecond, WriteTimeout: time.Second})
		for range 2 {
			began := time.Now()
			send(t, l.out, strings.Repeat("x", 100<<10))
			l.reads(t, "data: "+strings.Repeat("x", 100<<10)+"\n\n")
			l.reads(t, ": ping\n\n")
			if quiet := time.Since(began); quiet < 1500*time.Millisecond {
				t.Errorf("a heartbeat after %v", quiet)
			}
		}
	})
	t.Run("stuck", func(t *testing.T) {
		t.Parallel()
		h := newHarbour(t)
		l := h.open(t, NewOutbox(0, nil), Options{Heartbeat: time.Second, WriteTimeout: 100 * time.Millisecond})
		other := h.open(t, NewOutbox(0, nil), Options{Heartbeat: time.Second})
		for _, s := range h.streams() {
			if s.out == l.out {
				h.stuff(t, s)
			}
		}
		if got := l.reason(t); got != WriteTimeout {
			t.Errorf("reason %q, want %q", got, WriteTimeout)
		}
		other.reads(t, ": ping\n\n")
	})
}

func TestLeanShutdown(t *testing.T) {
	t.Parallel()
	idle := func(t *testing.T, h *harbour) *leanTest {
		t.Helper()
		return h.open(t, NewOutbox(0, nil), Options{})
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, h *harbour) *leanTest
		patient bool // waits for what is queued
		want    CloseReason
		rest    string
	}{
		{name: "idle", prepare: idle, patient: true, want: Shutdown},
		{name: "writing", prepare: func(t *testing.T, h *harbour) *leanTest {
			t.Helper()
			l := idle(t, h)
			send(t, l.out, strings.Repeat("x", 1<<20))
			return l
		}, patient: true, want: Shutdown, rest: "data: " + strings.Repeat("x", 1<<20) + "\n\n"},
		{name: "stuck", prepare: func(t *testing.T, h *harbour) *leanTest {
			t.Helper()
			l := h.open(t, NewOutbox(0, nil), Options{WriteTimeout: time.Hour})
			send(t, l.out, strings.Repeat("x", 8<<20))
			return l
		}, want: Shutdown},
		{name: "stuck while opening", prepare: func(t *testing.T, h *harbour) *leanTest {
			t.Helper()
			l := &leanTest{out: NewOutbox(0, nil), ended: make(chan CloseReason, 1), client: h.dial(t)}
			l.opts = Options{WriteTimeout: time.Hour, First: &Message{Data: make([]byte, 8<<20)}}
			h.requests <- l
			if _, err := io.WriteString(l.client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is opening", func() bool { return len(h.streams()) == 1 })
			return l
		}, want: Shutdown},
		{name: "ending already", prepare: func(t *testing.T, h *harbour) *leanTest {
			t.Helper()
			l := idle(t, h)
			l.out.CloseWith(Drain, Message{Data: []byte("bye")})
			return l
		}, patient: true, want: Drain, rest: "data: bye\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHarbour(t)
			l := tt.prepare(t, h)
			if !tt.patient {
				h.cut(t)
			} else {
				read := make(chan struct{})
				go func() { defer close(read); l.closed(t, tt.rest) }()
				ctx, cancel := context.WithTimeout(t.Context(), long)
				defer cancel()
				if err := h.host.Close(ctx); err != nil {
					t.Errorf("Close = %v", err)
				}
				<-read
			}
			if got := l.reason(t); got != tt.want {
				t.Errorf("reason %q, want %q", got, tt.want)
			}
			if h.poller.Watched() != 0 || len(h.streams()) != 0 {
				t.Error("the Host still holds the stream")
			}
			// Who comes now is served by net/http, which is to end it.
			late := h.open(t, NewOutbox(0, nil), Options{})
			late.out.Close(Completed)
			if got := late.reason(t); got != Completed {
				t.Errorf("a late stream: %q", got)
			}
		})
	}
}

// What the client sends and nobody reads must not destroy what it has not read:
// a socket that is closed with bytes in it resets the connection.
func TestLeanEndsCleanlyOverUnreadBytes(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	l := h.open(t, NewOutbox(0, nil), Options{})
	s := h.streams()[0]
	// Without the watch these bytes end nothing.
	h.poller.Forget(s.token)
	if _, err := l.client.Write(make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	eventually(t, "the bytes are there", func() bool {
		n := 0
		if err := s.raw.Control(func(fd uintptr) { n, _, _ = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT) }); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	l.out.CloseWith(Drain, Message{Data: []byte("bye")})
	l.closed(t, "data: bye\n\n")
	if got := l.reason(t); got != Drain {
		t.Errorf("reason %q", got)
	}
}

// TestLeanIdleStreamsHoldNothing runs alone, since it counts all goroutines.
func TestLeanIdleStreamsHoldNothing(t *testing.T) { //nolint:paralleltest // It counts goroutines.
	const n = 500
	h := newHarbour(t)
	warm := h.open(t, NewOutbox(0, nil), Options{})
	warm.out.Close(Completed)
	warm.reason(t)
	// What is left is the server, the poller and the wheel.
	settled := func() int {
		last := -1
		eventually(t, "goroutines come to rest", func() bool {
			now := runtime.NumGoroutine()
			if now == last {
				return true
			}
			last = now
			<-time.After(100 * time.Millisecond)
			return false
		})
		return last
	}
	before := settled()
	var all []*leanTest
	for range n {
		all = append(all, h.open(t, NewOutbox(0, nil), Options{
			Render: func(uint32) []Message { return []Message{{Data: []byte("changed")}} },
		}))
	}
	if got := settled(); got != before {
		t.Errorf("%d goroutines for %d idle streams, want none", got-before, n)
	}
	for _, l := range all {
		l.out.Mark(1)
	}
	// All was written by whoever marked: no goroutine was needed.
	if got := runtime.NumGoroutine(); got > before {
		t.Errorf("%d goroutines for a broadcast", got-before)
	}
	for _, l := range all {
		l.reads(t, "data: changed\n\n")
		l.out.mu.Lock()
		if l.out.queue != nil || l.out.busy || l.out.done != nil {
			t.Error("an idle outbox holds something")
		}
		l.out.mu.Unlock()
	}
	if got := h.poller.Watched(); got != n {
		t.Errorf("%d streams are watched, want %d", got, n)
	}
	for _, l := range all {
		if err := l.client.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range all {
		if got := l.reason(t); got != ClientGone {
			t.Errorf("reason %q", got)
		}
	}
	if got := settled(); got != before {
		t.Errorf("%d goroutines are left", got-before)
	}
	if h.poller.Watched() != 0 || len(h.streams()) != 0 {
		t.Error("the Host still holds streams")
	}
}

// The size classes of the allocator: one byte more costs much more.
func TestLeanIsSmall(t *testing.T) {
	t.Parallel()
	if got := reflect.TypeFor[lean]().Size(); got > 192 {
		t.Errorf("a lean stream takes %d bytes, more than 192", got)
	}
	if got := reflect.TypeFor[Outbox]().Size(); got > 160 {
		t.Errorf("an outbox takes %d bytes, more than 160", got)
	}
}

func TestLeanBurstIsFewWrites(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	l := h.open(t, NewOutbox(0, nil), Options{})
	s := h.streams()[0]
	// The writer is held up while the burst comes.
	if !s.out.claim() {
		t.Fatal("a writer is at work")
	}
	var want strings.Builder
	for i := range 100 {
		send(t, l.out, fmt.Sprint(i))
		fmt.Fprintf(&want, "data: %d\n\n", i)
	}
	b := newBatch()
	writes := 0
	for s.out.next(b) == writing {
		b.encode(&s.opts)
		writes++
		if err := s.flush(b); err != nil {
			t.Fatal(err)
		}
		b.written(silent{})
	}
	if writes != 1 {
		t.Errorf("%d writes for a burst of 100, want 1", writes)
	}
	l.reads(t, want.String())
}

func TestLeanManySenders(t *testing.T) {
	t.Parallel()
	const senders, each = 8, 300
	h := newHarbour(t)
	l := h.open(t, NewOutbox(4<<10, nil), Options{Render: func(uint32) []Message { return nil }})
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for i := range each {
				if err := l.out.Send(t.Context(), Message{Data: fmt.Appendf(nil, "%d %d", s, i), Group: uint64(s)}); err != nil {
					t.Error(err)
				}
				l.out.Mark(1)
			}
		})
	}
	go func() { group.Wait(); l.out.Close(Completed) }()
	next := make([]int, senders)
	lines := bufio.NewScanner(l.client)
	for lines.Scan() {
		var s, i int
		if n, _ := fmt.Sscanf(lines.Text(), "data: %d %d", &s, &i); n == 2 {
			if i != next[s] {
				t.Fatalf("sender %d: %d came, want %d", s, i, next[s])
			}
			next[s]++
		}
	}
	if slices.Min(next) != each || lines.Err() != nil {
		t.Errorf("messages per sender: %v, want %d; %v", next, each, lines.Err())
	}
}
