// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func text(batch []entry) string {
	var words []string
	for i := range batch {
		words = append(words, strings.TrimRight(string(batch[i].Data), "."))
	}
	return strings.Join(words, " ")
}

// take takes all that is queued, as a writer does that has written what it took
// before.
func take(o *Outbox) []entry {
	var all []entry
	b := newBatch()
	defer b.free()
	for o.next(b) == writing && b.line != nil {
		all = append(all, b.line.entries...)
		b.clear()
	}
	return all
}

// signals is a writer that is woken by a token.
type signals chan struct{}

func (s signals) start(bool) { s <- struct{}{} }
func (signals) interrupt()   {}

// one takes what fits one write.
func one(o *Outbox) []entry {
	var b batch
	if o.next(&b) != writing || b.line == nil {
		return nil
	}
	return b.line.entries
}

// pad makes a message whose size is n bytes.
func pad(word string, n int) Message {
	return Message{Data: []byte(word + strings.Repeat(".", max(n-overhead-len(word), 0)))}
}

func TestOutboxOrder(t *testing.T) {
	t.Parallel()
	message := func(word string, group uint64, urgent bool) Message {
		return Message{Data: []byte(word), Group: group, Urgent: urgent}
	}
	tests := []struct {
		name string
		send []Message
		want string
	}{
		{name: "first in, first out", send: []Message{message("a", 1, false), message("b", 2, false), message("c", 1, false)}, want: "a b c"},
		{name: "urgent overtakes other groups", send: []Message{message("a", 1, false), message("b", 1, false), message("R2", 2, true)}, want: "R2 a b"},
		{name: "urgent never overtakes its own group", send: []Message{message("a1", 1, false), message("a2", 2, false), message("b1", 1, false), message("R2", 2, true)}, want: "a1 a2 R2 b1"},
		{name: "urgent ones keep their order", send: []Message{message("a", 1, false), message("R2", 2, true), message("R3", 3, true)}, want: "R2 R3 a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := NewOutbox(0, nil)
			for _, m := range tt.send {
				if err := o.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			batch := take(o)
			if diff := cmp.Diff(tt.want, text(batch)); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWriterLeavesNoSmallRest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		messages, want int
		behind         bool
	}{
		{messages: 13, want: 13},
		{messages: 22, want: 22},
		{messages: 23, want: 13},
		{messages: 40, want: 13},
		{messages: 9, want: 9, behind: true},
		{messages: 10, want: 9, behind: true},
	} {
		o := NewOutbox(1<<20, nil)
		for range tt.messages {
			if err := o.Send(t.Context(), pad("m", 1<<10)); err != nil {
				t.Fatal(err)
			}
		}
		b := newBatch()
		o.behind = tt.behind
		o.next(b)
		if got := len(b.line.entries); got != tt.want {
			t.Errorf("of %d messages the writer took %d, want %d", tt.messages, got, tt.want)
		}
		b.encode(&Options{})
		if size := cap(b.buffer); tt.behind && size != modest {
			t.Errorf("the writer has a buffer of %d bytes for a client that is behind, want %d", size, modest)
		}
		b.free()
	}
}

func TestOutboxFoldsOnlyUnderPressure(t *testing.T) {
	t.Parallel()
	progress := func(word string, group uint64) Message {
		m := pad(word, 1<<10)
		m.Fold, m.Group = "token", group
		return m
	}
	tests := []struct {
		name string
		fill int // KiB queued before
		want string
	}{
		{name: "calm", fill: 29, want: "p1 log p2"},
		{name: "crowded", fill: 40, want: "log p2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := NewOutbox(0, nil)
			log := pad("log", 1<<10)
			log.Group = 1
			for _, m := range []Message{pad("fill", tt.fill<<10), progress("p1", 1), log, progress("p2", 1)} {
				if err := o.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			batch := take(o)
			if got := strings.TrimPrefix(text(batch), "fill "); got != tt.want {
				t.Errorf("queued %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("all that it replaces", func(t *testing.T) {
		t.Parallel()
		o := NewOutbox(0, nil)
		for i := range 34 {
			if err := o.Send(t.Context(), progress(strconv.Itoa(i), 1)); err != nil {
				t.Fatal(err)
			}
		}
		if got := text(take(o)); got != "33" {
			t.Errorf("queued %q, want none that a newer one replaced", got)
		}
	})
	t.Run("who only replaces what it sent waits too", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := NewOutbox(0, nil)
			sent := 0
			go func() {
				for o.Send(t.Context(), progress("p", 1)) == nil {
					sent++
				}
			}()
			synctest.Wait()
			// Above two thirds of the outbox each message replaces one.
			if sent != DefaultLimit>>10 {
				t.Errorf("%d messages were sent to a client that does not read, want %d", sent, DefaultLimit>>10)
			}
			before := sent
			one(o)
			synctest.Wait()
			if sent == before {
				t.Error("the sender waits though the writer went on")
			}
			o.Close(ClientGone)
		})
	})
	t.Run("in its place by who waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := NewOutbox(0, nil)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			sent := 0
			go func() {
				for {
					if err := o.Send(ctx, progress(strconv.Itoa(sent), 1)); err != nil {
						ended <- err
						return
					}
					sent++
				}
			}()
			synctest.Wait()
			waits := sent // The number of the message whose sender waits.
			if o.Bytes() > 2<<10 {
				t.Errorf("%d bytes are queued, want those of one message", o.Bytes())
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) || sent != waits+1 {
				t.Errorf("the sender ended with %v after %d messages, want its context's error after the one that was queued, %d", err, sent, waits+1)
			}
			if got := text(take(o)); got != strconv.Itoa(waits) {
				t.Errorf("queued %q, want the newest, %d", got, waits)
			}
		})
	})
	t.Run("none by one that has to wait itself", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			o := NewOutbox(0, nil)
			for _, m := range []Message{pad("fill", 40<<10), progress("a", 1)} {
				if err := o.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _ = o.Send(t.Context(), pad("large", 16<<10)) }()
			synctest.Wait()
			go func() { _ = o.Send(ctx, progress("b", 1)) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			if got := text(take(o)); got != "fill a large" {
				t.Errorf("queued %q, want what was sent by those who did not give up", got)
			}
		})
	})
	t.Run("another call's token of the same name", func(t *testing.T) {
		t.Parallel()
		o := NewOutbox(0, nil)
		for _, m := range []Message{pad("fill", 40<<10), progress("a", 1), progress("b", 2)} {
			if err := o.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		batch := take(o)
		if got := text(batch); got != "fill a b" {
			t.Errorf("queued %q: one call's progress replaced another's", got)
		}
	})
}

func TestOutboxMakesSendersWaitInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := NewOutbox(1<<10, nil)
		if err := o.Send(t.Context(), pad("full", 1<<10)); err != nil {
			t.Fatal(err)
		}
		sent := make(chan string, 3)
		for _, word := range []string{"a", "b", "c"} {
			go func() {
				if err := o.Send(t.Context(), pad(word, 600)); err != nil {
					t.Errorf("Send(%s) = %v", word, err)
				}
				sent <- word
			}()
			synctest.Wait()
		}
		if len(sent) != 0 {
			t.Fatalf("%d senders did not wait for a full outbox", len(sent))
		}
		o.Mark(1)
		for _, want := range []string{"full", "a", "b", "c"} {
			batch := one(o)
			synctest.Wait()
			if got := text(batch); got != want {
				t.Errorf("took %q, want %q", got, want)
			}
		}
		if len(sent) != 3 {
			t.Errorf("%d of 3 senders came through", len(sent))
		}
	})
}

func TestOutboxWaitingResponseOvertakesOtherGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := NewOutbox(1<<10, nil)
		if err := o.Send(t.Context(), pad("full", 1<<10)); err != nil {
			t.Fatal(err)
		}
		send := func(m Message, group uint64, urgent bool) {
			m.Group, m.Urgent = group, urgent
			go func() {
				if err := o.Send(t.Context(), m); err != nil {
					t.Errorf("Send = %v", err)
				}
			}()
			synctest.Wait()
		}
		send(pad("p1", 250), 1, false)
		send(pad("p2", 250), 2, false)
		send(pad("R2", 200), 2, true)
		send(pad("R3", 200), 3, true)
		one(o)
		batch := one(o)
		// R2 stays behind p2, its own group; R3 behind R2, which came first.
		if got, want := text(batch), "p1 p2 R2 R3"; got != want {
			t.Errorf("took %q, want %q", got, want)
		}
	})
}

func TestOutboxGivesUpWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := NewOutbox(1<<10, nil)
		if err := o.Send(t.Context(), pad("half", 512)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- o.Send(ctx, pad("large", 4<<10)) }()
		synctest.Wait()
		go func() { small <- o.Send(t.Context(), pad("small", 256)) }()
		synctest.Wait()
		cancel()
		if err := <-large; !errors.Is(err, context.Canceled) {
			t.Errorf("Send = %v, want context.Canceled", err)
		}
		if err := <-small; err != nil {
			t.Errorf("the one behind it: Send = %v", err)
		}
		batch := take(o)
		if got := text(batch); got != "half small" {
			t.Errorf("took %q, want %q", got, "half small")
		}
	})
}

func TestOutboxLetsOneLargeMessageThroughAlone(t *testing.T) {
	t.Parallel()
	o := NewOutbox(1<<10, nil)
	if err := o.Send(t.Context(), pad("huge", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if got := o.Bytes(); got != 1<<20 {
		t.Errorf("Bytes() = %d, want %d", got, 1<<20)
	}
}

func TestOutboxClose(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason CloseReason
		left   string
	}{
		{reason: Drain, left: "queued"},
		{reason: Completed, left: "queued"},
		{reason: ClientGone},
		{reason: WriteTimeout},
	}
	for _, tt := range tests {
		t.Run(string(tt.reason), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := NewOutbox(1<<10, nil)
				if err := o.Send(t.Context(), pad("queued", 1<<10)); err != nil {
					t.Fatal(err)
				}
				waiting := make(chan error, 1)
				go func() { waiting <- o.Send(t.Context(), pad("late", 200)) }()
				synctest.Wait()
				o.Close(tt.reason)
				o.Close(Shutdown)
				<-o.Done()
				var closed *ClosedError
				if err := <-waiting; !errors.As(err, &closed) || closed.Reason != tt.reason {
					t.Errorf("the waiting sender got %v, want reason %q", err, tt.reason)
				}
				if err := o.Send(t.Context(), pad("after", 200)); !errors.As(err, &closed) || closed.Reason != tt.reason {
					t.Errorf("a later sender got %v, want reason %q", err, tt.reason)
				}
				o.Mark(1)
				if got := o.Reason(); got != tt.reason {
					t.Errorf("Reason() = %q, want the first, %q", got, tt.reason)
				}
				batch := take(o)
				if got := text(batch); got != tt.left {
					t.Errorf("left %q, want %q", got, tt.left)
				}
			})
		})
	}
}

func TestOutboxManySenders(t *testing.T) {
	t.Parallel()
	const senders, each = 8, 200
	o := NewOutbox(2<<10, nil)
	for s := range senders {
		go func() {
			for i := range each {
				if err := o.Send(t.Context(), Message{Data: fmt.Appendf(nil, "%d", i), Group: uint64(s)}); err != nil {
					t.Errorf("Send = %v", err)
				}
			}
		}()
	}
	next := make([]int, senders)
	woken := make(signals, 1)
	o.attach(woken)
	for got := 0; got < senders*each; {
		batch := take(o)
		if len(batch) == 0 {
			<-woken
		}
		for _, e := range batch {
			if want := fmt.Sprint(next[e.Group]); string(e.Data) != want {
				t.Fatalf("group %d: message %s came before %s", e.Group, e.Data, want)
			}
			next[e.Group]++
			got++
		}
	}
}

// witness writes down what it is told.
type witness struct{ all [][]byte }

func (w *witness) Lost(m Message) { w.all = append(w.all, m.Data) }
func (w *witness) Written()       { w.all = append(w.all, []byte("written")) }
func (*witness) Crowded()         {}

// salvager is no Witness: its method of another kind hides that of one.
type salvager struct{ *witness }

func (salvager) Written(bool) {}

// What a writer has taken is lost too if the stream breaks, for whoever has no Log.
func TestSalvage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		to   func(*witness) Salvager
		act  func(o *Outbox, b *batch)
		want string
	}{
		{name: "it breaks", act: func(o *Outbox, _ *batch) { o.Close(WriteFailed) }, want: "[1 2 3]"},
		{name: "the write fails", act: func(o *Outbox, _ *batch) { o.fail(WriteFailed) }, want: "[1 2 3]"},
		{name: "it breaks, and then the write fails", act: func(o *Outbox, _ *batch) { o.Close(ClientGone); o.fail(WriteFailed); o.drop() }, want: "[1 2 3]"},
		{name: "it breaks, and then the write succeeds", act: func(o *Outbox, b *batch) { o.Close(ClientGone); o.next(b) }, want: "[1 2 3]"},
		{name: "the writer goes on with its buffer", act: func(o *Outbox, b *batch) { o.Close(WriteFailed); clear(b.buffer) }, want: "[1 2 3]"},
		{name: "it breaks after the write", act: func(o *Outbox, b *batch) { o.next(b); o.Close(ClientGone) }, want: "[written 3]"},
		{name: "all is written", act: func(o *Outbox, b *batch) { o.next(b); o.next(b); o.Close(Completed); o.drop() }, want: "[written]"},
		{name: "a Log has what was taken", to: func(w *witness) Salvager { return salvager{w} }, act: func(o *Outbox, _ *batch) { o.Close(WriteFailed) }, want: "[3]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &witness{}
			o := NewOutbox(0, nil)
			o.Salvage(w)
			if tt.to != nil {
				o.Salvage(tt.to(w))
			}
			send := func(text string) {
				if err := o.Send(t.Context(), Message{Data: []byte(text)}); err != nil {
					t.Fatal(err)
				}
			}
			send("1")
			send("2")
			o.Mark(1)
			b := &batch{}
			if o.next(b) != writing {
				t.Fatal("nothing to write")
			}
			send("3")
			b.encode(&Options{Render: func(uint32) []Message { return nil }})
			tt.act(o, b)
			if got := fmt.Sprintf("%s", w.all); got != tt.want {
				t.Errorf("lost and written: %s, want %s", got, tt.want)
			}
		})
	}
}
