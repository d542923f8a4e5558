// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rollout paces the roll-outs that the operator itself causes: a new
// version of it changes the pod templates of all servers at once, and all pods
// of a cluster must not be replaced at once. A user's own edit is not paced, and
// never passes here.
package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// shownFailures bounds how many failed servers a message names.
const shownFailures = 3

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

// Tracker knows which servers roll out, wait and have failed. A server that is
// let through holds its place until Done, also when it fails: its pods are being
// replaced still. It is safe for concurrent use; the zero value does not work.
type Tracker struct {
	limit, failures int
	changed         func(types.NamespacedName)

	mu      sync.Mutex // guards what follows
	running servers
	waiting servers
	// failed says why.
	failed map[types.NamespacedName]string
	// stopped is the message of all that wait while the wave is stopped; empty
	// while it is not. It stays as more fail, so that it costs one write each.
	stopped string
}

type servers map[types.NamespacedName]struct{}

// New returns a tracker that lets at most limit servers (at least 1) roll out at
// once, and none any more while as many as failures (at least 1), or all that
// may, have failed. changed is called, without a lock held, with each server
// whose decision has changed; it must not block.
func New(limit, failures int, changed func(types.NamespacedName)) *Tracker {
	limit = max(limit, 1)
	return &Tracker{
		limit: limit, failures: min(max(failures, 1), limit), changed: changed,
		running: servers{}, waiting: servers{}, failed: map[types.NamespacedName]string{},
	}
}

// Seed notes a roll-out that the operator's predecessor began and that has not
// ended; why is empty unless it has failed. It is let through even if that makes
// them more than allowed. Seed all before the first Admit.
func (t *Tracker) Seed(server types.NamespacedName, why string) {
	t.change(func() {
		delete(t.waiting, server)
		delete(t.running, server)
		delete(t.failed, server)
		if why == "" {
			t.running[server] = struct{}{}
		} else {
			t.failed[server] = why
		}
	})
}

// Admit asks whether a server may get its new template now. The answer stays
// Start until Done. Who waits is let through by namespace and name.
func (t *Tracker) Admit(server types.NamespacedName) Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.admitted(server):
		return Decision{Verdict: Start}
	case t.stopped != "":
		t.waiting[server] = struct{}{}
		return Decision{Verdict: Stopped, Message: t.stopped}
	case t.full():
		t.waiting[server] = struct{}{}
		return Decision{Verdict: Queued, Message: fmt.Sprintf(
			"the operator has a new pod template for this server, which waits for its turn: at most %d servers roll out at once (--max-concurrent-rollouts)", t.limit)}
	}
	t.running[server] = struct{}{} // Nobody waits while a place is free.
	return Decision{Verdict: Start}
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

// Failed notes that a roll-out that was let through has failed; why is a few
// words. Nothing happens for any other server.
func (t *Tracker) Failed(server types.NamespacedName, why string) {
	t.change(func() {
		if _, running := t.running[server]; running {
			delete(t.running, server)
			t.failed[server] = why
		}
	})
}

// Recovered notes that a failed roll-out goes on. Nothing happens for any other
// server.
func (t *Tracker) Recovered(server types.NamespacedName) {
	t.change(func() {
		if _, failed := t.failed[server]; failed {
			delete(t.failed, server)
			t.running[server] = struct{}{}
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
		delete(t.waiting, server)
		t.running[server] = struct{}{}
		if !slices.Contains(tell, server) {
			tell = append(tell, server)
		}
	}
	return tell
}

// line returns who waits, by namespace and name.
func (t *Tracker) line() []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(t.waiting), compare)
}

func (t *Tracker) admitted(server types.NamespacedName) bool {
	_, running := t.running[server]
	_, failed := t.failed[server]
	return running || failed
}

func (t *Tracker) full() bool { return len(t.running)+len(t.failed) >= t.limit }

// stopMessage names the first failed servers.
func (t *Tracker) stopMessage() string {
	names := slices.SortedFunc(maps.Keys(t.failed), compare)
	var text []string
	for _, name := range names[:min(len(names), shownFailures)] {
		text = append(text, fmt.Sprintf("%s (%s)", name, t.failed[name]))
	}
	return fmt.Sprintf("the operator has a new pod template for this server and keeps the old one, since %d roll-outs of new templates have failed: %s: mend what they say, "+
		"or go back to the operator's last version; the others follow by themselves when those roll out", len(names), strings.Join(text, ", "))
}

func compare(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }
