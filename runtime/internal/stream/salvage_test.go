// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
)

// broken is a connection on which nothing can be written.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// crowd is a request's context that has other streams write while it is asked: they
// use the memory that was given back until then.
type crowd struct{ context.Context }

func (c crowd) Err() error {
	for range 16 {
		b := newBatch()
		clear(b.buffer[:cap(b.buffer)])
	}
	return c.Context.Err()
}

// What comes back of a plain stream is its own also when others write meanwhile.
func TestWhatAPlainWriterGivesBackIsItsOwn(t *testing.T) {
	t.Parallel()
	w := &witness{}
	o := NewOutbox(0, nil)
	o.Salvage(w)
	for _, text := range []string{"1", "2"} {
		if err := o.Send(t.Context(), Message{Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(crowd{t.Context()}, http.MethodGet, "/sse", nil)
	if got := Serve(broken{httptest.NewRecorder()}, r, o, Options{}); got != WriteFailed {
		t.Fatalf("the stream ended: %s", got)
	}
	if got := fmt.Sprintf("%q", w.all); got != `["1" "2"]` {
		t.Errorf("lost: %s", got)
	}
}

// A message that has taken the place of older ones is the stream's, though its sender
// still waits: it comes back once, and the sender does not send it again.
func TestWhatReplacedOthersComesBackOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &witness{}
		o := NewOutbox(0, nil)
		o.Salvage(w)
		sent, ended := 0, make(chan error, 1)
		go func() {
			for {
				m := pad(strconv.Itoa(sent), 1<<10)
				m.Fold, m.Group = "token", 1
				if err := o.Send(t.Context(), m); err != nil {
					ended <- err
					return
				}
				sent++
			}
		}()
		synctest.Wait()
		waits := sent
		o.Close(ClientGone)
		if err := <-ended; !errors.As(err, new(*ClosedError)) || sent != waits+1 {
			t.Errorf("the sender ended with %v after %d messages, want a ClosedError after %d", err, sent, waits+1)
		}
		if len(w.all) != 1 || !bytes.HasPrefix(w.all[0], []byte(strconv.Itoa(waits))) {
			t.Errorf("lost: %.20q, want message %d once", w.all, waits)
		}
	})
}
