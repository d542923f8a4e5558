// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// latencies are sorted.
type latencies struct{ status, ready []time.Duration }

// latency creates servers one after the other, each when the one before is Ready,
// and measures from creation to the first status, and from ready pods to Ready.
func (b *bench) latency(namespace string, first, count int) (latencies, error) {
	var found latencies
	told := b.await(namespace, first+count, applied)
	defer told.stop()
	serves := b.await(namespace, first+count, ready)
	defer serves.stop()
	for i := first; i < first+count; i++ {
		name := serverName(i)
		begin := time.Now()
		if err := b.create(namespace, i, i+1); err != nil {
			return found, err
		}
		status, err := b.until(told, name)
		if err != nil {
			return found, err
		}
		served, err := b.until(serves, name)
		if err != nil {
			return found, err
		}
		key := types.NamespacedName{Namespace: namespace, Name: name}
		pods, ok := b.nodes.readyAt(key)
		for ; !ok; pods, ok = b.nodes.readyAt(key) { // The operator may be told before the nodes.
			if err := b.pause(time.Millisecond); err != nil {
				return found, err
			}
		}
		found.status = append(found.status, status.Sub(begin))
		found.ready = append(found.ready, max(served.Sub(pods), 0))
	}
	slices.Sort(found.status)
	slices.Sort(found.ready)
	if len(found.status) == 0 {
		return found, errors.New("nothing was measured")
	}
	return found, nil
}

// at returns when a server was first as it should be, if it is.
func (w *watcher) at(name string) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, found := w.seen[name]
	return at, found
}

// until waits until a server is as it should be, and returns since when.
func (b *bench) until(w *watcher, name string) (time.Time, error) {
	for begin := time.Now(); time.Since(begin) < patience; {
		if at, found := w.at(name); found {
			return at, nil
		}
		if err := b.pause(time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, b.complain(w)
}

// percentile returns the value below which p of 100 lie.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
