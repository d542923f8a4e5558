// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"time"
)

// restarted is what a start with many servers cost.
type restarted struct {
	// requests are those beside watches for servers that are as they should be.
	requests int
	// seen is how long it took until every server was looked at, and added until
	// one that was created at the start had its status.
	seen, added time.Duration
	// heap is what the whole operator needs for each server, in bytes.
	heap int64
}

// restart starts an operator where servers are, and creates one more in another
// namespace at the same time. The operator runs on.
func (b *bench) restart(namespace, other string, number, servers int) (*operator, restarted, error) {
	var got restarted
	before := heap()
	since, err := reconciles()
	if err != nil {
		return nil, got, err
	}
	told := b.await(other, number+1, applied)
	begin := time.Now()
	op, err := b.startOperator(workers, nil)
	if err != nil {
		return nil, got, err
	}
	err = b.create(other, number, number+1)
	created := time.Now()
	for err == nil {
		var now int
		if now, err = reconciles(); err == nil && now-since > servers {
			break
		}
		err = errors.Join(err, b.pause(20*time.Millisecond))
	}
	got.seen = time.Since(begin)
	if err == nil {
		_, err = b.wait(told)
		got.added = told.at(serverName(number)).Sub(created)
	}
	if err == nil {
		_, err = b.quietly(since)
	}
	got.requests = op.requests.total(namespace)
	got.heap = (heap() - before) / int64(servers)
	return op, got, err
}
