// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
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
	// Cut streams, those that Failed to come back at the other replica, and those
	// that Kept their session there.
	Cut, Failed, Kept int
	// Closed is when the last stream was closed, and Gone when the process had
	// ended, from when it was told to go.
	Closed, Gone time.Duration
	// Peak is how many streams at most came back within one second.
	Peak int
	// Why is what became of the first call that was lost, or of the first stream
	// that failed; nil without one.
	Why error
}

// farewell is what happens while a replica leaves.
type farewell struct {
	there Server
	stop  atomic.Bool
	mu    sync.Mutex // guards what follows
	told  time.Time  // when the replica was told to go
	cuts  []time.Time
	back  []*session
	left  Left
}

// Leave opens n streams at here, half of each kind, lets callers call the tool, has here
// go, which gone tells, and follows all clients to there.
func Leave(ctx context.Context, here, there Server, n, callers int, tool Tool, patience time.Duration, tell func() error, gone <-chan struct{}) (Left, error) {
	f := &farewell{there: there}
	var group sync.WaitGroup
	defer func() {
		group.Wait()
		closeAll(f.back, true)
	}()
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
	back, kept, err := f.move(ctx, s)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.left.Failed++
		f.left.Why = cmp.Or(f.left.Why, fmt.Errorf("%s, coming back: %w", s.kind, err))
		return
	case kept:
		f.left.Kept++
	}
	f.back = append(f.back, back)
}

// comeBack is how often a client that is told to come later does so.
const comeBack = time.Second

// move goes on at another replica: with the same session if that is known
// there, else with a new one. kept says which. A replica that cannot tell yet is asked
// again, until the session's own is gone.
func (f *farewell) move(ctx context.Context, s *session) (moved *session, kept bool, err error) {
	there := f.there
	there.Path = s.server.Path
	for s.kind != SSE {
		next := &session{server: there, kind: s.kind, path: s.path, header: s.header, dial: wire.Dial}
		err := next.resume(ctx)
		if err == nil {
			return next, true, nil
		}
		_ = next.close(true) // Another one follows.
		var refused *wire.RefusedError
		if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
			break
		}
		if err := rest(ctx, comeBack); err != nil {
			return next, false, err
		}
	}
	moved, err = open(ctx, there, s.kind, nil)
	return moved, false, err
}

// resume asks whether the session is known, and opens its stream.
func (s *session) resume(ctx context.Context) (err error) {
	if s.posts, err = wire.Dial(ctx, s.server.Addr, s.server.Key); err != nil {
		return err
	}
	if _, _, err = s.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`); err == nil && s.kind == Stream {
		s.events, err = s.get(ctx)
	}
	return err
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
		if refused := new(wire.RefusedError); err != nil && !errors.As(err, &refused) {
			f.lose(fmt.Errorf("%s: %w", s.kind, err))
		}
		_ = s.close(true) // It is of no use any more.
		if s, _, err = f.move(ctx, s); err != nil {
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
	f.left.Why = cmp.Or(f.left.Why, err)
}
