// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

const testBody = 1 << 10

func newBudgetCore(budget int64, refused *[]string) *Core {
	return New(Options{
		Budget: NewBudget(budget, testBody), Refused: func(code string) { *refused = append(*refused, code) },
		Settings: Settings{MaxRequestSize: testBody, ReadTimeout: time.Minute, CompressMinSize: 1 << 20},
	})
}

func post(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mcp", body)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestBodyBudget(t *testing.T) {
	t.Parallel()
	full := strings.Repeat(" ", testBody)
	tests := []struct {
		name   string
		budget int64
		body   func() io.Reader
		want   int // bodies that fit
	}{
		{name: "floor of four bodies", budget: 1, body: func() io.Reader { return strings.NewReader(full) }, want: 4},
		{name: "given", budget: 6 * testBody, body: func() io.Reader { return strings.NewReader(full) }, want: 6},
		{name: "no length", budget: 4 * testBody, body: func() io.Reader { return io.MultiReader(strings.NewReader(full)) }, want: 4},
		// While it comes, one without a length counts as the largest.
		{name: "short, no length", budget: 4 * testBody, body: func() io.Reader { return io.MultiReader(strings.NewReader(full[:testBody/2])) }, want: 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var refused []string
			c := newBudgetCore(tt.budget, &refused)
			var releases []func()
			for i := range tt.want {
				body, release, ok := c.ReadBody(httptest.NewRecorder(), post(t, tt.body()))
				if !ok || len(bytes.TrimSpace(body)) != 0 {
					t.Fatalf("body %d was refused: %v", i, refused)
				}
				releases = append(releases, release)
			}
			w := httptest.NewRecorder()
			if _, _, ok := c.ReadBody(w, post(t, tt.body())); ok {
				t.Fatalf("body %d was not refused", tt.want)
			}
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || !strings.HasPrefix(w.Body.String(), `{"error":"overloaded",`) || !slices.Equal(refused, []string{"buffers"}) {
				t.Errorf("refusal = %d %v %s, metric %v", w.Code, w.Header(), w.Body, refused)
			}
			for _, release := range releases {
				release()
			}
			if held := c.bytes.Held(); held != 0 {
				t.Errorf("released bodies are still counted: %d bytes", held)
			}
		})
	}
}

// TestBodyBudgetOfRefused finds that what is refused while it is read, is not
// held.
func TestBodyBudgetOfRefused(t *testing.T) {
	t.Parallel()
	var refused []string
	c := newBudgetCore(0, &refused)
	for _, body := range []io.Reader{
		io.MultiReader(strings.NewReader(strings.Repeat(" ", testBody+1))),
		io.MultiReader(strings.NewReader(" "), brokenReader{}),
	} {
		if _, _, ok := c.ReadBody(httptest.NewRecorder(), post(t, body)); ok {
			t.Error("body was not refused")
		}
	}
	if want := []string{"request_too_large", "unreadable_body"}; !slices.Equal(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
	if held := c.bytes.Held(); c.bytes.Size() != DefaultBudget || held != 0 {
		t.Errorf("%d of %d bytes are held", held, c.bytes.Size())
	}
	// Larger bodies than the budget, after a change of the settings, need all of it.
	large := &body{}
	if !c.reserve(large, 2*DefaultBudget, 2*DefaultBudget) || large.share != DefaultBudget {
		t.Errorf("reserve() took %d", large.share)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestWaitingMessagesTakeOfTheBudget fills the budget with messages: bodies and
// streams are refused until they are gone.
func TestWaitingMessagesTakeOfTheBudget(t *testing.T) {
	t.Parallel()
	var refused []string
	c := newBudgetCore(4*testBody, &refused)
	c.streams = limit.New(limit.Config{Streams: 1})
	out := c.NewOutbox()
	if err := out.Send(t.Context(), stream.Message{Data: make([]byte, 4*testBody)}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := c.ReadBody(httptest.NewRecorder(), post(t, strings.NewReader("{}"))); ok {
		t.Error("a body was read")
	}
	w := httptest.NewRecorder()
	if _, ok := c.OpenStream(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/sse", http.NoBody)); ok {
		t.Error("a stream was opened")
	}
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || !strings.HasPrefix(w.Body.String(), `{"error":"overloaded",`) {
		t.Errorf("the stream was refused with %d, %q", w.Code, w.Body)
	}
	if !slices.Equal(refused, []string{"buffers", "buffers"}) {
		t.Errorf("counted %v", refused)
	}
	out.Close(stream.ClientGone)
	if held := c.bytes.Held(); held != 0 {
		t.Fatalf("%d bytes are held after the end", held)
	}
	if _, ok := c.OpenStream(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/sse", http.NoBody)); !ok {
		t.Error("a stream was refused although nothing is held")
	}
}
