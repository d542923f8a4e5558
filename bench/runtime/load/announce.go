// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// tellPatience bounds how long all streams may take to be told.
	tellPatience = 30 * time.Second
	// changeTakes is how long a server has for a change of which nobody is told.
	changeTakes = 1500 * time.Millisecond
)

// Announce opens n streams, changes a tool several times, and returns the CPU
// time that the server takes for a change, until all streams were told.
func Announce(ctx context.Context, server Server, kind Kind, n, changes int, settle time.Duration) (time.Duration, error) {
	if _, err := warm(ctx, server, kind, settle); err != nil {
		return 0, err
	}
	all, err := openAll(ctx, server, kind, n, false)
	told := make(chan struct{}, n)
	var group sync.WaitGroup
	defer func() {
		closeAll(all, false)
		group.Wait()
	}()
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		group.Go(func() { s.listen(told) })
	}
	if err := rest(ctx, settle); err != nil {
		return 0, err
	}
	before, err := server.Sample(ctx, false)
	if err != nil {
		return 0, err
	}
	for range changes {
		if err := server.Change(ctx); err != nil {
			return 0, err
		}
		if err := await(ctx, told, n); err != nil {
			return 0, err
		}
		if err := rest(ctx, changeTakes); err != nil {
			return 0, err
		}
	}
	after, err := server.Sample(ctx, false)
	return after.Sub(before).CPU / time.Duration(changes), err
}

// listen tells of each announcement until the stream ends.
func (s *session) listen(told chan<- struct{}) {
	for {
		data, err := s.events.Next()
		if err != nil {
			return
		}
		if bytes.Contains(data, []byte("list_changed")) {
			told <- struct{}{}
		}
	}
}

func await(ctx context.Context, told <-chan struct{}, n int) error {
	late := time.After(tellPatience)
	for i := range n {
		select {
		case <-told:
		case <-late:
			return fmt.Errorf("%d of %d streams were told of a change within %v", i, n, tellPatience)
		case <-ctx.Done():
			return errors.Join(errors.New("streams were not told yet"), ctx.Err())
		}
	}
	return nil
}
