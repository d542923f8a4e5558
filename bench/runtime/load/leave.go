// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/bench/runtime/wire"
)

// Left says what clients noticed of a replica that went away.
type Left struct {
	// Answered calls, and those Lost: accepted or sent, and never answered.
	Answered, Lost int
	// Cut streams, and those that Failed to come back at the other replica.
	Cut, Failed int
	// Closed is when the last stream was closed, and Gone when the process had
	// ended, from when it was told to go.
	Closed, Gone time.Duration
	// Peak is how many streams at most came back within one second.
	Peak int
	// Why is what became of the first call that was lost; nil without one.
	Why error
}

// farewell is what happens while a replica leaves.
type farewell struct {
	there Server
	stop  atomic.Bool
	mu    sync.Mutex // guards what follows
	told  time.Time  // when the replica was told to go
	cuts  []time.Time
	left  Left
}

// Leave opens n streams at here, half of each kind, lets callers call the tool, has here
// go, which gone tells, and follows all clients to there.
func Leave(ctx context.Context, here, there Server, n, callers int, tool Tool, patience time.Duration, tell func() error, gone <-chan struct{}) (Left, error) {
	f := &farewell{there: there}
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var streams []*session
	defer func() { closeAll(streams, false) }()
	for _, kind := range []Kind{SSE, Stream} {
		some, err := openAll(ctx, here.at(kind), kind, n/2, false)
		streams = append(streams, some...)
		if err != nil {
			return Left{}, err
		}
	}
	for _, s := range streams {
		group.Go(func() { f.follow(ctx, s) })
	}
	defer f.stop.Store(true)
	for i := range callers {
		kind := []Kind{SSE, Session}[i%2]
		s, err := open(ctx, here.at(kind), kind, nil)
		if err != nil {
			return Left{}, err
		}
		group.Go(func() { f.call(ctx, s, tool) })
	}
	if err := rest(ctx, 2*time.Second); err != nil {
		return Left{}, err
	}
	f.mu.Lock()
	f.told = time.Now()
	f.mu.Unlock()
	if err := tell(); err != nil {
		return Left{}, err
	}
	select {
	case <-gone:
	case <-time.After(patience):
		return Left{}, fmt.Errorf("the replica is still there %v after it was told to go", patience)
	case <-ctx.Done():
		return Left{}, ctx.Err()
	}
	f.mu.Lock()
	f.left.Gone = time.Since(f.told)
	f.mu.Unlock()
	// Whoever was cut last comes back, and answers come from there.
	err := rest(ctx, 2*time.Second)
	return f.summary(), err
}

// summary counts the streams that were cut from when the replica was told on.
func (f *farewell) summary() Left {
	f.mu.Lock()
	defer f.mu.Unlock()
	seconds := map[time.Duration]int{}
	slices.SortFunc(f.cuts, time.Time.Compare)
	for _, cut := range f.cuts {
		f.left.Closed = cut.Sub(f.told)
		second := cut.Sub(f.cuts[0]) / time.Second
		seconds[second]++
		f.left.Peak = max(f.left.Peak, seconds[second])
	}
	f.left.Cut = len(f.cuts)
	return f.left
}

// at is the transport of a kind at Fairlead.
func (s Server) at(kind Kind) Server {
	s.Path = "/mcp"
	if kind == SSE {
		s.Path = "/sse"
	}
	return s
}

// follow reads a stream until it ends, and opens it again at the other replica.
func (f *farewell) follow(ctx context.Context, s *session) {
	var err error
	for err == nil {
		_, err = s.events.Next()
	}
	_ = s.events.Close() // It has ended.
	f.mu.Lock()
	told := !f.told.IsZero()
	f.cuts = append(f.cuts, time.Now())
	f.mu.Unlock()
	if f.stop.Load() || !told {
		return
	}
	if back, err := s.move(ctx, f.there); err != nil {
		f.mu.Lock()
		f.left.Failed++
		f.mu.Unlock()
	} else {
		_ = back.close(true) // It came back, that was all.
	}
}

// move goes on at another replica: with the same session if that is known
// there, else with a new one.
func (s *session) move(ctx context.Context, there Server) (*session, error) {
	there.Path = s.server.Path
	if s.kind == SSE {
		return open(ctx, there, s.kind, nil)
	}
	next := &session{server: there, kind: s.kind, path: s.path, header: s.header, dial: wire.Dial}
	var err error
	if next.posts, err = wire.Dial(ctx, there.Addr, there.Key); err != nil {
		return next, err
	}
	if _, _, err = next.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); err != nil {
		_ = next.posts.Close() // Another one follows.
		return open(ctx, there, s.kind, nil)
	}
	if s.kind == Stream {
		next.events, err = next.get(ctx)
	}
	return next, err
}

// call calls until it is stopped, and moves when the replica refuses.
func (f *farewell) call(ctx context.Context, s *session, tool Tool) {
	c := &caller{session: s, tool: tool}
	defer func() { _ = c.session.close(true) }()
	for id := 2; !f.stop.Load() && ctx.Err() == nil; id++ {
		_, err := c.call(id)
		if err == nil {
			f.mu.Lock()
			f.left.Answered++
			f.mu.Unlock()
			if !c.session.ending {
				continue
			}
		}
		// What is refused was never accepted, so that nothing is lost.
		if refused := new(RefusedError); err != nil && !errors.As(err, &refused) {
			f.lose(fmt.Errorf("%s: %w", s.kind, err))
		}
		_ = s.close(true) // It is of no use any more.
		if s, err = s.move(ctx, f.there); err != nil {
			f.lose(fmt.Errorf("%s, at the other replica: %w", s.kind, err))
			return
		}
		c.session = s
	}
}

func (f *farewell) lose(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left.Lost++
	if f.left.Why == nil {
		f.left.Why = err
	}
}
