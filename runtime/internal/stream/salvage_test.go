// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
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
