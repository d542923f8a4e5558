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
	for i := first; i < first+count; i++ {
		told := b.await(namespace, i+1, applied)
		serves := b.await(namespace, i+1, ready)
		begin := time.Now()
		if err := b.create(namespace, i, i+1); err != nil {
			return found, err
		}
		if _, err := b.wait(told); err != nil {
			return found, err
		}
		if _, err := b.wait(serves); err != nil {
			return found, err
		}
		name := serverName(i)
		key := types.NamespacedName{Namespace: namespace, Name: name}
		pods, ok := b.nodes.readyAt(key)
		for ; !ok; pods, ok = b.nodes.readyAt(key) { // The operator may be told before the nodes.
			if err := b.pause(time.Millisecond); err != nil {
				return found, err
			}
		}
		found.status = append(found.status, told.at(name).Sub(begin))
		found.ready = append(found.ready, max(serves.at(name).Sub(pods), 0))
	}
	slices.Sort(found.status)
	slices.Sort(found.ready)
	if len(found.status) == 0 {
		return found, errors.New("nothing was measured")
	}
	return found, nil
}

// at returns when a server was first as it should be.
func (w *watcher) at(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[name]
}

// percentile returns the value below which p of 100 lie.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
