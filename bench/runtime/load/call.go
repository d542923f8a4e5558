// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/wire"
)

// Calls say what tool calls cost.
type Calls struct {
	// Rate is calls in a second, Events notifications in a second of the server's
	// CPU time: the client may be the slower of the two.
	Rate, Events float64
	// Median and P99 are the client's.
	Median, P99 time.Duration
	// CPU, Allocations and Bytes are the server's for each call.
	CPU         time.Duration
	Allocations float64
	Bytes       float64
}

// caller calls again and again, each call when the last was answered.
type caller struct {
	session   *session
	tool      Tool
	latencies []time.Duration
	events    int
}

// CallLoop lets n callers call the tool in a closed loop and measures for d,
// after a second of warming up.
func CallLoop(ctx context.Context, server Server, kind Kind, tool Tool, n int, d time.Duration) (Calls, error) {
	if kind == Stream {
		kind = Session
	}
	callers, err := openCallers(ctx, server, kind, tool, n)
	defer func() {
		for _, c := range callers {
			_ = c.session.close(true) // The server need not be told.
		}
	}()
	if err != nil {
		return Calls{}, err
	}
	var stop, measuring atomic.Bool
	var group sync.WaitGroup
	errs := make(chan error, n)
	for _, c := range callers {
		group.Go(func() { errs <- c.loop(&stop, &measuring) })
	}
	before, after, took, err := window(ctx, server, &measuring, d)
	stop.Store(true)
	group.Wait()
	close(errs)
	for failed := range errs {
		if failed != nil {
			return Calls{}, failed
		}
	}
	if err != nil {
		return Calls{}, err
	}
	return summary(callers, before, after, took)
}

func openCallers(ctx context.Context, server Server, kind Kind, tool Tool, n int) ([]*caller, error) {
	var callers []*caller
	for range n {
		s, err := open(ctx, server, kind, nil)
		if err != nil {
			return callers, err
		}
		s.header += tool.header(kind)
		if server.Callee != "" {
			_ = s.posts.Close() // From now on the other one is called.
			if s.posts, err = wire.Dial(ctx, server.Callee, server.Key); err != nil {
				return callers, err
			}
		}
		callers = append(callers, &caller{session: s, tool: tool})
	}
	return callers, nil
}

// window measures while the callers call.
func window(ctx context.Context, server Server, measuring *atomic.Bool, d time.Duration) (before, after door.Sample, took time.Duration, err error) {
	if err := rest(ctx, time.Second); err != nil {
		return before, after, 0, err
	}
	if before, err = server.Sample(ctx, false); err != nil {
		return before, after, 0, err
	}
	began := time.Now()
	measuring.Store(true)
	err = rest(ctx, d)
	measuring.Store(false)
	took = time.Since(began)
	if err == nil {
		after, err = server.Sample(ctx, false)
	}
	return before, after, took, err
}

func (c *caller) loop(stop, measuring *atomic.Bool) error {
	for id := 2; !stop.Load(); id++ {
		began := time.Now()
		events, err := c.call(id)
		if err != nil {
			return err
		}
		if measuring.Load() {
			c.latencies = append(c.latencies, time.Since(began))
			c.events += events
		}
	}
	return nil
}

// call returns how many notifications came before the answer.
func (c *caller) call(id int) (events int, err error) {
	head, answer, err := c.session.send(c.tool.message(c.session.kind, id))
	if err != nil {
		return 0, err
	}
	if c.session.events == nil && head.Status != http.StatusOK {
		return 0, fmt.Errorf("the call was answered with status %d", head.Status)
	}
	if c.session.events == nil {
		return bytes.Count(answer, []byte("notifications/progress")), succeeded(answer)
	}
	for {
		data, err := c.session.events.Next()
		if err != nil {
			return events, err
		}
		if !bytes.Contains(data, []byte(`"method"`)) {
			return events, succeeded(data)
		}
		events++
	}
}

func succeeded(answer []byte) error {
	if !bytes.Contains(answer, []byte(`"result"`)) || bytes.Contains(answer, []byte(`"isError":true`)) {
		return fmt.Errorf("the call failed: %s", answer)
	}
	return nil
}

func summary(callers []*caller, before, after door.Sample, took time.Duration) (Calls, error) {
	var all []time.Duration
	events := 0
	for _, c := range callers {
		all = append(all, c.latencies...)
		events += c.events
	}
	if len(all) == 0 {
		return Calls{}, errors.New("no call was answered")
	}
	slices.Sort(all)
	n, used := float64(len(all)), after.Sub(before)
	cpu := used.CPU / time.Duration(len(all))
	return Calls{
		Rate: n / took.Seconds(), Events: float64(events) / used.CPU.Seconds(),
		Median: all[len(all)/2], P99: all[len(all)*99/100],
		CPU: cpu, Allocations: used.Mallocs / n, Bytes: used.Allocated / n,
	}, nil
}
