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
	// Whoever does not answer costs a slot for checkTimeout, so he is asked less.
	firstRetry      = time.Second
	lastRetry       = 30 * time.Second
	lastSilentRetry = 5 * time.Minute
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
	// wake has room for one: something became due earlier, or a check has ended.
	wake chan struct{}

	mu       sync.Mutex // guards what follows
	subjects map[types.NamespacedName]*subject
	// running counts checks, repeating those among them that are no first ones.
	running, repeating int
	// busy counts checks that run by namespace.
	busy map[string]int
}

// subject is one server that is observed.
type subject struct {
	target Target
	report Report
	// failures counts those in a row, alike those of the same state as the last.
	failures, alike int
	last            State
	// words are the last failure's message.
	words string
	due   time.Time
	// repeated is true after the first check has begun, checking while one runs.
	repeated, checking bool
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
		options: o, prober: newProber(o.Dial),
		wake: make(chan struct{}, 1), subjects: make(map[types.NamespacedName]*subject), busy: make(map[string]int),
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
		s, repeated, next := p.take(time.Now())
		if s != nil {
			checks.Go(func() { p.check(ctx, s, repeated) })
			continue
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

// take takes the subject whose turn it is: first checks go before others, which
// get half of the slots, so that servers that do not answer hold up nobody that
// is new. Without one it tells how long to wait.
func (p *Pool) take(now time.Time) (s *subject, repeated bool, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = p.options.Interval
	if p.running >= p.options.Concurrency {
		return nil, false, next // The end of a check wakes.
	}
	full := p.repeating >= max(1, p.options.Concurrency/2)
	for other := range maps.Values(p.subjects) {
		switch wait := other.due.Sub(now); {
		case other.checking || (other.repeated && full):
		case wait > 0:
			next = min(next, wait)
		case s == nil || p.before(other, s):
			s = other
		}
	}
	if s == nil {
		return nil, false, next
	}
	repeated, s.repeated, s.checking = s.repeated, true, true
	p.count(s, repeated, 1)
	return s, repeated, 0
}

// before orders the subjects that are due: first checks, then namespaces that
// have few checks running, then the longest due.
func (p *Pool) before(a, b *subject) bool {
	if a.repeated != b.repeated {
		return b.repeated
	}
	if busyA, busyB := p.busy[a.target.Server.Namespace], p.busy[b.target.Server.Namespace]; busyA != busyB {
		return busyA < busyB
	}
	return a.due.Before(b.due)
}

// count notes that a check begins (1) or ends (-1).
func (p *Pool) count(s *subject, repeated bool, change int) {
	namespace := s.target.Server.Namespace
	p.running += change
	if repeated {
		p.repeating += change
	}
	if p.busy[namespace] += change; p.busy[namespace] == 0 {
		delete(p.busy, namespace)
	}
}

// check asks one server and notes the outcome.
func (p *Pool) check(ctx context.Context, s *subject, repeated bool) {
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
	p.count(s, repeated, -1)
	p.mu.Unlock()
	p.nudge()
	if changed {
		p.options.Changed(s.target.Server)
	}
}

// note takes the outcome of a check and reports whether the report changed.
func (s *subject) note(info ServerInfo, problem *problem, interval time.Duration, now time.Time) (changed bool) {
	before := s.report
	if problem == nil {
		s.failures, s.alike, s.last, s.words = 0, 0, Passed, ""
		s.report.State, s.report.Message, s.report.ServerInfo = Passed, "", info
		s.due = now.Add(interval*4/5 + rand.N(interval*2/5+1)) //nolint:gosec // G404: jitter is no secret.
		return s.report != before
	}
	if s.last != problem.state {
		s.alike = 0
	}
	again := s.words == problem.message
	s.last, s.words = problem.state, problem.message
	s.failures++
	s.alike++
	longest := lastRetry
	if problem.state == Unreachable {
		longest = lastSilentRetry
	}
	s.due = now.Add(backOff(s.failures, longest))
	believed := problem.state == Failed && s.alike >= wrongToBelieve || problem.state == Unreachable && s.alike >= silentToBelieve
	if s.report.State == Passed {
		believed = s.failures >= takeBack
	}
	if s.report.State == problem.state {
		believed = again // Words that change each time would be a status write each time.
	}
	if believed {
		s.report.State, s.report.Message = problem.state, problem.message
	}
	return s.report != before
}

// backOff is how long to wait after so many failures in a row: between half and
// the whole of a step that doubles.
func backOff(failures int, longest time.Duration) time.Duration {
	step := min(firstRetry<<min(failures-1, 16), longest)
	return step/2 + rand.N(step/2+1) //nolint:gosec // G404: jitter is no secret.
}
