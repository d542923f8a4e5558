// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"container/heap"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxRequests bounds the requests that run at once, pokes and questions.
	maxRequests = 200
	// pokeTimeout bounds one poke.
	pokeTimeout = 10 * time.Second
	// idle is how long the loop sleeps at most.
	idle = time.Hour
)

// Pool asks and pokes the pods of all servers. The zero value does not work; see
// New.
type Pool struct {
	poker   Poker
	web     *http.Client
	changed func(types.NamespacedName)
	log     *slog.Logger
	// wake tells the loop that something is due earlier than it knows.
	wake chan struct{}

	mu      sync.Mutex // guards what follows; never held across I/O
	servers map[types.NamespacedName]*server
	agenda  agenda
}

// New returns a pool that works once it is started.
func New(o Options) *Pool {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	return &Pool{
		poker: o.Poker, web: webClient(o.Dial), changed: o.Changed, log: o.Logger,
		wake:    make(chan struct{}, 1),
		servers: map[types.NamespacedName]*server{},
	}
}

// NeedLeaderElection makes only the leader poke.
func (p *Pool) NeedLeaderElection() bool { return true }

// Observe notes what the pods of a server should hold and returns what is known
// about exactly that now. It never blocks, and starts whatever is missing. It may
// be called before Start.
func (p *Pool) Observe(t Target) Report {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.servers[t.Server]
	if s == nil {
		s = &server{name: t.Server}
		p.servers[t.Server] = s
	}
	s.aim(goalOf(t), now)
	for _, left := range s.meet(t.Pods, now) {
		p.agenda.drop(left)
	}
	s.weighFrom(now, t.Weigh)
	for _, member := range s.pods {
		p.agenda.put(member)
	}
	s.sum()
	s.tell(now)
	p.nudge()
	return s.report
}

// Forget ends all work for a server; nothing happens if there is none.
func (p *Pool) Forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.servers[name]
	if s == nil {
		return
	}
	delete(p.servers, name)
	for _, left := range s.meet(nil, time.Now()) {
		p.agenda.drop(left)
	}
}

// nudge makes the loop look at the agenda.
func (p *Pool) nudge() {
	select {
	case p.wake <- struct{}{}:
	default: // It will look anyway.
	}
}

// Start works until ctx ends and returns when all requests have ended.
func (p *Pool) Start(ctx context.Context) error {
	var working sync.WaitGroup
	defer p.web.CloseIdleConnections()
	defer working.Wait()
	slots := make(chan struct{}, maxRequests)
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		next := p.await(ctx, timer)
		if next == nil {
			return nil
		}
		working.Go(func() {
			defer func() { <-slots }()
			p.work(ctx, next)
		})
	}
}

// await returns the first pod that is due, as soon as one is; nil when ctx ends.
func (p *Pool) await(ctx context.Context, timer *time.Timer) *pod {
	for {
		p.mu.Lock()
		next, wait := p.agenda.take(time.Now())
		p.mu.Unlock()
		if next != nil {
			return next
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// work does the one thing that is due for a pod, and notes when the next is.
func (p *Pool) work(ctx context.Context, member *pod) {
	p.mu.Lock()
	server := member.server.name
	annotations := member.poke(time.Now())
	p.mu.Unlock()

	// note returns the deletion cost that is to be written after what it notes.
	var note func(now time.Time) (cost string)
	if annotations != nil {
		err := p.send(ctx, server, member, annotations)
		note = func(now time.Time) string { member.poked(annotations, err, now); return "" }
	} else {
		answer, failure := p.ask(ctx, member.ip)
		note = func(now time.Time) string { member.heard(answer, failure, now); return member.weigh(now) }
	}
	if cost := p.learn(ctx, member, note); cost != "" {
		err := p.sendCost(ctx, server, member, cost)
		p.learn(ctx, member, func(now time.Time) string { member.costed(cost, err, now); return "" })
	}
}

// learn notes what was learnt of a pod and tells of it. The pod is free for other
// work then, unless its cost has to be written first.
func (p *Pool) learn(ctx context.Context, member *pod, note func(now time.Time) (cost string)) (cost string) {
	if ctx.Err() != nil {
		return "" // What failed, failed because the pool ends.
	}
	now := time.Now()
	p.mu.Lock()
	var tell bool
	if s := member.server; p.servers[s.name] == s && !member.left {
		cost = note(now)
		s.sum()
		tell = s.tellLater(member, now)
	}
	if cost == "" {
		member.busy = false
		p.agenda.put(member)
		p.nudge()
	}
	p.mu.Unlock()
	if tell {
		p.changed(member.server.name)
	}
	return cost
}

// send pokes and logs a refusal.
func (p *Pool) send(ctx context.Context, server types.NamespacedName, member *pod, annotations map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, pokeTimeout)
	defer cancel()
	err := p.poker.Poke(ctx, types.NamespacedName{Namespace: server.Namespace, Name: member.name}, member.uid, annotations)
	if err != nil && !gone(err) && ctx.Err() == nil {
		p.log.WarnContext(ctx, "Failed to poke a pod: its volumes are synced late", slog.String("namespace", server.Namespace),
			slog.String("pod", member.name), slog.Any("error", err))
	}
	return err
}

// agenda holds pods by the time at which something is due for them; a pod that
// is worked on is not in it.
type agenda struct{ queue }

// put adds a pod, or moves it to its time.
func (a *agenda) put(member *pod) {
	switch {
	case member.busy || member.left:
	case member.index < 0:
		heap.Push(&a.queue, member)
	default:
		heap.Fix(&a.queue, member.index)
	}
}

func (a *agenda) drop(member *pod) {
	if member.index >= 0 {
		heap.Remove(&a.queue, member.index)
	}
}

// take returns a pod that is due, or how long to wait for one.
func (a *agenda) take(now time.Time) (*pod, time.Duration) {
	if len(a.queue) == 0 {
		return nil, idle
	}
	if wait := a.queue[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	next, ok := heap.Pop(&a.queue).(*pod)
	if !ok {
		return nil, idle
	}
	next.busy = true
	return next, 0
}

// queue implements heap.Interface.
type queue []*pod

// Len implements sort.Interface.
func (q queue) Len() int { return len(q) }

// Less implements sort.Interface.
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap implements sort.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	if member, ok := x.(*pod); ok {
		member.index = len(*q)
		*q = append(*q, member)
	}
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	member := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	member.index = -1
	return member
}
