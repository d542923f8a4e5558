// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// errForeign is why a request to another host than the user's is not sent: an
// HTTP+SSE server names the address for posts itself.
var errForeign = errors.New("the server sent the client to another host")

// errStreamEnded is the reason of a loss when the server gave none.
var errStreamEnded = errors.New("the server closed the stream")

// link sends the requests of one connection and sees what the SDK above it
// hides: that the standing stream broke, what a refusal said, and whether a
// call's bytes left. It resumes the stream of a session by itself, since the
// SDK gives up after a few attempts and on any 503.
type link struct {
	options  *Options
	origin   *url.URL
	standing Transport // which kind of stream stands; see stands

	// interrupted and resumed report on a stream that this link resumes.
	interrupted func(err error, retryIn time.Duration)
	resumed     func()

	// lost is closed, with cause set before, when the standing stream is gone
	// for good.
	lost     chan struct{}
	loseOnce sync.Once
	cause    error

	opened  atomic.Bool                 // the standing stream was open once
	ending  atomic.Bool                 // set before the connection is closed on purpose
	refusal atomic.Pointer[StatusError] // the last answer's; nil if it was none

	// seen counts progress messages that arrived, so that a call can wait until
	// all of its own were handled.
	seen atomic.Int64
}

func newLink(o *Options, standing Transport) (*link, error) {
	origin, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("failed to read the URL: %w", err)
	}
	return &link{
		options: o, origin: origin, standing: standing,
		interrupted: func(error, time.Duration) {}, resumed: func() {},
		lost: make(chan struct{}),
	}, nil
}

// lose says that the connection is of no more use.
func (l *link) lose(err error) {
	l.loseOnce.Do(func() {
		l.cause = err
		close(l.lost)
	})
}

// client gives what the SDK's transports use.
func (l *link) client() *http.Client {
	return &http.Client{
		Transport:     l,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// callKey finds the *flight of a call in the context of its requests.
type callKey struct{}

// flight says how far a call's request came.
type flight struct {
	sent    atomic.Bool
	refusal atomic.Pointer[StatusError]
}

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != l.origin.Scheme || r.URL.Host != l.origin.Host {
		return nil, fmt.Errorf("%w: %s", errForeign, r.URL.Host)
	}
	flight, _ := r.Context().Value(callKey{}).(*flight)
	if r.Method == http.MethodGet && flight == nil && l.opened.Load() {
		return l.resume(r)
	}
	resp, _, err := l.send(r, flight)
	switch {
	case !l.stands(r, flight):
		if err != nil {
			return nil, err
		}
		l.tee(resp, nil)
		return resp, nil
	case err != nil:
		if r.Method == http.MethodGet && l.standing != SSE {
			// The SDK would try again on its own terms; a status makes it stop.
			l.lose(err)
			return unavailable(r, err), nil
		}
		return nil, err
	}
	l.stand(resp)
	return resp, nil
}

// stands says whether the answer to r is the stream on which the server speaks
// unasked.
func (l *link) stands(r *http.Request, f *flight) bool {
	if r.Method == http.MethodGet {
		return f == nil
	}
	return r.Method == http.MethodPost && r.Header.Get("Mcp-Method") == "subscriptions/listen"
}

// stand watches an opened stream.
func (l *link) stand(resp *http.Response) {
	if resp.StatusCode != http.StatusOK {
		return // There is no stream; the SDK judges whether that matters.
	}
	l.opened.Store(true)
	resumable := resp.Request.Method == http.MethodGet && l.standing != SSE
	l.tee(resp, func(err error) {
		switch {
		case l.ending.Load():
		case resumable:
			l.interrupted(err, l.options.Backoff.step(0))
		default:
			l.lose(err)
		}
	})
}

// resume opens the stream of a session again, until it succeeds or the server
// says that the session is gone. The SDK has set Last-Event-ID.
func (l *link) resume(r *http.Request) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		resp, refusal, err := l.send(r, nil)
		if err == nil && (refusal == nil || !refusal.Temporary()) {
			if refusal == nil {
				l.stand(resp)
				l.resumed()
			}
			return resp, nil
		}
		if err == nil {
			err = refusal
		} else if permanent(err) {
			l.lose(err)
			return unavailable(r, err), nil
		}
		delay := l.options.Backoff.delay(attempt, after(err))
		l.interrupted(err, delay)
		if waitErr := wait(r.Context(), delay); waitErr != nil {
			return nil, waitErr
		}
	}
}

// send adds what every request carries, and notes refusals.
func (l *link) send(r *http.Request, f *flight) (*http.Response, *StatusError, error) {
	ctx := r.Context()
	if f != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			// The first header is written just before the first byte can leave.
			WroteHeaderField: func(string, []string) { f.sent.Store(true) },
		})
	}
	out := r.Clone(ctx)
	for name, values := range l.options.Header {
		out.Header[http.CanonicalHeaderKey(name)] = values
	}
	if l.options.APIKey != "" {
		out.Header.Set("Authorization", "Bearer "+l.options.APIKey)
	}
	out.Header.Set("User-Agent", l.options.Name+"/"+l.options.Version)
	resp, err := l.options.RoundTripper.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		l.refusal.Store(nil)
		return resp, nil, nil
	}
	refusal, body := readRefusal(resp, time.Now())
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	l.refusal.Store(refusal)
	if f != nil {
		f.refusal.Store(refusal)
	}
	return resp, refusal, nil
}

// after is how long the server asked to wait.
func after(err error) time.Duration {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.RetryAfter
	}
	return 0
}

// unavailable is an answer that stands for an error.
func unavailable(r *http.Request, err error) *http.Response {
	return &http.Response{
		Status: "503 Service Unavailable", StatusCode: http.StatusServiceUnavailable,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  http.Header{"Content-Type": {"text/plain"}},
		Body:    io.NopCloser(strings.NewReader(err.Error())),
		Request: r,
	}
}

// tee watches the body of an event stream; ended may be nil.
func (l *link) tee(resp *http.Response, ended func(error)) {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		if ended != nil {
			ended(fmt.Errorf("the server answered with %q instead of an event stream", resp.Header.Get("Content-Type")))
		}
		return
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: resp.Request.Context(), seen: &l.seen, ended: ended}
}

// watchedBody reports the end of a stream and counts the progress messages in it.
type watchedBody struct {
	io.ReadCloser

	ctx   context.Context //nolint:containedctx // It is the request's own: whether the caller ended it is what tells a loss from a farewell.
	seen  *atomic.Int64
	ended func(error)

	tail []byte // the end of the last read, shorter than the mark
}

var progressMark = []byte(`notifications/progress`)

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.count(p[:n])
	if err != nil && b.ended != nil {
		reason := err
		if errors.Is(err, io.EOF) {
			reason = errStreamEnded
		}
		if b.ctx.Err() == nil {
			b.ended(reason)
		}
		b.ended = nil
	}
	return n, err
}

func (b *watchedBody) count(p []byte) {
	joined := slices.Concat(b.tail, p)
	if n := bytes.Count(joined, progressMark); n > 0 {
		b.seen.Add(int64(n))
	}
	// What is kept is shorter than the mark, so that none is counted twice.
	keep := min(len(joined), len(progressMark)-1)
	b.tail = append(b.tail[:0], joined[len(joined)-keep:]...)
}
