// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stateless

import (
	"net/http"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// overlap is how long after a change of the list it is told to streams that open:
// longer than it takes from listing to listening, and than replicas differ.
const overlap = time.Minute

// Listen is one open subscriptions/listen stream.
type Listen struct {
	// Principal is the key of who listens.
	Principal string

	out          *stream.Outbox
	subscription *engine.Subscription
}

// Busy reports whether a call is running on the stream, which is never so.
func (*Listen) Busy() bool { return false }

// Leave is Close.
func (l *Listen) Leave(reason stream.CloseReason) { l.Close(reason) }

// Close ends the stream gracefully: with its result, and then as reason says.
func (l *Listen) Close(reason stream.CloseReason) {
	l.out.CloseWith(reason, transport.Event(engine.Message{Data: l.subscription.Result(), Response: true}))
}

// Mark sets dirty bits on the stream.
func (l *Listen) Mark(bits uint32) { l.out.Mark(bits) }

// Done is closed when the stream has ended.
func (l *Listen) Done() <-chan struct{} { return l.out.Done() }

// listens are the open streams.
type listens struct {
	mu   sync.Mutex // guards open
	open map[*Listen]struct{}
}

// Listens is a snapshot of the open streams.
func (t *Transport) Listens() []*Listen {
	t.listens.mu.Lock()
	defer t.listens.mu.Unlock()
	all := make([]*Listen, 0, len(t.listens.open))
	for l := range t.listens.open {
		all = append(all, l)
	}
	return all
}

func (t *Transport) listen(w http.ResponseWriter, r *http.Request, subscription *engine.Subscription) {
	release, ok := t.core.OpenStream(w, r)
	if !ok {
		return
	}
	l := &Listen{Principal: transport.Principal(r.Context()).Key, out: t.core.NewOutbox(), subscription: subscription}
	t.listens.mu.Lock()
	t.listens.open[l] = struct{}{}
	t.listens.mu.Unlock()
	ended := func(stream.CloseReason) {
		t.listens.mu.Lock()
		delete(t.listens.open, l)
		t.listens.mu.Unlock()
		release()
	}
	// From here on a revocation finds the stream; it may have come before.
	if !t.core.Confirm(w, r) {
		l.out.Close(stream.Revoked)
		ended(stream.Revoked)
		return
	}
	// The client may have listed the tools of a replica that had not changed yet,
	// or just before this one did, and would never hear of it.
	if changed := t.core.Engine.Changed(); !changed.IsZero() && time.Since(changed) < overlap {
		l.Mark(transport.ListChanged)
	}
	options := t.core.StreamOptions(name)
	// The acknowledgement comes before everything else (2026-07-28
	// basic/patterns/subscriptions).
	options.First = &stream.Message{Event: "message", Data: subscription.Acknowledgement()}
	options.Render = func(bits uint32) []stream.Message {
		if data := subscription.ListChanged(); bits&transport.ListChanged != 0 && data != nil {
			return []stream.Message{{Data: data, Event: "message", Kind: "list_changed"}}
		}
		return nil
	}
	t.core.ServeStream(w, r, l.out, options, ended)
}
