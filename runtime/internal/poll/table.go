// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package poll

import "syscall"

// pageSize is how many watches a page holds. Pages never move, and an empty one
// is let go, so that a crowd that has left costs nothing.
const pageSize = 64

// watch is one connection that is watched. Idle ones are many: it takes 40 bytes,
// and the syscall.RawConn 8 more.
type watch struct {
	watcher Watcher
	raw     syscall.RawConn
	// generation is never zero while the place is taken, and differs each time
	// that it is.
	generation uint32
	// next is the next free place of the page plus one, if this one is free.
	next uint32
}

// page is a run of places.
type page struct {
	watches [pageSize]watch
	free    uint32 // the first free place plus one
	used    uint32
}

// table holds the watches by place.
type table struct {
	pages []*page
	// room lists the pages that have a free place, those that were let go among
	// them.
	room       []uint32
	generation uint32
	used       int
}

// add takes a place.
func (t *table) add(w Watcher, raw syscall.RawConn) Token {
	if len(t.room) == 0 {
		t.room = append(t.room, uint32(len(t.pages))) //nolint:gosec // G115: bounded by the descriptors of a process.
		t.pages = append(t.pages, nil)
	}
	at := t.room[len(t.room)-1]
	p := t.pages[at]
	if p == nil {
		p = newPage()
		t.pages[at] = p
	}
	i := p.free - 1
	p.free = p.watches[i].next
	p.used++
	if p.used == pageSize {
		t.room = t.room[:len(t.room)-1]
	}
	t.generation = max(t.generation+1, 1)
	t.used++
	p.watches[i] = watch{watcher: w, raw: raw, generation: t.generation}
	return newToken(at*pageSize+i, t.generation)
}

func newPage() *page {
	p := &page{free: 1}
	for i := range uint32(pageSize - 1) {
		p.watches[i].next = i + 2
	}
	return p
}

// get finds a watch, nil if the token is void.
func (t *table) get(token Token) *watch {
	at, i := token.place()/pageSize, token.place()%pageSize
	if token == 0 || int(at) >= len(t.pages) || t.pages[at] == nil {
		return nil
	}
	if w := &t.pages[at].watches[i]; w.generation == token.generation() {
		return w
	}
	return nil
}

// remove gives the place of a valid token back.
func (t *table) remove(token Token) {
	at, i := token.place()/pageSize, token.place()%pageSize
	p := t.pages[at]
	p.watches[i] = watch{next: p.free}
	p.free = i + 1
	t.used--
	if p.used == pageSize {
		t.room = append(t.room, at)
	}
	p.used--
	// One page is kept, so that a single connection that comes and goes makes none.
	if p.used == 0 && len(t.room) > 1 {
		t.pages[at] = nil
	}
}
