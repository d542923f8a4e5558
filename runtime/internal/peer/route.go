// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"time"

	"fairlead.dev/fairlead/runtime/internal/transport"
)

// maxTries bounds the replicas that one request is offered to: the owner, the one
// that took the session over, and the one that took it from there.
const maxTries = 3

// Route serves a request that names a session on another replica, and reports
// whether it did: what belongs here, and what no replica made, is the transports'
// to answer. The request is authenticated, its path is an endpoint's own, and body
// is what was read of it already, if anything.
//
// An id that was not sealed by this server for this principal never causes a
// connection. The answer is 404 only on evidence that no replica has the session,
// otherwise 503 with Retry-After. A request of which a byte has left is not sent
// again.
func (l *Links) Route(w http.ResponseWriter, r *http.Request, id string, body []byte) (handled bool) {
	p := transport.Principal(r.Context())
	owner, key, ok := l.Sealer.Open(id, p.Key)
	if !ok {
		return false
	}
	l.Sessions.Settle(r.Context(), key)
	if l.Sessions.Has(key) {
		return false
	}
	e := &envelope{Key: key, Forwarded: Forwarded{
		Principal: p, RequestID: w.Header().Get("X-Request-Id"), ClientAddr: r.RemoteAddr, Hops: 1,
	}}
	first, moved := l.Sessions.Where(key)
	if !moved {
		if owner == l.self || !owner.Addr.IsValid() {
			return false
		}
		if first, moved = l.moved.get(key); !moved {
			first, e.Boot = owner.Addr, owner.Boot
		}
	}
	f := &forwarding{links: l, w: w, r: r, owner: owner, envelope: e, content: body, path: r.URL.Path}
	// A 2024 client that comes back to a session that is gone gets a new one here,
	// and is told so: a status would only make it give up.
	if r.Method == http.MethodGet && r.URL.Path == ssePath {
		return f.offer(r.Context(), first)
	}
	if r.Method == http.MethodPost && body == nil {
		read, release, ok := l.Core.ReadBody(w, r)
		if !ok {
			return true
		}
		defer release()
		f.content = read
		// If the session comes here meanwhile, it is read again, and by whoever may
		// keep it for longer.
		r.Body = io.NopCloser(bytes.NewReader(bytes.Clone(read)))
	}
	switch {
	case f.offer(r.Context(), first):
	case l.Sessions.Has(key): // It was handed over to this replica just now.
		return false
	default:
		f.refuse()
	}
	return true
}

// ssePath is the endpoint of HTTP+SSE's streams.
const ssePath = "/sse"

// offer forwards to the first replica, and to where that leads. It reports false
// if none served the request, and the client still waits for it.
func (f *forwarding) offer(ctx context.Context, to netip.AddrPort) bool {
	if f.serve(ctx, to) {
		return true
	}
	if ctx.Err() == nil || f.links.Sessions.Has(f.envelope.Key) {
		return false
	}
	f.finish(OutcomeCancelled)
	return true
}

// serve is offer whether the client waits or not.
func (f *forwarding) serve(ctx context.Context, to netip.AddrPort) bool {
	l := f.links
	dead, empty := false, false
	if f.isForOwner() {
		dead, empty = l.graves.look(time.Now(), f.owner, l.members.joins())
	}
	if empty {
		f.result.gone = true
		return false
	}
	if f.r.Method == http.MethodGet {
		release, ok := f.links.Core.OpenStream(f.w, f.r)
		if !ok {
			f.result.served = true
			return true
		}
		defer release()
	}
	if !dead {
		to = f.likely(ctx, to)
	}
	searched := false
	for range maxTries {
		if l.Sessions.Has(f.envelope.Key) {
			return false
		}
		if f.result = (result{gone: true, dead: true}); !dead {
			f.result = f.to(ctx, to)
		}
		dead = false
		switch {
		case f.result.served:
			return true
		case f.result.moved.IsValid():
			to = f.result.moved
			l.moved.put(f.envelope.Key, to)
		case ctx.Err() != nil, searched, f.result.err == errBusy: //nolint:errorlint // It is never wrapped.
			return false
		default:
			searched = true
			l.moved.forget(f.envelope.Key)
			if !f.search(ctx, &to) {
				return false
			}
		}
		f.envelope.Boot = [8]byte{}
	}
	return false
}

// isForOwner reports whether the request is meant for the process that made the id.
func (f *forwarding) isForOwner() bool { return f.envelope.Boot != [8]byte{} }

// likely is whom to offer to first. An address that has not been heard from lately is
// often that of a machine that is gone, at which a connection is refused by nobody:
// whoever took the session over says so sooner.
func (f *forwarding) likely(ctx context.Context, to netip.AddrPort) netip.AddrPort {
	l := f.links
	if l.members.isAlive(time.Now(), to) {
		return to
	}
	found := l.find(ctx, f.envelope.Key, f.owner, to, false)
	if !found.at.IsValid() {
		return to
	}
	l.moved.put(f.envelope.Key, found.at)
	f.envelope.Boot = [8]byte{}
	return found.at
}

// search looks for whom the session was handed to, since the replica that should
// have it has not.
func (f *forwarding) search(ctx context.Context, to *netip.AddrPort) bool {
	l := f.links
	l.wake()
	now := time.Now()
	dead := f.isForOwner() && (f.result.dead || l.members.absent(*to))
	found := l.find(ctx, f.envelope.Key, f.owner, *to, dead && l.graves.inquire(now, f.owner))
	if dead {
		l.graves.bury(now, f.owner, found.never, found.joined)
	}
	if !found.at.IsValid() {
		// A replica that has just begun takes the word of those that have watched for
		// longer, but not against what it sees itself.
		absent := l.members.absent(*to) || found.absent && !l.members.isListed(*to)
		f.result.gone = (f.result.gone || absent) && found.certain
		return false
	}
	l.moved.put(f.envelope.Key, found.at)
	*to = found.at
	return true
}

// refuse answers for what no replica has served.
func (f *forwarding) refuse() {
	l := f.links
	outcome := OutcomeUnreachable
	no := transport.Refusal{
		Status: http.StatusServiceUnavailable, Code: "owner_unreachable", RetryAfter: time.Second,
		Message: "the replica that has this session cannot be reached now; try again",
	}
	switch {
	case f.result.gone:
		l.Observer.Forwarded(OutcomeGone)
		l.Core.RefuseUnknownSession(f.w, f.r)
		return
	case f.result.err == errBusy: //nolint:errorlint // It is never wrapped.
		outcome, no.Code, no.Message = OutcomeBusy, "overloaded", "too many requests are on their way to the replica that has this session; try again"
	}
	l.Observer.Forwarded(outcome)
	l.Core.Refuse(f.w, f.r, no)
}
