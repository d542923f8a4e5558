// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/peer/mux"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// forwarding is one request that is served elsewhere.
type forwarding struct {
	links    *Links
	w        http.ResponseWriter
	r        *http.Request
	owner    session.Owner // that the session's id names
	envelope *envelope
	content  []byte
	path     string
	result   result
}

// result is what came of offering a request to one replica.
type result struct {
	// served: the client has its answer, whatever it is.
	served bool
	// verdict is why the replica did not serve it, empty if it gave no reason.
	verdict string
	// moved is where the session went.
	moved netip.AddrPort
	// gone: the replica has not got the session, or nobody listens there.
	gone bool
	// dead: the process that it was meant for has ended.
	dead bool
	err  error
}

// buffers hold a part of an answer on its way back.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// bufferSize is how much of an answer is passed on at once, in bytes.
const bufferSize = 8 << 10

// to sends the request to one replica, and passes its answer on.
func (f *forwarding) to(ctx context.Context, addr netip.AddrPort) result {
	l := f.links
	id := l.identity.Load()
	if !id.usable() {
		return result{err: errUnreachable}
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	isStream := f.r.Method == http.MethodGet
	var left *atomic.Bool
	if isStream {
		s := l.open.add(&Stream{cancel: leave, members: l.members, at: addr})
		left = &s.left
		defer l.open.remove(s)
	}
	a, err := f.send(ctx, l.to(addr), id, isStream)
	switch {
	case err == nil:
	case errors.Is(err, errRefused):
		l.refused(addr)
		return result{gone: true, dead: true, err: err}
	case errors.Is(err, errLost):
		return f.lost(err)
	default:
		return result{err: err}
	}
	defer a.done()
	if verdict := a.Header.Get(verdictHeader); verdict != "" {
		moved, _ := netip.ParseAddrPort(a.Header.Get(movedHeader))
		dead := verdict == verdictReplaced
		return result{verdict: verdict, moved: moved, gone: dead || verdict == verdictGone, dead: dead}
	}
	f.pass(a, left)
	return result{served: true}
}

// send sends the request. One that may be repeated is, if the connection broke.
func (f *forwarding) send(ctx context.Context, to *link, id *identity, isStream bool) (*answer, error) {
	q := f.request()
	a, err := to.send(ctx, id, isStream, q)
	if errors.Is(err, errLost) && f.r.Method == http.MethodGet && ctx.Err() == nil {
		a, err = to.send(ctx, id, isStream, q)
	}
	return a, err
}

// passed are the headers of a client that its session's owner needs. Credentials
// stay here, and the other Mcp-* ones are of the stateless era.
var passed = []string{
	"Accept", "Accept-Encoding", "Content-Type", "Last-Event-Id", "Mcp-Protocol-Version", "Mcp-Session-Id", "Traceparent", "Tracestate",
	"User-Agent",
}

// maxValues bounds the values of a header that are passed on: a head that is too
// large for the link would end it, and with it what others have on their way.
const maxValues = 8

// request is what is sent of the client's.
func (f *forwarding) request() *mux.Request {
	q := &mux.Request{Method: f.r.Method, Target: f.path, Body: f.content, Header: make(http.Header, 8)}
	if f.r.URL.RawQuery != "" {
		q.Target += "?" + f.r.URL.RawQuery
	}
	for _, name := range passed {
		if values := f.r.Header[name]; len(values) > 0 {
			q.Header[name] = values[:min(len(values), maxValues)]
		}
	}
	q.Header[forwardHeader] = []string{f.envelope.encode()}
	if f.r.Method == http.MethodPost {
		q.Header["Content-Length"] = []string{strconv.Itoa(len(f.content))}
	}
	return q
}

// isOurs reports whether a header of an answer belongs to one connection, or is
// written by net/http itself.
func isOurs(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Date":
		return true
	default:
		return strings.HasPrefix(name, headerPrefix)
	}
}

// pass gives the owner's answer to the client, each piece as it comes.
func (f *forwarding) pass(a *answer, left *atomic.Bool) {
	h := f.w.Header()
	for name, values := range a.Header {
		switch {
		case isOurs(name):
		case name == "Vary":
			h[name] = append(h[name], values...)
		default:
			h[name] = values
		}
	}
	c := f.client(strings.HasPrefix(a.Header.Get("Content-Type"), stream.MediaType))
	c.extend()
	f.w.WriteHeader(a.Status)
	err := c.flush()
	b, _ := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(b)
	for err == nil {
		n, readErr := a.Read(b[:])
		if n > 0 {
			err = c.write(b[:n])
		}
		switch {
		case err != nil || readErr == nil:
		case errors.Is(readErr, io.EOF):
			c.extend()
			f.finish(OutcomeAnswered)
			return
		default:
			f.cut(left)
			return
		}
	}
	f.finish(OutcomeCancelled)
}

// client is the way to the client: each write has a deadline, and what belongs to a
// stream does not wait for more.
type client struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	isStream bool
}

func (f *forwarding) client(isStream bool) *client {
	return &client{w: f.w, control: http.NewResponseController(f.w), timeout: f.links.Core.Settings().WriteTimeout, isStream: isStream}
}

// extend bounds the writes that follow. The server clears the last deadline after
// it has sent the rest.
func (c *client) extend() { _ = c.control.SetWriteDeadline(time.Now().Add(c.timeout)) }

func (c *client) write(b []byte) error {
	c.extend()
	if _, err := c.w.Write(b); err != nil {
		return err
	}
	return c.flush()
}

// flush sends what a stream has so far. Until there is more, no deadline may pass.
func (c *client) flush() error {
	if !c.isStream {
		return nil
	}
	if err := c.control.Flush(); err != nil {
		return err
	}
	return c.control.SetWriteDeadline(time.Time{})
}

// cut ends an answer that was cut: a stream of ours in good order if it is we who
// end it, all else so that the client sees that something is missing.
func (f *forwarding) cut(left *atomic.Bool) {
	switch {
	case left != nil && left.Load():
		f.finish(OutcomeAnswered)
		return
	case f.r.Context().Err() != nil:
		f.finish(OutcomeCancelled)
	default:
		f.finish(OutcomeLost)
	}
	panic(http.ErrAbortHandler)
}

func (f *forwarding) finish(outcome string) { f.links.Observer.Forwarded(outcome) }

// lost answers for a request of which nobody knows what became: the client must
// not be told to try again, since a call would run twice.
func (f *forwarding) lost(err error) result {
	if f.r.Context().Err() != nil {
		f.finish(OutcomeCancelled)
		return result{served: true, err: err}
	}
	f.links.wake()
	f.finish(OutcomeLost)
	no := transport.Refusal{
		Status: http.StatusBadGateway, Code: "outcome_unknown",
		Message: "the connection to the replica that has this session broke before it answered; the request may have been carried out",
	}
	if f.r.Method == http.MethodGet {
		no.Status, no.RetryAfter, no.Code = http.StatusServiceUnavailable, time.Second, "owner_unreachable"
		no.Message = "the connection to the replica that has this session broke; try again"
	}
	f.links.Core.Refuse(f.w, f.r, no)
	return result{served: true, err: err}
}

// streams are those of Stream that are open.
type streams struct {
	mu   sync.Mutex // guards open
	open map[*Stream]struct{}
}

func (s *streams) add(opened *Stream) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*Stream]struct{}{}
	}
	s.open[opened] = struct{}{}
	return opened
}

func (s *streams) remove(closed *Stream) {
	closed.over.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, closed)
}

// Streams are the open streams of this replica's clients whose sessions are on
// others, in no order.
func (l *Links) Streams() []*Stream {
	l.open.mu.Lock()
	defer l.open.mu.Unlock()
	all := make([]*Stream, 0, len(l.open.open))
	for s := range l.open.open {
		all = append(all, s)
	}
	return all
}

// Stream is an open stream of a client of this replica whose session is on another.
type Stream struct {
	cancel  func()
	members *members
	at      netip.AddrPort // where the session is
	left    atomic.Bool
	over    atomic.Bool
}

// Busy reports whether the session's replica takes leave too: it closes the stream
// itself once the session has moved. A client that is cut before would come back to a
// session that takes no stream any more, or be cut a second time.
func (s *Stream) Busy() bool { return !s.over.Load() && s.members.leaves(s.at) }

// Leave ends the stream here; the session goes on.
func (s *Stream) Leave(stream.CloseReason) {
	s.left.Store(true)
	s.cancel()
}
