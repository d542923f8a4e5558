// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"sync"
	"time"
)

// beat is the step of a wheel, and so how late a heartbeat may come (100 ms).
// beats is how many steps a turn has: what is due later stays in its place for
// another turn.
const (
	beat  = 100 * time.Millisecond
	beats = 256
)

// wheel has one goroutine look at all lean streams when their heartbeats are
// due. Each stream is in the list of one place, so that neither a timer nor a map
// has to know it. The goroutine sleeps while there is no stream.
type wheel struct {
	epoch  time.Time
	filled chan struct{} // holds at most one token: there is a stream again
	halt   chan struct{}
	halted chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards what follows, and the places of all streams
	places [beats]*lean
	at     int32 // the last beat that was looked at
	count  int   // of streams that have a place or are being looked at
	over   bool  // stop was called
}

// place is where a stream is in its wheel.
type place struct {
	prev, next *lean
	due        int32 // in beats since the epoch: for six years
	in         bool  // in the list of a place
	gone       bool  // removed for good
}

func newWheel() *wheel {
	w := &wheel{
		epoch: time.Now(), filled: make(chan struct{}, 1), halt: make(chan struct{}), halted: make(chan struct{}),
	}
	go w.run()
	return w
}

// add has l looked at when it has been quiet until at, a time since the epoch. It
// returns false if nobody looks any more; all has l nevertheless.
func (w *wheel) add(l *lean, at time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	w.enlist(l, at)
	if w.count == 1 {
		select {
		case w.filled <- struct{}{}:
		default:
		}
	}
	return !w.over
}

// again puts l back after it was looked at, unless it was removed meanwhile.
func (w *wheel) again(l *lean, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !l.place.gone {
		w.enlist(l, at)
	}
}

func (w *wheel) enlist(l *lean, at time.Duration) {
	// Never early, and never at a beat that was looked at.
	l.place.due = max(int32((at+beat-1)/beat), w.at+1) //nolint:gosec // G115: see place.
	first := &w.places[l.place.due%beats]
	l.place.prev, l.place.next, l.place.in = nil, *first, true
	if *first != nil {
		(*first).place.prev = l
	}
	*first = l
}

func (w *wheel) unlist(l *lean) {
	p := &l.place
	if p.prev != nil {
		p.prev.place.next = p.next
	} else {
		w.places[p.due%beats] = p.next
	}
	if p.next != nil {
		p.next.place.prev = p.prev
	}
	p.prev, p.next, p.in = nil, nil, false
}

// remove forgets l for good.
func (w *wheel) remove(l *lean) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.place.gone {
		return
	}
	if l.place.in {
		w.unlist(l)
	}
	l.place.gone = true
	w.count--
}

// due takes those out whose time has come by now, and adds them to all. more is
// false when there is no stream at all.
func (w *wheel) due(all []*lean, now time.Duration) (_ []*lean, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// After a long sleep one turn sees every place.
	until := int32(now / beat) //nolint:gosec // G115: see place.
	w.at = max(w.at, until-beats)
	for w.at < until {
		w.at++
		for l := w.places[w.at%beats]; l != nil; {
			next := l.place.next
			if l.place.due <= w.at {
				w.unlist(l)
				all = append(all, l)
			}
			l = next
		}
	}
	return all, w.count > 0
}

func (w *wheel) run() {
	defer close(w.halted)
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	var all []*lean
	for {
		select {
		case <-w.halt:
			return
		case <-w.filled:
			ticker.Reset(beat)
			continue
		case <-ticker.C:
		}
		var more bool
		all, more = w.due(all[:0], time.Since(w.epoch))
		for _, l := range all {
			l.beat()
		}
		clear(all)
		if !more {
			all = nil
			w.sleep(ticker)
		}
	}
}

// sleep stops the ticker if there is no stream, which is looked at again under
// the lock: add wakes whoever has slept.
func (w *wheel) sleep(ticker *time.Ticker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		ticker.Stop()
	}
}

// stop ends the heartbeats.
func (w *wheel) stop() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	close(w.halt)
	<-w.halted
}

// all are the streams of a wheel that was stopped.
func (w *wheel) all() []*lean {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*lean, 0, w.count)
	for _, l := range &w.places {
		for ; l != nil; l = l.place.next {
			all = append(all, l)
		}
	}
	return all
}
