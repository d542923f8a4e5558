// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstStep = time.Second
	lastStep  = 30 * time.Second
	// maxRetryAfter bounds what a server may ask for: a wrong clock or a typing
	// error there must not silence a client for a day.
	maxRetryAfter = 5 * time.Minute
)

// Backoff doubles the wait between attempts from Min to Max. Each wait is drawn
// between half and the whole of its step, so that the clients of a restarted
// server do not all come back at once.
type Backoff struct {
	// Min is the first step, 1 s by default.
	Min time.Duration
	// Max is the last step, 30 s by default.
	Max time.Duration
}

func (b Backoff) withDefaults() Backoff {
	if b.Min <= 0 {
		b.Min = firstStep
	}
	if b.Max <= 0 {
		b.Max = lastStep
	}
	b.Max = max(b.Max, b.Min)
	return b
}

// step is the whole of the step of an attempt, counted from 0.
func (b Backoff) step(attempt int) time.Duration {
	d := b.Min
	for range attempt {
		if d >= b.Max/2 {
			return b.Max
		}
		d *= 2
	}
	return min(d, b.Max)
}

// delay is how long to wait before the attempt after this one. A server's
// Retry-After only ever lengthens it.
func (b Backoff) delay(attempt int, retryAfter time.Duration) time.Duration {
	d := b.step(attempt)
	d = d/2 + rand.N(d/2+1) //nolint:gosec // G404: jitter is no secret.
	return max(d, min(retryAfter, maxRetryAfter))
}

// wait returns early, with an error, when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
