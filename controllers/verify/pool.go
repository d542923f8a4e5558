// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// firstRetry and lastRetry are the bounds of the back-off after a failure.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// defaultConcurrency is Options.Concurrency's.
	defaultConcurrency = 16
	// How often in a row a thing must happen to be believed: a wrong answer, no
	// answer, and anything against a server that has passed.
	wrongToBelieve  = 2
	silentToBelieve = 3
	takeBack        = 3
)

// Pool verifies the servers that are observed. It is safe for concurrent use.
type Pool struct {
	options Options
	prober  *prober
	slots   chan struct{}
	// wake has room for one: something became due earlier.
	wake chan struct{}

	mu       sync.Mutex
	subjects map[types.NamespacedName]*subject
}

// subject is one server that is observed.
type subject struct {
	target Target
	report Report
	// failures counts those in a row, alike those of the same state as the last.
	failures, alike int
	last            State
	due             time.Time
	checking        bool
}

// New makes a pool, which works from Start on.
func New(o Options) *Pool {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: checkTimeout}).DialContext
	}
	if o.Changed == nil {
		o.Changed = func(types.NamespacedName) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	return &Pool{
		options: o, prober: newProber(o.Dial), slots: make(chan struct{}, o.Concurrency),
		wake: make(chan struct{}, 1), subjects: make(map[types.NamespacedName]*subject),
	}
}

// Observe notes what is to be verified and gives what is known about exactly
// that: about this revision, asked with this key. Whatever differs from the last
// target makes the report Pending and a check due at once. It never blocks.
func (p *Pool) Observe(t Target) Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.subjects[t.Server]
	if !ok || !same(s.target, t) {
		t.Tools = slices.Clone(t.Tools)
		// A check of the older target that still runs finds itself replaced.
		s = &subject{target: t, report: Report{Revision: t.Revision, State: Pending}, due: time.Now()}
		p.subjects[t.Server] = s
		p.nudge()
	}
	return s.report
}

func same(a, b Target) bool {
	return a.URL == b.URL && a.Revision == b.Revision && a.UID == b.UID && a.Key == b.Key && slices.Equal(a.Tools, b.Tools)
}

// Forget drops a server that is gone or must not be verified.
func (p *Pool) Forget(server types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.subjects, server)
}

// nudge lets Start look again.
func (p *Pool) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Start checks what is due until ctx ends, and waits for the checks that run. It
// implements controller-runtime's manager.Runnable.
func (p *Pool) Start(ctx context.Context) error {
	var checks sync.WaitGroup
	defer checks.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, next := p.due(time.Now())
		for _, s := range due {
			select {
			case p.slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			checks.Go(func() {
				defer func() { <-p.slots }()
				p.check(ctx, s)
			})
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// due takes the subjects that are due, the longest first, and tells how long it
// is until the next one is.
func (p *Pool) due(now time.Time) (due []*subject, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = p.options.Interval
	for s := range maps.Values(p.subjects) {
		switch wait := s.due.Sub(now); {
		case s.checking:
		case wait <= 0:
			s.checking = true
			due = append(due, s)
		default:
			next = min(next, wait)
		}
	}
	slices.SortFunc(due, func(a, b *subject) int { return a.due.Compare(b.due) })
	return due, next
}

// check asks one server and notes the outcome.
func (p *Pool) check(ctx context.Context, s *subject) {
	if !p.current(s) {
		return // It was replaced while it waited for its turn.
	}
	info, problem := p.prober.probe(ctx, s.target)
	if ctx.Err() != nil {
		return
	}
	if problem != nil {
		p.options.Logger.DebugContext(ctx, "A server was not verified", "namespace", s.target.Server.Namespace,
			"server", s.target.Server.Name, "revision", s.target.Revision, "state", string(problem.state), "reason", problem.message, "error", problem.cause)
	}
	p.mu.Lock()
	changed := p.subjects[s.target.Server] == s && s.note(info, problem, p.options.Interval, time.Now())
	s.checking = false
	p.mu.Unlock()
	p.nudge()
	if changed {
		p.options.Changed(s.target.Server)
	}
}

func (p *Pool) current(s *subject) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.subjects[s.target.Server] == s
}

// note takes the outcome of a check and reports whether the report changed.
func (s *subject) note(info ServerInfo, problem *problem, interval time.Duration, now time.Time) (changed bool) {
	before := s.report
	if problem == nil {
		s.failures, s.alike, s.last = 0, 0, Passed
		s.report.State, s.report.Message, s.report.ServerInfo = Passed, "", info
		s.due = now.Add(interval*4/5 + rand.N(interval*2/5+1)) //nolint:gosec // G404: jitter is no secret.
		return s.report != before
	}
	if s.last != problem.state {
		s.alike = 0
	}
	s.last = problem.state
	s.failures++
	s.alike++
	s.due = now.Add(backOff(s.failures))
	believed := problem.state == Failed && s.alike >= wrongToBelieve || problem.state == Unreachable && s.alike >= silentToBelieve
	if s.report.State == Passed {
		believed = s.failures >= takeBack
	}
	if believed {
		s.report.State, s.report.Message = problem.state, problem.message
	}
	return s.report != before
}

// backOff is how long to wait after so many failures in a row: between half and
// the whole of a step that doubles.
func backOff(failures int) time.Duration {
	step := lastRetry
	if shift := failures - 1; shift < 5 {
		step = min(firstRetry<<shift, lastRetry)
	}
	return step/2 + rand.N(step/2+1) //nolint:gosec // G404: jitter is no secret.
}
