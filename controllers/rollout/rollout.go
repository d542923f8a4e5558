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
	// Start: apply the new template.
	Start Verdict = "Start"
	// Queued: keep the old template; Changed is called when it is its turn.
	Queued Verdict = "Queued"
	// Stopped: keep the old template; too many roll-outs have failed. Changed is
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
	max, failures int
	changed       func(types.NamespacedName)

	mu      sync.Mutex // guards what follows
	running map[types.NamespacedName]struct{}
	waiting map[types.NamespacedName]struct{}
	failed  map[types.NamespacedName]string
}

// New returns a tracker that lets at most limit servers (at least 1) roll out at
// once, and none any more while as many as failures (at least 1), or all that
// may, have failed. changed is called, without a lock held, with each server
// whose turn has come; it must not block.
func New(limit, failures int, changed func(types.NamespacedName)) *Tracker {
	return &Tracker{
		max: max(limit, 1), failures: min(max(failures, 1), max(limit, 1)), changed: changed,
		running: map[types.NamespacedName]struct{}{},
		waiting: map[types.NamespacedName]struct{}{},
		failed:  map[types.NamespacedName]string{},
	}
}

// Seed notes a roll-out that the operator's predecessor began and that has not
// ended; why is empty unless it has failed. It is let through even if that makes
// them more than allowed. Seed all before the first Admit.
func (t *Tracker) Seed(server types.NamespacedName, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.waiting, server); why != "" {
		delete(t.running, server)
		t.failed[server] = why
		return
	}
	if _, failed := t.failed[server]; !failed {
		t.running[server] = struct{}{}
	}
}

// Admit asks whether a server may get its new template now. The answer stays
// Start until Done. Who waits is let through by namespace and name.
func (t *Tracker) Admit(server types.NamespacedName) Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.admitted(server) {
		return Decision{Verdict: Start}
	}
	if t.stopped() {
		t.waiting[server] = struct{}{}
		return Decision{Verdict: Stopped, Message: t.stopMessage()}
	}
	// A free place belongs to the first in line, who has been told of it.
	if len(t.waiting) == 0 || !t.full() {
		if !t.full() {
			delete(t.waiting, server)
			t.running[server] = struct{}{}
			return Decision{Verdict: Start}
		}
	}
	t.waiting[server] = struct{}{}
	return Decision{Verdict: Queued, Message: fmt.Sprintf(
		"the operator has a new pod template for this server, which waits for its turn: at most %d servers roll out at once (--max-concurrent-rollouts)", t.max)}
}

// Done ends a roll-out, by success or because none is needed any more: the
// server is deleted, paused, or its template is as wanted. Nothing happens for a
// server that holds and awaits no place, so that it may be called on every look.
func (t *Tracker) Done(server types.NamespacedName) {
	t.mu.Lock()
	delete(t.running, server)
	delete(t.waiting, server)
	delete(t.failed, server)
	t.mu.Unlock()
}

// Failed notes that a roll-out that was let through has failed; why is a few
// words. Nothing happens for any other server.
func (t *Tracker) Failed(server types.NamespacedName, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.admitted(server) {
		delete(t.running, server)
		t.failed[server] = why
	}
}

// Recovered notes that a failed roll-out goes on. Nothing happens for any other
// server.
func (t *Tracker) Recovered(server types.NamespacedName) {
	t.mu.Lock()
	if _, failed := t.failed[server]; failed {
		delete(t.failed, server)
		t.running[server] = struct{}{}
	}
	t.mu.Unlock()
}

func (t *Tracker) admitted(server types.NamespacedName) bool {
	_, running := t.running[server]
	_, failed := t.failed[server]
	return running || failed
}

func (t *Tracker) stopped() bool { return len(t.failed) >= t.failures }

func (t *Tracker) full() bool { return len(t.running)+len(t.failed) >= t.max }

// stopMessage names the first failed servers.
func (t *Tracker) stopMessage() string {
	names := slices.SortedFunc(maps.Keys(t.failed), compare)
	var text []string
	for _, name := range names[:min(len(names), shownFailures)] {
		text = append(text, fmt.Sprintf("%s (%s)", name, t.failed[name]))
	}
	return strings.Join(text, ", ")
}

func compare(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }
