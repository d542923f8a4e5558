// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/controllers/convergence"
)

// restarted is what a start with many servers cost.
type restarted struct {
	// requests are those beside watches for servers that are as they should be.
	requests int
	// seen is how long it took until every server was looked at, begun until the
	// first one was: the cache is full then.
	seen, begun time.Duration
	// before and meanwhile are how long a server waited for its children and its
	// status that was created when the operator started, and when it began to look.
	before, meanwhile time.Duration
	// heap is what the whole operator needs for each server, in bytes.
	heap int64
}

// restart starts an operator where servers are, and creates two more in another
// namespace with the number that is given and the next. The operator runs on.
func (b *bench) restart(namespace, other string, number, servers int) (*operator, restarted, error) {
	var got restarted
	before := heap()
	told := b.await(other, number+2, applied)
	defer told.stop()
	begin := time.Now()
	op, err := b.startOperator(workers, nil)
	if err != nil {
		return nil, got, err
	}
	if err := b.create(other, number, number+1); err != nil {
		return op, got, err
	}
	early := time.Now()
	if got.begun, err = b.looked(op, 1, begin); err != nil {
		return op, got, err
	}
	if err := b.create(other, number+1, number+2); err != nil {
		return op, got, err
	}
	late := time.Now()
	if got.seen, err = b.looked(op, servers, begin); err != nil {
		return op, got, err
	}
	first, err := b.until(told, serverName(number))
	if err != nil {
		return op, got, err
	}
	second, err := b.until(told, serverName(number+1))
	got.before, got.meanwhile = first.Sub(early), second.Sub(late)
	if err == nil {
		_, err = b.quietly(0)
	}
	got.requests = op.requests.total(namespace)
	got.heap = (heap() - before) / int64(servers)
	return op, got, err
}

// looked waits until an operator has looked at so many servers with pods, and
// returns how long that took.
func (b *bench) looked(op *operator, servers int, begin time.Time) (time.Duration, error) {
	for op.looks.count() < servers {
		if time.Since(begin) > patience {
			return 0, fmt.Errorf("after %s only %d of %d servers were looked at", patience, op.looks.count(), servers)
		}
		if err := b.pause(5 * time.Millisecond); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// looks notes at which servers an operator has looked: it asks what their pods
// serve each time.
type looks struct {
	controllers.Convergence
	mu   sync.Mutex // guards seen
	seen map[types.NamespacedName]bool
}

// Observe implements controllers.Convergence.
func (l *looks) Observe(t convergence.Target) convergence.Report {
	l.mu.Lock()
	l.seen[t.Server] = true
	l.mu.Unlock()
	return l.Convergence.Observe(t)
}

func (l *looks) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}
