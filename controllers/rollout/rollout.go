// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rollout paces the roll-outs that the operator itself causes: a new
// version of it changes the pod templates of all servers at once, and all pods
// of a cluster must not be replaced at once. A user's own edit is not paced, and
// never passes here.
package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Verdict says whether a roll-out may begin.
type Verdict string

const (
	// Start means: apply the new template.
	Start Verdict = "Start"
	// Queued means: keep the old template; changed is called when it is its turn.
	Queued Verdict = "Queued"
	// Stopped means: keep the old template; too many roll-outs have failed. changed is
	// called when the wave goes on.
	Stopped Verdict = "Stopped"
)

// Decision is the answer to one server.
type Decision struct {
	Verdict Verdict
	// Message says what is waited for and the next act; empty for Start. It does
	// not change as others advance, so that a queue costs no status writes.
	Message string
}

// Begun is a roll-out that the operator's predecessor began and that has not
// ended.
type Begun struct {
	Server types.NamespacedName
	// Failed is true if its new pods do not serve.
	Failed bool
}

// Tracker knows which servers roll out, wait and have failed. A server that is
// let through holds its place until Done, also when it fails: its pods are being
// replaced still. One that ailed before says nothing about the new template: it
// comes after all others that wait, and gives its place back when it fails. It is
// safe for concurrent use; the zero value does not work.
type Tracker struct {
	limit, failures int
	changed         func(types.NamespacedName)

	mu sync.Mutex // guards what follows
	// running and waiting hold which servers ailed when they last asked.
	running, waiting map[types.NamespacedName]bool
	failed           map[types.NamespacedName]struct{}
	// stopped is the message of all that wait while the wave is stopped; empty
	// while it is not. It stays as more fail, so that it costs one write each.
	stopped string
}

// New returns a tracker that lets at most limit servers (at least 1) roll out at
// once, and none any more while as many as failures (at least 1), or all that
// may, have failed. changed is called, without a lock held, with each server
// whose decision has changed; it must not block.
func New(limit, failures int, changed func(types.NamespacedName)) *Tracker {
	limit = max(limit, 1)
	return &Tracker{
		limit: limit, failures: min(max(failures, 1), limit), changed: changed,
		running: map[types.NamespacedName]bool{}, waiting: map[types.NamespacedName]bool{}, failed: map[types.NamespacedName]struct{}{},
	}
}

// Seed notes what a predecessor began, all of it at once. It is let through, even
// if that makes more than allowed. Of servers that hold a place nothing changes,
// so that each of several that share the tracker may seed what all of them have,
// before its first Admit.
func (t *Tracker) Seed(found []Begun) {
	t.change(func() {
		for _, begun := range found {
			if t.holds(begun.Server) {
				continue
			}
			delete(t.waiting, begun.Server)
			if begun.Failed {
				t.failed[begun.Server] = struct{}{}
			} else {
				t.running[begun.Server] = false
			}
		}
	})
}

// Admit asks whether a server may get its new template now; ails says that it
// does not serve by its old one either. The answer stays Start until Done. Who
// waits is let through by namespace and name, those that ail last.
func (t *Tracker) Admit(server types.NamespacedName, ails bool) Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.holds(server):
		return Decision{Verdict: Start}
	case t.stopped != "":
		t.waiting[server] = ails
		return Decision{Verdict: Stopped, Message: t.stopped}
	case t.full():
		t.waiting[server] = ails
		return Decision{Verdict: Queued, Message: fmt.Sprintf(
			"the operator has a new pod template for this server, which waits for its turn: at most %d servers roll out at once (--max-concurrent-rollouts)", t.limit)}
	}
	t.running[server] = ails // Nobody waits while a place is free.
	return Decision{Verdict: Start}
}

// Counts reports whether a server holds a place, and would be counted if it
// failed.
func (t *Tracker) Counts(server types.NamespacedName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.holds(server) && !t.running[server]
}

// Holds reports whether a server holds a place.
func (t *Tracker) Holds(server types.NamespacedName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.holds(server)
}

// Done ends a roll-out, by success or because none is needed any more: the
// server is deleted, paused, held, or its template is as wanted. Nothing happens
// for a server that holds and awaits no place, so that it may be called on every
// look.
func (t *Tracker) Done(server types.NamespacedName) {
	t.change(func() {
		delete(t.running, server)
		delete(t.waiting, server)
		delete(t.failed, server)
	})
}

// Failed notes that a roll-out that was let through has failed, and reports
// whether that is news. A server that ailed before gives its place back instead.
// Nothing happens for any other server.
func (t *Tracker) Failed(server types.NamespacedName) (news bool) {
	t.change(func() {
		ailed, running := t.running[server]
		delete(t.running, server)
		if news = running && !ailed; news {
			t.failed[server] = struct{}{}
		}
	})
	return news
}

// Recovered notes that a failed roll-out goes on. Nothing happens for any other
// server.
func (t *Tracker) Recovered(server types.NamespacedName) {
	t.change(func() {
		if _, failed := t.failed[server]; failed {
			delete(t.failed, server)
			t.running[server] = false
		}
	})
}

// change runs edit, gives places that have become free to the first in line, and
// tells those whose decision is another now.
func (t *Tracker) change(edit func()) {
	t.mu.Lock()
	edit()
	tell := t.settle()
	t.mu.Unlock()
	for _, server := range tell {
		t.changed(server)
	}
}

// settle returns who must be told, in order.
func (t *Tracker) settle() []types.NamespacedName {
	var tell []types.NamespacedName
	switch stop := len(t.failed) >= t.failures; {
	case stop && t.stopped == "":
		t.stopped = t.stopMessage()
		tell = t.line()
	case !stop && t.stopped != "":
		t.stopped = ""
		tell = t.line()
	}
	if t.stopped != "" || t.full() {
		return tell
	}
	for _, server := range t.line() {
		if t.full() {
			break
		}
		t.running[server] = t.waiting[server]
		delete(t.waiting, server)
		if !slices.Contains(tell, server) {
			tell = append(tell, server)
		}
	}
	return tell
}

// line returns who waits, by namespace and name, those that ail last.
func (t *Tracker) line() []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(t.waiting), func(a, b types.NamespacedName) int {
		return cmp.Or(rank(t.waiting[a])-rank(t.waiting[b]), strings.Compare(a.String(), b.String()))
	})
}

func rank(ails bool) int {
	if ails {
		return 1
	}
	return 0
}

func (t *Tracker) holds(server types.NamespacedName) bool {
	_, running := t.running[server]
	_, failed := t.failed[server]
	return running || failed
}

func (t *Tracker) full() bool { return len(t.running)+len(t.failed) >= t.limit }

// stopMessage names no server: those that failed may be of somebody else.
func (t *Tracker) stopMessage() string {
	return fmt.Sprintf("the operator has a new pod template for this server and keeps the old one, since %d roll-outs of new templates have failed: who runs the operator "+
		"finds them in its log and in the metric fairlead_operator_mcpserver_unhealthy, and mends them or goes back to the operator's last version; "+
		"this server follows by itself when those roll out", len(t.failed))
}
