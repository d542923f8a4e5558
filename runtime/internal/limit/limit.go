// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package limit counts what one replica takes on and refuses what would be too
// much. All limits are per replica.
package limit

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

// The reasons of Exceeded; they are a metric's label.
const (
	// ReasonCalls means that all calls together are too many.
	ReasonCalls = "in_flight_calls"
	// ReasonPrincipalCalls means that one principal's calls are too many.
	ReasonPrincipalCalls = "in_flight_per_principal"
	// ReasonStreams means that the replica's open streams are too many.
	ReasonStreams = "streams_per_replica"
	// ReasonMemory means that the replica is near its memory limit; see Pressure.
	ReasonMemory = "memory"
)

// maxIdle bounds the records of principals without a call that are kept for
// reuse, so that a call needs no allocation.
const maxIdle = 256

// Config are the limits. Zero or less means that nothing is allowed: the
// defaults are those of runtime/config.
type Config struct {
	// Calls bounds the calls in flight of all principals together.
	Calls int
	// CallsPerPrincipal bounds the calls in flight of one principal. Anonymous
	// callers are not bounded by it: they are many under one key.
	CallsPerPrincipal int
	// Streams bounds the open streams.
	Streams int
}

// Exceeded refuses a reservation. Its text is safe for clients.
type Exceeded struct {
	// Reason is one of the Reason constants.
	Reason string
	// Status is 429 when the caller or the number of connections is the reason,
	// 503 when the replica is overloaded.
	Status int
	// RetryAfter is when a new attempt makes sense, in whole seconds and at
	// least one.
	RetryAfter time.Duration
	// Limit is the number that would have been exceeded; of memory, the percent
	// of the limit.
	Limit int
}

// Error implements error.
func (e *Exceeded) Error() string {
	switch e.Reason {
	case ReasonPrincipalCalls:
		return fmt.Sprintf("too many calls in flight for this client: at most %d; retry after %s", e.Limit, e.RetryAfter)
	case ReasonMemory:
		return fmt.Sprintf("this replica uses more than %d %% of its memory; retry after %s", e.Limit, e.RetryAfter)
	case ReasonStreams:
		return fmt.Sprintf("too many open streams on this replica: at most %d; retry after %s", e.Limit, e.RetryAfter)
	default:
		return fmt.Sprintf("too many calls in flight on this replica: at most %d; retry after %s", e.Limit, e.RetryAfter)
	}
}

// Limiter holds the counts. It is safe for concurrent use, and exact: the count
// never exceeds the limit, not even for a moment. Lowering a limit refuses new
// reservations and takes none away.
type Limiter struct {
	pressure *Pressure // nil: memory is never short

	mu            sync.Mutex
	config        Config
	calls         int
	streams       int
	byPrincipal   map[string]*principal
	idle          []*principal
	releaseStream func()
}

// principal counts one principal's calls. Its release function is made once, so
// that a reservation allocates nothing.
type principal struct {
	key     string
	calls   int
	release func()
}

// New returns a Limiter.
func New(c Config) *Limiter {
	l := &Limiter{config: c, byPrincipal: make(map[string]*principal)}
	l.releaseStream = l.dropStream
	return l
}

// Heed has l refuse what is new while memory is short. It is to be called before
// l is used.
func (l *Limiter) Heed(p *Pressure) { l.pressure = p }

// Resize takes on new limits at once.
func (l *Limiter) Resize(c Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.config = c
}

// Call reserves a call in flight for a principal's key. release gives it back
// and must be called exactly once. The error is an *Exceeded.
func (l *Limiter) Call(key string) (release func(), err error) {
	if err := l.pressure.admit(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls >= l.config.Calls {
		return nil, &Exceeded{Reason: ReasonCalls, Status: http.StatusServiceUnavailable, RetryAfter: time.Second, Limit: l.config.Calls}
	}
	p := l.byPrincipal[key]
	if key != auth.AnonymousKey && (l.config.CallsPerPrincipal <= 0 || p != nil && p.calls >= l.config.CallsPerPrincipal) {
		return nil, &Exceeded{Reason: ReasonPrincipalCalls, Status: http.StatusTooManyRequests, RetryAfter: time.Second, Limit: l.config.CallsPerPrincipal}
	}
	if p == nil {
		p = l.record(key)
	}
	p.calls++
	l.calls++
	return p.release, nil
}

// record takes an idle record or makes one; the caller holds mu.
func (l *Limiter) record(key string) *principal {
	var p *principal
	if n := len(l.idle); n > 0 {
		p, l.idle = l.idle[n-1], l.idle[:n-1]
	} else {
		p = &principal{}
		p.release = func() { l.dropCall(p) }
	}
	p.key = key
	l.byPrincipal[key] = p
	return p
}

// dropCall gives one of p's calls back.
func (l *Limiter) dropCall(p *principal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	p.calls--
	if p.calls > 0 {
		return
	}
	delete(l.byPrincipal, p.key)
	p.key = ""
	if len(l.idle) < maxIdle {
		l.idle = append(l.idle, p)
	}
}

// Stream reserves an open stream. release gives it back and must be called
// exactly once. The error is an *Exceeded.
func (l *Limiter) Stream() (release func(), err error) {
	if err := l.pressure.admit(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams >= l.config.Streams {
		return nil, &Exceeded{Reason: ReasonStreams, Status: http.StatusTooManyRequests, RetryAfter: 5 * time.Second, Limit: l.config.Streams}
	}
	l.streams++
	return l.releaseStream, nil
}

// dropStream gives a stream back.
func (l *Limiter) dropStream() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams--
}

// Session says whether a session may begin, of which the session package holds
// the count. The error is an *Exceeded.
func (l *Limiter) Session() error { return l.pressure.admit() }

// Usage returns how many calls and streams are reserved now.
func (l *Limiter) Usage() (calls, streams int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls, l.streams
}
