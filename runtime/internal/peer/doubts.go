// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"fairlead.dev/fairlead/runtime/internal/session"
)

const (
	// maxDoubts bounds the sessions of which others may hold a copy. One too many is
	// not demanded back: who looks for the session takes the latest copy.
	maxDoubts = 4096
	// maxDoubtful bounds the replicas that may hold a copy of one session.
	maxDoubtful = 8
)

// doubts are the sessions of which other replicas may hold an outdated copy, since
// what they answered to an offer was lost.
type doubts struct {
	mu sync.Mutex // guards of
	of map[session.Key]doubt
}

// doubt is about one session.
type doubt struct {
	outdated uint32 // the latest copy that may be there
	over     bool   // the session has ended
	at       []netip.AddrPort
}

func (d *doubts) add(key session.Key, about doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.of[key]; !known && len(d.of) >= maxDoubts {
		return
	}
	if d.of == nil {
		d.of = map[session.Key]doubt{}
	}
	about.at = about.at[:min(len(about.at), maxDoubtful)]
	d.of[key] = about
}

// take gives the replicas that may hold a copy of a session, which is somebody
// else's to demand back from here on.
func (d *doubts) take(key session.Key) []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.of[key].at
	delete(d.of, key)
	return slices.Clone(at)
}

// settle notes that a replica has no copy up to one any more.
func (d *doubts) settle(key session.Key, outdated uint32, addr netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	about := d.of[key]
	if about.outdated > outdated {
		return
	}
	about.at = slices.DeleteFunc(slices.Clone(about.at), func(a netip.AddrPort) bool { return a == addr })
	if d.of[key] = about; len(about.at) == 0 {
		delete(d.of, key)
	}
}

// demand tells a replica that its copy of a session is outdated.
type demand struct {
	Key      string `json:"key"`
	Outdated uint32 `json:"outdated"`
	// At is where the session is, zero if it has ended.
	At netip.AddrPort `json:"at,omitzero"`
}

// demands are what is to be told to each replica. where says where a session is that
// has not ended on its way, or that nothing is to be told of it now.
func (d *doubts) demands(where func(session.Key) (at netip.AddrPort, tell bool)) map[netip.AddrPort][]demand {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[netip.AddrPort][]demand{}
	for key, about := range d.of {
		to, tell := demand{Key: hex.EncodeToString(key[:]), Outdated: about.outdated}, true
		if !about.over {
			to.At, tell = where(key)
		}
		for _, addr := range about.at {
			if tell {
				all[addr] = append(all[addr], to)
			}
		}
	}
	return all
}

// whereabouts says where a session is of which others may hold copies: here, or nowhere
// since it has ended. One that ended because this replica leaves lives on in a copy.
func (l *Links) whereabouts(key session.Key) (at netip.AddrPort, tell bool) {
	if l.Sessions.Has(key) {
		return l.self.Addr, true
	}
	return netip.AddrPort{}, !l.leaving.Load()
}

// doubt notes that replicas may hold copies up to one of a session that is here.
func (l *Links) doubt(key session.Key, outdated uint32, at []netip.AddrPort) {
	at = slices.DeleteFunc(at, func(a netip.AddrPort) bool { return a == l.self.Addr })
	if len(at) > 0 {
		l.doubts.add(key, doubt{outdated: outdated, at: at})
		l.wake()
	}
}

// Withdraw ends a session that a peer has taken over: it has ended here while it was
// on its way there. If the peer does not answer it is told later.
func (l *Links) Withdraw(ctx context.Context, key session.Key, from netip.AddrPort) {
	l.doubts.add(key, doubt{outdated: math.MaxUint32, over: true, at: []netip.AddrPort{from}})
	l.demand(ctx, from, []demand{{Key: hex.EncodeToString(key[:]), Outdated: math.MaxUint32}})
}

// demandAll demands all outdated copies back, within the time of one exchange.
func (l *Links) demandAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	var asked sync.WaitGroup
	for addr, all := range l.doubts.demands(l.whereabouts) {
		asked.Go(func() { l.demand(ctx, addr, all) })
	}
	asked.Wait()
}

// demand demands copies of one replica back. One that is gone has none.
func (l *Links) demand(ctx context.Context, addr netip.AddrPort, all []demand) {
	for _, d := range all {
		err := l.ask(ctx, addr, disownPath, d, nil)
		if err != nil && !errors.Is(err, errRefused) && !l.members.absent(addr) {
			return
		}
		if key, ok := parseKey(d.Key); ok {
			l.doubts.settle(key, d.Outdated, addr)
		}
	}
}

func (l *Links) serveDisown(w http.ResponseWriter, r *http.Request) {
	var d demand
	if !read(w, r, maxAnswer, &d) {
		return
	}
	key, ok := parseKey(d.Key)
	if !ok {
		http.Error(w, "the key cannot be read", http.StatusBadRequest)
		return
	}
	l.Sessions.Disown(key, d.Outdated, d.At)
	reply(w, struct{}{})
}

// parseKey reads the key of a session in hex.
func parseKey(text string) (key session.Key, ok bool) {
	n, err := hex.Decode(key[:], []byte(text[:min(len(text), 2*len(key))]))
	return key, err == nil && n == len(key)
}
