// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

// logged counts what is kept.
type logged struct{ bytes, resumed atomic.Int64 }

func (*logged) Sessions(string, int)      {}
func (l *logged) Resumed(bool)            { l.resumed.Add(1) }
func (l *logged) EventLogBytes(delta int) { l.bytes.Add(int64(delta)) }

func progress(n int) stream.Message {
	return stream.Message{Data: bytes.Repeat([]byte("x"), n), Event: "message", Kind: "progress"}
}

func response(n int) stream.Message {
	return stream.Message{Data: bytes.Repeat([]byte("r"), n), Event: "message", Kind: "response", Urgent: true}
}

// conversation opens a session with one reply.
func conversation(t *testing.T, r *Registry) (*Session, *Reply, *stream.Outbox) {
	t.Helper()
	s, err := r.Create("x", engine.EraStreamable, initialized(t))
	if err != nil {
		t.Fatal(err)
	}
	out := stream.NewOutbox(0, nil)
	reply := s.NewReply(out)
	return s, reply, out
}

// rendered gives the ids of what a stream that resumes after an event gets.
func rendered(t *testing.T, s *Session, last string) (ids []string) {
	t.Helper()
	r, ok := s.Resume(last, stream.NewOutbox(0, nil))
	if !ok {
		return nil
	}
	for _, m := range r.Render(Pending) {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestEventIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"p1-0": true, "g7-12": true, "p4294967295-4294967295": true, "": false, "p": false, "p1": false, "p1-": false, "x1-0": false,
		"p01-0": false, "p+1-0": false, "p4294967296-0": false, "p1-0\t": false, "p1-0-0": false,
	} {
		id, ok := parseEventID(text)
		if ok != want || ok && id.String() != text {
			t.Errorf("%q: %v, %v, want %v", text, id, ok, want)
		}
	}
}

func TestALogIsBounded(t *testing.T) {
	t.Parallel()
	kept := &logged{}
	r := New(sealer(), options(), kept)
	s, reply, _ := conversation(t, r)
	for i := range 200 {
		if i == 50 {
			keep(reply, response(900))
		}
		if got := keep(reply, progress(1000)); got == "" {
			t.Fatal("no id")
		}
		if got := kept.bytes.Load(); got > maxLog {
			t.Fatalf("%d bytes are kept, want at most %d", got, maxLog)
		}
	}
	reply.Finish()
	ids := rendered(t, s, "p1-0")
	if len(ids) < 40 || ids[0] != "p1-51" || ids[len(ids)-1] != "p1-201" {
		t.Errorf("kept %d events, %q first, %q last; want the response and the newest", len(ids), ids[0], ids[len(ids)-1])
	}
	// The newest response stays whatever its size.
	_, large, _ := conversation(t, r)
	keep(large, progress(100))
	keep(large, response(2*maxLog))
	if ids := rendered(t, large.log.session, "p1-0"); len(ids) != 1 || ids[0] != "p1-2" {
		t.Errorf("kept %q, want the large response", ids)
	}
	for _, s := range r.All() {
		s.Close(stream.SessionEnded)
	}
	if kept.bytes.Load() != 0 || r.logs.bytes.Load() != 0 || r.logs.oldest != nil {
		t.Errorf("%d bytes are kept of no session", kept.bytes.Load())
	}
	// Whoever still speaks is not kept.
	keep(reply, progress(100))
	if kept.bytes.Load() != 0 {
		t.Errorf("%d bytes are kept of a session that has ended", kept.bytes.Load())
	}
}

func TestALogHoldsLittleForAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s, reply, out := conversation(t, New(sealer(), options(), nil))
	keep(reply, response(100))
	for range 30 {
		keep(reply, progress(1000))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for reply.Send(ctx, progress(4<<10)) == nil {
			continue // Nobody reads.
		}
	}()
	for {
		s.log.mu.Lock()
		held := s.log.bytes
		s.log.mu.Unlock()
		if held < 1000 {
			break
		}
		runtime.Gosched()
	}
	reply.Detach(out)
	if ids := rendered(t, s, "p1-0"); len(ids) != 1 || ids[0] != "p1-1" {
		t.Errorf("kept %q, want the response", ids)
	}
}

func TestAllLogsAreBounded(t *testing.T) {
	t.Parallel()
	kept := &logged{}
	const sessions = 2 * maxLogs / maxLog
	r := New(sealer(), Options{Max: sessions, IdleTimeout: time.Hour, MaxAge: time.Hour}, kept)
	var all []*Session
	for range sessions {
		s, reply, _ := conversation(t, r)
		for range 12 {
			keep(reply, progress(4<<10))
		}
		keep(reply, response(10))
		reply.Finish()
		all = append(all, s)
		if got := kept.bytes.Load(); got > maxLogs {
			t.Fatalf("%d bytes are kept, want at most %d", got, maxLogs)
		}
	}
	if ids := rendered(t, all[0], "p1-0"); len(ids) != 1 || ids[0] != "p1-13" {
		t.Errorf("of the oldest %q are kept, want the response only", ids)
	}
	if ids := rendered(t, all[sessions-1], "p1-0"); len(ids) != 13 {
		t.Errorf("of the newest %d events are kept, want all 13", len(ids))
	}
}

func TestALogEndsAMinuteAfterItsReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := &logged{}
		r := New(sealer(), options(), kept)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go r.Run(ctx)
		s, reply, _ := conversation(t, r)
		keep(reply, response(10))
		time.Sleep(5 * time.Minute) //nolint:forbidigo // The bubble's clock.
		reply.Finish()
		time.Sleep(retention - time.Second) //nolint:forbidigo // The bubble's clock.
		if ids := rendered(t, s, "p1-0"); len(ids) != 1 {
			t.Errorf("%q are kept before a minute has passed", ids)
		}
		time.Sleep(retention/4 + time.Second) //nolint:forbidigo // The bubble's clock.
		if ids := rendered(t, s, "p1-0"); ids != nil || kept.bytes.Load() != 0 || s.log != nil {
			t.Errorf("%q are kept, %d bytes", ids, kept.bytes.Load())
		}
	})
}

func TestAToolWaitsForAClientThatMayComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New(sealer(), options(), nil)
		s, reply, out := conversation(t, r)
		out.Close(stream.ClientGone)
		reply.Detach(out)
		sent, failed := 0, make(chan error, 1)
		send := func() {
			for sent = 0; ; sent++ {
				if err := reply.Send(t.Context(), progress(1000)); err != nil {
					failed <- err
					return
				}
			}
		}
		go send()
		synctest.Wait()
		if most := maxLog / 1000; sent < most*9/10 || sent > most {
			t.Errorf("%d messages were taken without a client, want what the log holds", sent)
		}
		if err := reply.Send(t.Context(), response(10)); err != nil {
			t.Errorf("the response was refused: %v", err)
		}
		// It comes back, takes all, and goes again.
		before := sent
		again := stream.NewOutbox(0, nil)
		if _, ok := s.Resume("p1-0", again); !ok {
			t.Fatal("not resumed")
		}
		if got := len(reply.Render(Pending)); got != before+1 {
			t.Errorf("the client got %d messages, want %d", got, before+1)
		}
		synctest.Wait()
		if sent <= before {
			t.Error("the tool still waits")
		}
		reply.Detach(again)
		began := time.Now()
		closed := (*stream.ClosedError)(nil)
		if err := <-failed; !errors.As(err, &closed) || time.Since(began) != retention {
			t.Errorf("after %v: %v, want a closed stream after %v", time.Since(began), err, retention)
		}
	})
}

func TestWhatABrokenStreamDidNotWriteIsKept(t *testing.T) {
	t.Parallel()
	for _, era := range []engine.Era{engine.EraSSE, engine.EraStreamable} {
		r := New(sealer(), options(), nil)
		s, err := r.Create("x", era, initialized(t))
		if err != nil {
			t.Fatal(err)
		}
		out, send := stream.NewOutbox(0, nil), s.Say
		again := stream.NewOutbox(0, nil)
		take := func() []stream.Message { return s.SaidSince(again) }
		if era == engine.EraSSE {
			if err := s.Attach(out); err != nil {
				t.Fatal(err)
			}
		} else {
			reply := s.NewReply(out)
			send, take = reply.Send, func() []stream.Message { return reply.Render(Pending) }
		}
		for i := range 3 {
			if err := send(t.Context(), stream.Message{Data: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				out.Close(stream.WriteFailed)
				s.Detach(out)
			}
		}
		if era == engine.EraSSE {
			err = s.Attach(again)
		} else if _, ok := s.Resume("p1-0", again); !ok {
			err = errors.New("nothing to resume")
		}
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range take() {
			got += string(m.Data)
		}
		if got != "012" {
			t.Errorf("%s: the client got %q, want 012", era, got)
		}
		if len(take()) != 0 {
			t.Errorf("%s: the client got messages twice", era)
		}
	}
}

func TestTheLogIsHandedOver(t *testing.T) {
	t.Parallel()
	a, b := replicas(t)
	kept := &logged{}
	b.observer, b.logs.observe = kept, kept.EventLogBytes
	a.Revision = func() string { return "one" }
	s, reply, _ := conversation(t, a)
	for range 100 {
		keep(reply, progress(1000))
	}
	keep(reply, response(10))
	reply.Finish()
	first, _, err := s.Listen(stream.NewOutbox(0, nil), "")
	if err != nil {
		t.Fatal(err)
	}
	from, ok := s.Freeze()
	if !ok {
		t.Fatal("not frozen")
	}
	if data, err := json.Marshal(from); err != nil || len(data) > 96<<10 {
		t.Errorf("the snapshot has %d bytes, want at most 96 KiB (%v)", len(data), err)
	}
	to, err := b.Adopt(sent(t, from))
	if err != nil {
		t.Fatal(err)
	}
	if ids := rendered(t, to, "p1-98"); fmt.Sprint(ids) != "[p1-99 p1-100 p1-101]" {
		t.Errorf("resumed with %q", ids)
	}
	if ids := rendered(t, to, "p1-101"); ids != nil {
		t.Errorf("resumed with %q after the response", ids)
	}
	// The listening stream goes on, and what this replica serves is another list.
	st := &marks{Outbox: stream.NewOutbox(0, nil)}
	second, _, err := to.Listen(st, first.ID)
	if err != nil || second.ID == first.ID || st.bits != everything {
		t.Errorf("listens from %+v with bits %b (%v)", second, st.bits, err)
	}
	to.Close(stream.SessionEnded)
	if kept.bytes.Load() != 0 {
		t.Errorf("%d bytes are kept of no session", kept.bytes.Load())
	}
}

// What is too large for a snapshot takes nothing else with it.
func TestALargeReplyDoesNotTakeOthersAlong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		sizes []int // of the replies, in their order
		want  string
	}{
		{name: "the newest is too large", sizes: []int{100, 2000, 60 << 10}, want: "1 2"},
		{name: "one between is too large", sizes: []int{100, 60 << 10, 200}, want: "1 3"},
		{name: "together they are", sizes: []int{20 << 10, 29 << 10, 100, 17 << 10}, want: "2 3 4"},
		{name: "all are", sizes: []int{49 << 10, 50 << 10}, want: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// Answers of EraStreamable have streams of their own.
			a, b := replicas(t)
			s, reply, _ := conversation(t, a)
			for i, n := range tt.sizes {
				if i > 0 {
					reply = s.NewReply(stream.NewOutbox(0, nil))
				}
				keep(reply, progress(10))
				keep(reply, response(n))
				reply.Finish()
			}
			to, err := b.Adopt(handedOver(t, s))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for i := range tt.sizes {
				if rendered(t, to, fmt.Sprintf("p%d-1", i+1)) != nil {
					got += fmt.Sprint(" ", i+1)
				}
			}
			if strings.TrimSpace(got) != tt.want {
				t.Errorf("EraStreamable: the replies %q are left, want %q", got, tt.want)
			}
			// Those of EraSSE wait together.
			if s, err = a.Create("x", engine.EraSSE, initialized(t)); err != nil {
				t.Fatal(err)
			}
			for i, n := range tt.sizes {
				m := response(n)
				m.Kind = fmt.Sprint(i + 1)
				if err := s.Say(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if to, err = b.Adopt(handedOver(t, s)); err != nil {
				t.Fatal(err)
			}
			got = ""
			out := stream.NewOutbox(0, nil)
			if err := to.Attach(out); err != nil {
				t.Fatal(err)
			}
			for _, m := range to.SaidSince(out) {
				got += " " + m.Kind
			}
			if strings.TrimSpace(got) != tt.want {
				t.Errorf("EraSSE: the messages %q are left, want %q", got, tt.want)
			}
		})
	}
}

// handedOver is what arrives of a session, whose snapshot is within its bound.
func handedOver(t *testing.T, s *Session) Snapshot {
	t.Helper()
	from, ok := s.Freeze()
	if !ok {
		t.Fatal("not frozen")
	}
	if data, err := json.Marshal(from); err != nil || len(data) > 96<<10 {
		t.Errorf("the snapshot has %d bytes, want at most 96 KiB (%v)", len(data), err)
	}
	return sent(t, from)
}

// breaking is a client's connection on which a number of writes get through.
type breaking struct {
	header http.Header
	got    bytes.Buffer
	left   int
}

func (b *breaking) Header() http.Header { return b.header }
func (*breaking) WriteHeader(int)       {}
func (*breaking) Flush()                {}
func (b *breaking) Write(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("broken")
	}
	b.left--
	return b.got.Write(p)
}

// In EraSSE, whose clients acknowledge nothing, what a writer had in its hands as its
// write failed comes back before what was queued, however often that happens.
func TestWhatAWriterHadInItsHandsComesBack(t *testing.T) {
	t.Parallel()
	kept := &logged{}
	s, err := New(sealer(), options(), kept).Create("x", engine.EraSSE, initialized(t))
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat(".", 10<<10) // Two are more than a writer takes at once.
	say := func(name string) {
		if err := s.Say(t.Context(), stream.Message{Data: []byte(name + large), Event: "message"}); err != nil {
			t.Fatal(err)
		}
	}
	// connect has the client come back, and gives what it got until its connection broke
	// after a number of writes. then is called once it is attached.
	connect := func(writes int, then func(out *stream.Outbox)) (got string) {
		t.Helper()
		out := stream.NewOutbox(0, nil)
		if err := s.Attach(out); err != nil {
			t.Fatal(err)
		}
		then(out)
		client := &breaking{header: http.Header{}, left: writes}
		q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/sse", nil)
		stream.Serve(client, q, out, stream.Options{Render: func(bits uint32) []stream.Message {
			if bits&Pending == 0 {
				return nil
			}
			return s.SaidSince(out)
		}})
		s.Detach(out)
		for event := range strings.SplitSeq(client.got.String(), "data: ") {
			name, _, _ := strings.Cut(event, ".")
			got += strings.TrimPrefix(name, "event: message\n")
		}
		return got
	}
	nothing := func(*stream.Outbox) {}
	if got := connect(1, func(*stream.Outbox) { say("a"); say("b"); say("c") }); got != "a" {
		t.Fatalf("the client got %q at first", got)
	}
	say("d")
	if got := connect(0, nothing); got != "" {
		t.Fatalf("the client got %q of nothing", got)
	}
	say("e")
	done := func(out *stream.Outbox) { out.Close(stream.Completed) }
	if got := connect(1, done); got != "bcde" {
		t.Errorf("the client got %q, want what it missed in its order", got)
	}
	if got := connect(1, done); got != "" {
		t.Errorf("the client got %q twice", got)
	}
	if n := kept.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are kept of what was written", n)
	}
}

// A stream that was replaced takes nothing from the one that took over.
func TestAStreamThatWasReplacedGetsNothing(t *testing.T) {
	t.Parallel()
	s, err := New(sealer(), options(), nil).Create("x", engine.EraSSE, initialized(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Say(t.Context(), progress(10)); err != nil {
		t.Fatal(err)
	}
	before, after := stream.NewOutbox(0, nil), stream.NewOutbox(0, nil)
	for _, out := range []*stream.Outbox{before, after} {
		if err := s.Attach(out); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.SaidSince(before)); got != 0 {
		t.Errorf("the stream before got %d messages", got)
	}
	if got := len(s.SaidSince(after)); got != 1 {
		t.Errorf("the stream after it got %d messages", got)
	}
}

// The newest response stays, also one of a reply that began before others.
func TestTheNewestResponseStays(t *testing.T) {
	t.Parallel()
	kept := &logged{}
	r := New(sealer(), options(), kept)
	s, first, _ := conversation(t, r)
	second := s.NewReply(stream.NewOutbox(0, nil))
	keep(second, progress(10))
	keep(first, response(2*maxLog))
	if ids := rendered(t, s, "p1-0"); len(ids) != 1 || ids[0] != "p1-1" {
		t.Errorf("kept %q of the first reply, want its response", ids)
	}
}

// A client that comes back before its stream is known to be gone gets the answer that
// waits there, also if nothing is kept of what came before.
func TestAnAnswerThatWaitsInABrokenStreamIsResumed(t *testing.T) {
	t.Parallel()
	s, reply, _ := conversation(t, New(sealer(), options(), nil))
	if err := reply.Send(t.Context(), response(10)); err != nil {
		t.Fatal(err)
	}
	reply.Finish()
	if ids := rendered(t, s, "p1-0"); len(ids) != 1 || ids[0] != "p1-1" {
		t.Errorf("resumed with %q, want the answer", ids)
	}
}

// giving is a Salvager that tells what it is given before anybody else gets it.
type giving struct {
	stream.Salvager
	tell func()
}

func (g giving) Lost(m stream.Message) {
	g.tell()
	g.Salvager.Lost(m)
}

// Nothing that is said from then on gets ahead of what a stream had that is taken over.
func TestWhatAStreamHadComesBeforeWhatIsSaidLater(t *testing.T) {
	t.Parallel()
	s, reply, out := conversation(t, New(sealer(), options(), nil))
	asked := 0
	out.Salvage(giving{reply, func() {
		asked++
		reply.log.mu.Lock()
		defer reply.log.mu.Unlock()
		if reply.pulled {
			t.Error("the stream was taken over before it gave back what it had")
		}
	}})
	if err := reply.Send(t.Context(), progress(10)); err != nil {
		t.Fatal(err)
	}
	if ids := rendered(t, s, "p1-0"); asked != 1 || len(ids) != 1 {
		t.Errorf("resumed with %q of %d messages", ids, asked)
	}
}

// What a writer had taken is kept only after its stream was closed, if that happens at
// this moment: neither it nor what came back before counts as given.
func TestAWriterThatIsLateGivesNothing(t *testing.T) {
	t.Parallel()
	s, reply, out := conversation(t, New(sealer(), options(), nil))
	if err := reply.Send(t.Context(), progress(10)); err != nil {
		t.Fatal(err)
	}
	out.Close(stream.ClientGone)
	keep(reply, progress(10))
	if ids := rendered(t, s, "p1-0"); len(ids) != 2 {
		t.Errorf("resumed with %q, want both", ids)
	}
	if reply.log.pending != 0 {
		t.Errorf("%d bytes wait of nothing", reply.log.pending)
	}
}

// What is kept of a reply that is over takes no more place than it needs, whichever of
// its stream and its call ended first.
func TestAReplyThatIsOverIsFitted(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *Reply, out *stream.Outbox){
		"the stream": func(r *Reply, out *stream.Outbox) { r.Detach(out); r.Finish() },
		"the call":   func(r *Reply, out *stream.Outbox) { r.Finish(); r.Detach(out) },
	} {
		_, reply, out := conversation(t, New(sealer(), options(), nil))
		for range 3 * few {
			keep(reply, progress(10))
		}
		end(reply, out)
		if n := len(reply.entries); n != 3*few || cap(reply.entries) > 2*n {
			t.Errorf("%s ended first: place for %d entries, of which %d are used", name, cap(reply.entries), n)
		}
	}
}

// It is so in EraSSE too: the stream that takes over carries nothing before.
func TestWhatAListenerHadComesBeforeWhatIsSaidLater(t *testing.T) {
	t.Parallel()
	s, err := New(sealer(), options(), nil).Create("x", engine.EraSSE, initialized(t))
	if err != nil {
		t.Fatal(err)
	}
	before, after := stream.NewOutbox(0, nil), stream.NewOutbox(0, nil)
	if err := s.Attach(before); err != nil {
		t.Fatal(err)
	}
	asked := 0
	before.Salvage(giving{s, func() {
		asked++
		s.home.mu.Lock()
		defer s.home.mu.Unlock()
		if s.listener != before {
			t.Error("another stream carries what is said before this one gave back what it had")
		}
	}})
	if err := s.Say(t.Context(), progress(10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Attach(after); err != nil {
		t.Fatal(err)
	}
	if got := len(s.SaidSince(after)); asked != 1 || got != 1 {
		t.Errorf("of %d messages %d came to the stream that took over", asked, got)
	}
}

// acting is an observer that does something the first time that a log lets go.
type acting struct {
	logged
	act func()
}

func (a *acting) EventLogBytes(delta int) {
	if act := a.act; delta < 0 && act != nil {
		a.act = nil
		act()
	}
}

// A log that gets a message while it is emptied is found again, by whoever empties it
// next or forgets what is old.
func TestALogThatIsEmptiedAndFilledIsListed(t *testing.T) {
	t.Parallel()
	observer := &acting{}
	r := New(sealer(), options(), observer)
	_, first, _ := conversation(t, r)
	_, second, _ := conversation(t, r)
	keep(first, progress(10))
	observer.act = func() {
		r.logs.bytes.Add(-maxLogs)
		keep(first, progress(10))
	}
	r.logs.bytes.Add(maxLogs)
	keep(second, progress(10))
	if observer.act != nil || first.log.bytes == 0 || !first.log.listed.Load() {
		t.Errorf("emptied: %v, %d bytes, listed: %v", observer.act == nil, first.log.bytes, first.log.listed.Load())
	}
}

// keep has a reply keep a message that its stream writes, and gives its id.
func keep(r *Reply, m stream.Message) string { return string(r.Keep(nil, &m)) }
