// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const question = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"

// ask sends a request for an answer, which moves at once unless brief says otherwise.
func (h *harbour) ask(t *testing.T, request string, out *Outbox, opts Options) *leanTest {
	t.Helper()
	l := &leanTest{out: out, opts: opts, ended: make(chan CloseReason, 2), answer: true, client: h.dial(t)}
	h.requests <- l
	if _, err := io.WriteString(l.client, request); err != nil {
		t.Fatal(err)
	}
	l.read = bufio.NewReaderSize(l.client, 16)
	return l
}

// moved asks and waits until the answer is lean, and its head read.
func (h *harbour) moved(t *testing.T, out *Outbox, opts Options) *leanTest {
	t.Helper()
	h.host.brief = time.Nanosecond
	l := h.ask(t, question, out, opts)
	readUntil(t, l.read, "\r\n\r\n")
	l.idle(t)
	return l
}

// idle waits until the stream is lean and nothing is to be written.
func (l *leanTest) idle(t *testing.T) {
	t.Helper()
	eventually(t, "the answer is lean", func() bool {
		l.out.mu.Lock()
		defer l.out.mu.Unlock()
		_, lean := l.out.writer.(*lean)
		return lean && !l.out.busy || l.out.reason != ""
	})
}

// back gives the connection that was returned.
func (h *harbour) back(t *testing.T) returned {
	t.Helper()
	select {
	case got := <-h.returned:
		return got
	case <-time.After(long):
		t.Fatal("the connection was not returned")
		return returned{}
	}
}

// kept wants nothing to be returned, after the end of the answer.
func (h *harbour) kept(t *testing.T) {
	t.Helper()
	if len(h.returned) != 0 {
		t.Error("a connection was returned that cannot be used again")
	}
	eventually(t, "nothing is watched", func() bool { return h.poller.Watched() == 0 })
}

// The bytes of an answer, from its head to the connection's next use.
func TestAnswerOnTheWire(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	h.host.brief = time.Nanosecond
	seen := &recorder{}
	out := NewOutbox(0, seen.OutboxBytes)
	l := h.ask(t, question, out, Options{
		Transport: "streamable", Observer: seen, Log: &counting{}, First: &Message{ID: "0"}, Head: http.Header{"Mcp-Session-Id": {"s"}},
		Render: func(bits uint32) []Message {
			if bits == 1 {
				return nil
			}
			return []Message{{Data: fmt.Append(nil, bits), Kind: "bits"}}
		},
	})
	head := readUntil(t, l.read, "\r\n\r\n")
	for _, want := range []string{
		"HTTP/1.1 200 OK\r\n", "\r\nTransfer-Encoding: chunked\r\n", "\r\nX-Request-Id: 7\r\n", "\r\nMcp-Session-Id: s\r\n",
		"\r\nContent-Type: text/event-stream\r\n", "\r\nDate: ",
	} {
		if !strings.Contains(head, want) {
			t.Errorf("the head %q lacks %q", head, want)
		}
	}
	if strings.Contains(head, "Connection:") {
		t.Errorf("the head %q ends the connection", head)
	}
	l.reads(t, "e\r\nid: 0\ndata: \n\n\r\n")
	l.idle(t)
	send(t, out, "one")
	l.reads(t, "00000011\r\nid: 1\ndata: one\n\n\r\n")
	l.idle(t)
	out.Mark(1) // Nothing is said: no chunk, which would end the body.
	l.idle(t)
	out.Mark(2)
	l.reads(t, "0000000f\r\nid: 2\ndata: 2\n\n\r\n")
	large := strings.Repeat("x", 1<<20)
	send(t, out, large)
	l.reads(t, "0010000e\r\nid: 3\ndata: "+large+"\n\n\r\n")
	out.CloseWith(Completed, Message{Data: []byte("bye"), Kind: "last"})
	l.reads(t, "00000011\r\nid: 4\ndata: bye\n\n\r\n0\r\n\r\n")
	if got := l.reason(t); got != Completed {
		t.Errorf("reason %q", got)
	}
	got := h.back(t)
	if _, err := io.WriteString(got.conn, "next"); err != nil || len(got.ahead) != 0 {
		t.Errorf("the connection was returned with %q ahead, and writing to it: %v", got.ahead, err)
	}
	l.reads(t, "next")
	if w, s, b := h.poller.Watched(), len(h.streams()), seen.bytes; w != 0 || s != 0 || b != 0 {
		t.Errorf("%d watches, %d streams and %d bytes are still held", w, s, b)
	}
}

func TestAnswerHeartbeats(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	l := h.moved(t, NewOutbox(0, nil), Options{Heartbeat: 150 * time.Millisecond})
	for range 2 {
		l.reads(t, "8\r\n: ping\n\n\r\n")
	}
	l.out.Close(Completed)
	if rest, err := io.ReadAll(io.LimitReader(l.read, 5)); err != nil || string(rest) != "0\r\n\r\n" {
		t.Errorf("the answer ends with %q, %v", rest, err)
	}
}

// An answer that ends when nothing is left to write still gets its last chunk.
func TestAnswerEnds(t *testing.T) {
	t.Parallel()
	for _, reason := range []CloseReason{Completed, Revoked} {
		h := newHarbour(t)
		l := h.moved(t, NewOutbox(0, nil), Options{})
		l.out.Close(reason)
		l.reads(t, "0\r\n\r\n")
		if got := l.reason(t); got != reason {
			t.Errorf("reason %q, want %q", got, reason)
		}
		h.back(t)
	}
}

// What is brief and little stays with net/http, which goes on with the connection.
func TestAnswerThatIsBriefStays(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	h.host.brief = time.Hour
	var l *leanTest
	for range 3 {
		next := &leanTest{out: NewOutbox(0, nil), ended: make(chan CloseReason, 2), answer: true}
		send(t, next.out, strings.Repeat("x", 10<<10))
		send(t, next.out, strings.Repeat("x", 10<<10))
		next.out.Close(Completed)
		if l == nil {
			h.requests <- next
			next.client = h.dial(t)
			next.read = bufio.NewReader(next.client)
		} else {
			next.client, next.read = l.client, l.read
			h.requests <- next
		}
		l = next
		if _, err := io.WriteString(l.client, question); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(l.read, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); err != nil || len(body) < 20<<10 {
			t.Errorf("a body of %d bytes, %v", len(body), err)
		}
		_ = response.Body.Close()
		if got := l.reason(t); got != Completed {
			t.Errorf("reason %q", got)
		}
	}
	h.kept(t)
}

// What is not little moves, also if its head was not sent yet and it is all said.
func TestAnswerThatIsLargeMoves(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	h.host.brief = time.Hour
	out := NewOutbox(1<<20, nil)
	const messages = 100
	for range messages {
		send(t, out, strings.Repeat("x", 1<<10))
	}
	l := h.ask(t, question, out, Options{})
	go out.Close(Completed)
	response, err := http.ReadResponse(l.read, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if want := strings.Repeat("data: "+strings.Repeat("x", 1<<10)+"\n\n", messages); err != nil || string(body) != want {
		t.Errorf("read %s, %v; want %d messages", short(string(body)), err, messages)
	}
	h.back(t)
}

func TestAnswerFindsThatTheClientIsGone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		act  func(c *net.TCPConn) error
	}{
		{name: "closed", act: (*net.TCPConn).Close},
		{name: "half-closed", act: (*net.TCPConn).CloseWrite},
		{name: "reset", act: func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }},
	}
	for _, stuck := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, stuck %v", tt.name, stuck), func(t *testing.T) {
				t.Parallel()
				h := newHarbour(t)
				l := h.moved(t, NewOutbox(0, nil), Options{WriteTimeout: time.Hour})
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
				h.kept(t)
			})
		}
	}
}

// The next request may come while an answer is written, in any part: nothing of it is
// lost, and the answer goes on.
func TestAnswerKeepsWhatTheClientSendsAhead(t *testing.T) {
	t.Parallel()
	const next = "POST /next HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	for _, with := range []int{0, 1, 10, len(next)} { // Bytes that come with the request.
		for _, before := range []int{0, 5} { // That come before the answer moves.
			h := newHarbour(t)
			h.host.brief = time.Nanosecond
			if before > 0 {
				h.host.brief = 20 * time.Millisecond
			}
			l := h.ask(t, question+next[:with], NewOutbox(0, nil), Options{})
			readUntil(t, l.read, "\r\n\r\n")
			rest := next[with:]
			for _, part := range []string{rest[:min(before, len(rest))], rest[min(before, len(rest)):]} {
				if _, err := io.WriteString(l.client, part); err != nil {
					t.Fatal(err)
				}
				if part == rest[:min(before, len(rest))] {
					l.idle(t)
				}
			}
			send(t, l.out, "answer")
			l.reads(t, "0000000e\r\ndata: answer\n\n\r\n")
			l.out.Close(Completed)
			l.reads(t, "0\r\n\r\n")
			got := h.back(t)
			_ = got.conn.SetReadDeadline(time.Now().Add(long))
			all := make([]byte, len(next)-len(got.ahead))
			if _, err := io.ReadFull(got.conn, all); err != nil || string(got.ahead)+string(all) != next {
				t.Errorf("%d bytes with the request, %d before the move: %q ahead and %q after, %v; want %q", with, before, got.ahead, all, err, next)
			}
		}
	}
}

func TestAnswerCutsWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, over := range []bool{false, true} { // The call has ended before.
		t.Run(fmt.Sprintf("over %v", over), func(t *testing.T) {
			t.Parallel()
			h := newHarbour(t)
			l := h.moved(t, NewOutbox(0, nil), Options{WriteTimeout: 50 * time.Millisecond})
			send(t, l.out, strings.Repeat("x", 8<<20))
			want := WriteTimeout
			if over {
				l.out.Close(Completed)
				want = Completed
			}
			if got := l.reason(t); got != want {
				t.Errorf("reason %q, want %q", got, want)
			}
			// It is a reset, not an end that lets the rest trickle out.
			if _, err := io.Copy(io.Discard, l.client); err == nil || !strings.Contains(err.Error(), "reset") {
				t.Errorf("reading on: %v, want a reset", err)
			}
			h.kept(t)
		})
	}
}

func TestAnswerWithoutKeepAlive(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"close":    strings.Replace(question, "Host: x", "Host: x\r\nConnection: close", 1),
		"HTTP/1.0": strings.Replace(question, "HTTP/1.1", "HTTP/1.0", 1),
	} {
		h := newHarbour(t)
		h.host.brief = time.Nanosecond
		l := h.ask(t, request, NewOutbox(0, nil), Options{})
		response, err := http.ReadResponse(l.read, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.ProtoMinor == 1 {
			l.idle(t)
		}
		send(t, l.out, "a")
		l.out.Close(Completed)
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != "data: a\n\n" || !response.Close {
			t.Errorf("%s: read %q, %v; to be closed: %v", name, body, err, response.Close)
		}
		_ = response.Body.Close()
		if rest, err := io.ReadAll(l.read); err != nil || len(rest) != 0 {
			t.Errorf("%s: after the answer %q, %v; want the end", name, rest, err)
		}
		l.reason(t)
		h.kept(t)
	}
}

func TestAnswersAndShutdown(t *testing.T) {
	t.Parallel()
	t.Run("waits for who still answers", func(t *testing.T) {
		t.Parallel()
		h := newHarbour(t)
		l := h.moved(t, NewOutbox(0, nil), Options{})
		stream := h.open(t, NewOutbox(0, nil), Options{})
		closed := make(chan error, 1)
		go func() { closed <- h.host.Close(context.WithoutCancel(t.Context())) }()
		if got := stream.reason(t); got != Shutdown {
			t.Errorf("the stream ended with %q", got)
		}
		// One that comes now stays plain.
		late := h.ask(t, question, NewOutbox(0, nil), Options{})
		send(t, late.out, "late")
		late.out.Close(Completed)
		if got := late.reason(t); got != Completed {
			t.Errorf("the late answer ended with %q", got)
		}
		send(t, l.out, "answer")
		l.out.Close(Completed)
		l.reads(t, "0000000e\r\ndata: answer\n\n\r\n")
		if got := l.reason(t); got != Completed {
			t.Errorf("the answer ended with %q", got)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	for name, stuck := range map[string]bool{"idle": false, "stuck": true} {
		t.Run("cuts what is left, "+name, func(t *testing.T) {
			t.Parallel()
			h := newHarbour(t)
			l := h.moved(t, NewOutbox(0, nil), Options{WriteTimeout: time.Hour})
			if stuck {
				send(t, l.out, strings.Repeat("x", 8<<20))
			}
			h.cut(t)
			if got := l.reason(t); got != Shutdown {
				t.Errorf("reason %q", got)
			}
			h.kept(t)
		})
	}
}

// While nothing is written an answer has no goroutine, whatever net/http had for it.
func TestAnswersThatWaitHoldNoGoroutine(t *testing.T) { //nolint:paralleltest // It counts goroutines.
	const n = 100
	h := newHarbour(t)
	h.moved(t, NewOutbox(0, nil), Options{}).out.Close(Completed)
	h.back(t)
	before := runtime.NumGoroutine()
	var all []*leanTest
	for range n {
		all = append(all, h.moved(t, NewOutbox(0, nil), Options{}))
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	for _, l := range all {
		l.out.Close(Completed)
	}
	for range all {
		h.back(t)
	}
}

// Senders go on while the stream moves.
func TestAnswerMovesUnderway(t *testing.T) {
	t.Parallel()
	const answers, each = 40, 400
	h := newHarbour(t)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			out := NewOutbox(4<<10, nil)
			l := h.ask(t, question, out, Options{})
			go func() {
				for n := range each {
					if err := out.Send(t.Context(), Message{Data: fmt.Appendf(nil, "%d %0*d", n, i, 0)}); err != nil {
						t.Error(err)
					}
					if n%16 == 0 {
						runtime.Gosched()
					}
				}
				out.Close(Completed)
			}()
			response, err := http.ReadResponse(l.read, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			lines, next := bufio.NewScanner(response.Body), 0
			for lines.Scan() {
				var n int
				if got, _ := fmt.Sscanf(lines.Text(), "data: %d", &n); got == 1 {
					if n != next {
						t.Errorf("%d came, want %d", n, next)
						return
					}
					next++
				}
			}
			if next != each || lines.Err() != nil {
				t.Errorf("%d messages, %v; want %d", next, lines.Err(), each)
			}
		})
	}
	group.Wait()
}

// breaking is a Log during which the stream breaks: its writer was not interrupted yet.
type breaking struct{ out *Outbox }

func (b breaking) Keep(id []byte, _ *Message) []byte {
	b.out.mu.Lock()
	defer b.out.mu.Unlock()
	b.out.reason = WriteFailed
	return id
}

// An answer that breaks off while it is written does not look whole.
func TestAnswerThatBreaksIsNotWhole(t *testing.T) {
	t.Parallel()
	h := newHarbour(t)
	out := NewOutbox(0, nil)
	l := h.moved(t, out, Options{Log: breaking{out}})
	send(t, out, "progress")
	l.reads(t, "00000010\r\ndata: progress\n\n\r\n")
	if rest, err := io.ReadAll(l.read); err != nil || len(rest) > 0 {
		t.Errorf("after it came %q, %v; want the end of the connection", rest, err)
	}
	if got := l.reason(t); got != WriteFailed {
		t.Errorf("reason %q", got)
	}
	h.kept(t)
}
