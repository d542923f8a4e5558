// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		attempt    int
		retryAfter time.Duration
		least      time.Duration
		most       time.Duration
	}{
		{name: "first", attempt: 0, least: 500 * time.Millisecond, most: time.Second},
		{name: "doubles", attempt: 3, least: 4 * time.Second, most: 8 * time.Second},
		{name: "ends at the maximum", attempt: 5, least: 15 * time.Second, most: 30 * time.Second},
		{name: "never overflows", attempt: 1_000_000, least: 15 * time.Second, most: 30 * time.Second},
		{name: "the server asks for more", attempt: 0, retryAfter: 7 * time.Second, least: 7 * time.Second, most: 7 * time.Second},
		{name: "the server asks for less", attempt: 3, retryAfter: time.Second, least: 4 * time.Second, most: 8 * time.Second},
		{name: "the server asks for a day", attempt: 0, retryAfter: 24 * time.Hour, least: 5 * time.Minute, most: 5 * time.Minute},
	}
	b := Backoff{}.withDefaults()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := map[time.Duration]bool{}
			for range 100 {
				got := b.delay(tt.attempt, tt.retryAfter)
				if got < tt.least || got > tt.most {
					t.Fatalf("delay = %s, want %s to %s", got, tt.least, tt.most)
				}
				seen[got] = true
			}
			if tt.least != tt.most && len(seen) < 50 {
				t.Errorf("only %d of 100 delays differ: the jitter is missing", len(seen))
			}
		})
	}
}

func TestQueueKeepsTheNewest(t *testing.T) {
	t.Parallel()
	q := newQueue(3)
	for i := range 10 {
		q.put(Progress{Progress: float64(i)})
	}
	q.close(Closed{})
	q.put(Progress{}) // After the end nothing is added.
	var got []float64
	missing := 0
	for e := range q.out {
		switch e := e.(type) {
		case Progress:
			got = append(got, e.Progress)
		case Dropped:
			missing += e.Count
		case Closed:
			got = append(got, -1)
		}
	}
	if len(got) == 0 || got[len(got)-1] != -1 {
		t.Errorf("events = %v, want Closed last", got)
	}
	if missing+len(got) != 11 {
		t.Errorf("%d events and %d dropped, want 11 in sum", len(got), missing)
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		url       string
		transport Transport
		want      string
	}{
		{name: "as it is", url: "http://a/x/mcp?q=1", transport: Auto, want: "http://a/x/mcp?q=1"},
		{name: "no path", url: "http://a", transport: Auto, want: "http://a/mcp"},
		{name: "no path for sse", url: "http://a/", transport: SSE, want: "http://a/sse"},
		{name: "the sse beside mcp", url: "http://a/orders/mcp", transport: SSE, want: "http://a/orders/sse"},
		{name: "another path for sse", url: "http://a/events", transport: SSE, want: "http://a/events"},
		{name: "no fragment", url: "http://a/mcp#top", transport: Auto, want: "http://a/mcp"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := endpoint(u, tt.transport).String(); got != tt.want {
				t.Errorf("endpoint = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		value string
		want  time.Duration
	}{
		{name: "none", value: "", want: 0},
		{name: "seconds", value: "120", want: 2 * time.Minute},
		{name: "a date", value: at.Add(90 * time.Second).Format(http.TimeFormat), want: 90 * time.Second},
		{name: "a date that is over", value: at.Add(-time.Hour).Format(http.TimeFormat), want: 0},
		{name: "negative", value: "-1", want: 0},
		{name: "words", value: "soon", want: 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := retryAfter(tt.value, at); got != tt.want {
				t.Errorf("retryAfter = %s, want %s", got, tt.want)
			}
		})
	}
}

// TestProgressIsCountedAcrossReads: a mark may be split anywhere.
func TestProgressIsCountedAcrossReads(t *testing.T) {
	t.Parallel()
	data := []byte(`data: {"method":"notifications/progress"}` + "\n\n" + `data: {"method":"notifications/progress"}` + "\n\n")
	for size := 1; size <= len(data); size++ {
		var seen atomic.Int64
		var ended error
		body := &watchedBody{
			ReadCloser: io.NopCloser(bytes.NewReader(data)), ctx: t.Context(), seen: &seen,
			ended: func(err error) { ended = err },
		}
		got, err := io.ReadAll(io.MultiReader(onlyReader{body, size}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(data), string(got)); diff != "" {
			t.Fatalf("reads of %d bytes (-want +got):\n%s", size, diff)
		}
		if seen.Load() != 2 {
			t.Errorf("reads of %d bytes: %d marks, want 2", size, seen.Load())
		}
		if !errors.Is(ended, errStreamEnded) {
			t.Errorf("reads of %d bytes: ended with %v, want errStreamEnded", size, ended)
		}
	}
}

// onlyReader reads at most size bytes at once.
type onlyReader struct {
	r    io.Reader
	size int
}

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), o.size)]) }
