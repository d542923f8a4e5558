// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// redacted stands for a value that must not be shown.
const redacted = "redacted"

// stopwatch measures one exchange for a call that asked for a trace.
type stopwatch struct {
	began time.Time

	// mu guards what the transport's goroutines report: a dial that was
	// started for this request may end after it.
	mu      sync.Mutex
	dialing time.Time
	trace   tool.Trace
}

// newStopwatch notes the request, without its secrets.
func newStopwatch(r *http.Request, secret []config.SecretHeader) *stopwatch {
	header := make(map[string]string, len(r.Header))
	for name, values := range r.Header {
		header[name] = strings.Join(values, ", ")
	}
	for _, h := range secret {
		header[http.CanonicalHeaderKey(h.Name)] = redacted
	}
	shown := *r.URL
	shown.User = nil
	return &stopwatch{began: time.Now(), trace: tool.Trace{Method: r.Method, URL: shown.String(), Header: header}}
}

// attach returns a context that reports to the stopwatch.
func (s *stopwatch) attach(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { s.note(func(now time.Time) { s.dialing = now }) },
		GotConn: func(info httptrace.GotConnInfo) {
			s.note(func(now time.Time) {
				if !info.Reused {
					s.trace.ConnectMillis = millis(now.Sub(s.dialing))
				}
			})
		},
		GotFirstResponseByte: func() {
			s.note(func(now time.Time) { s.trace.FirstByteMillis = millis(now.Sub(s.began)) })
		},
	})
}

// note runs f under the lock.
func (s *stopwatch) note(f func(now time.Time)) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f(now)
}

// answered notes what came.
func (s *stopwatch) answered(status int, size int64) {
	s.note(func(time.Time) { s.trace.Status, s.trace.Bytes = status, size })
}

// stop returns the trace.
func (s *stopwatch) stop() *tool.Trace {
	var done tool.Trace
	s.note(func(now time.Time) {
		s.trace.TotalMillis = millis(now.Sub(s.began))
		done = s.trace
	})
	return &done
}

// millis is d in milliseconds with microseconds.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
