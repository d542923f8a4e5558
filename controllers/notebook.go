// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// notes are what is remembered of a server between two looks. Decisions do not
// hang on them: a restart may lose them.
type notes struct {
	// held are the ids of the session keys that every pod held when it was last
	// asked; nil if that is not known.
	held []string
	// keysBroken is true if a pod said then that it cannot read the Secret with
	// the session keys, and goes on with those that it had.
	keysBroken bool
	// keysWritten is when the session keys were last written.
	keysWritten time.Time
	// recorded is the spec whose record is known to be in the history.
	recorded written
	// unsettled is since when a status waits to be written, because what was
	// just begun may be over in a moment; zero if none does.
	unsettled time.Time
	// refused is the pod template of an upgrade that the API server did not take.
	refused refusedTemplate
	// trouble is since when the API server fails, and in which words it began.
	trouble trouble
	// progress is how far the roll-out of an upgrade is, and since when.
	progress progress
	// lowering is a lower number of pods that waits until they have been weighed.
	lowering lowering
}

// refusedTemplate is tried again after refusalRetry.
type refusedTemplate struct {
	hash    string
	at      time.Time
	upgrade upgrade
}

// trouble has the first words of many: later ones may differ in what says
// nothing, such as a port, and a status must not change with each.
type trouble struct {
	since   time.Time
	message string
}

type progress struct {
	mark  [5]int64
	since time.Time
}

// notebook holds the notes of all servers. Its zero value is empty. One server
// is worked on by one goroutine at a time, so that its notes need no lock.
type notebook struct {
	mu    sync.Mutex // guards pages
	pages map[types.NamespacedName]*notes
}

func (n *notebook) of(server types.NamespacedName) *notes {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pages == nil {
		n.pages = map[types.NamespacedName]*notes{}
	}
	page := n.pages[server]
	if page == nil {
		page = &notes{}
		n.pages[server] = page
	}
	return page
}

func (n *notebook) forget(server types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pages, server)
}

// wake enqueues servers for which something was learned outside of the cluster's
// objects. It is a source of the controller.
type wake struct {
	mu    sync.Mutex // guards queue
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// start takes the controller's queue (source.Func).
func (w *wake) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = queue
	return nil
}

// add enqueues a server. Before the controller starts nothing is lost: it looks
// at every server then.
func (w *wake) add(server types.NamespacedName) {
	w.mu.Lock()
	queue := w.queue
	w.mu.Unlock()
	if queue != nil {
		queue.Add(reconcile.Request{NamespacedName: server})
	}
}
