// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// Times between two looks at a pod. The kubelet needs 0.2 to 0.3 s to sync the
// volumes of a pod that was poked.
const (
	firstAsk   = 100 * time.Millisecond
	longestAsk = 30 * time.Second
	// brisk is how long after a change pods are asked without a back-off.
	brisk = 2 * time.Second
	// slowAsk is for pods that cannot be poked.
	slowAsk = 10 * time.Second
	// The kubelet's own copy may be older than the poke, which then did nothing:
	// another follows as soon as it would have synced, and then later and later.
	nextPoke    = 300 * time.Millisecond
	longestPoke = time.Minute
	// uselessPoke follows a poke that was refused, or after which the pod refused
	// what it got.
	uselessPoke = 5 * time.Minute
	// eager is the number of pokes after which a pod is not expected to follow soon.
	eager = 6
	// settled is when a pod that was poked has read all that is new, Secrets too.
	settled = time.Second
	// period is within what the kubelet syncs a pod on its own.
	period       = 2 * time.Minute
	firstRetry   = 250 * time.Millisecond
	longestRetry = 2 * time.Minute
	// sweep, give or take a fifth, is for pods that hold what they should, and
	// problemSweep for those that miss something else.
	sweep        = 10 * time.Minute
	problemSweep = 30 * time.Second
)

const (
	// tries is after how many questions without an answer a pod is unreachable,
	// and restTries is the same for one that has converged.
	tries, restTries = 4, 6
	// provenPokes is after how many pokes, and provenDelay how long after the last,
	// a pod's error is about this revision: the first may come before the kubelet
	// knows of it. A pod that cannot be poked has the kubelet's period.
	provenPokes = 3
	provenDelay = 500 * time.Millisecond
)

// standing is where one pod stands.
type standing int

const (
	unheard standing = iota
	current
	lagging
	refusing
	unreachable
)

// pod is one of a server's.
type pod struct {
	server *server
	name   string
	uid    types.UID
	ip     string
	// mark and refreshed are the two annotations as far as they are known.
	mark, refreshed string
	// gone is true while the API server says that it does not know it, left if it
	// is nobody's target any more.
	gone, left bool
	// doubtful is true while the pod may be about to get another revision, so that
	// an answer with the right one may be from before: the goal changed, and changed
	// back, on its way. It ends with an answer some time after a poke for this goal.
	doubtful bool

	// due is when to look at it next; index is its place in the agenda, and busy
	// is true while a request about it runs.
	due   time.Time
	index int
	busy  bool

	// known is its last answer; nil before the first.
	known *answer
	// failures counts questions without an answer since, and failure is the last.
	// It stays once the pod counts as unreachable, since it is told.
	failures int
	failure  string
	// asks counts answers since the last poke, pokes those tried for this goal.
	asks, pokes int
	// pokedAt is when it was poked last for this goal, by this process; nextPoke is
	// when it may be poked again, and askedAt when it was asked last.
	pokedAt, nextPoke, askedAt time.Time
	// refusal is why the API server does not want it to be poked.
	refusal string

	// cost is the pod's deletion cost as far as it is known, costAt when this
	// process last wrote it, and weighedAt when that was last looked at.
	cost              string
	costAt, weighedAt time.Time
}

// holds says whether the pod has all that the goal asks for.
func (m *pod) holds() bool {
	goal := &m.server.goal
	if m.known == nil || m.known.Revision != goal.revision {
		return false
	}
	// A runtime that does not tell of keys has none to wait for.
	return len(goal.keyIDs) == 0 || m.known.KeyIDs == nil || slices.Equal(m.known.KeyIDs, goal.keyIDs)
}

// stands sums up what is known of it.
func (m *pod) stands(now time.Time) standing {
	holds := m.holds()
	switch {
	case holds && m.failures < restTries && m.doubtful:
		return unheard
	case holds && m.failures < restTries:
		return current
	case m.failures >= tries:
		return unreachable
	case m.known == nil:
		return unheard
	case m.known.ConfigError == "" || m.known.Revision == m.server.goal.revision:
		return lagging
	case attempt(m.mark, m.server.goal.revision) >= provenPokes && now.Sub(m.pokedAt) >= provenDelay, now.Sub(m.server.since) >= period:
		return refusing
	}
	return unheard // It may speak of the revision before.
}

// poke returns the annotations that the pod should get now; nil if it should be
// asked instead.
func (m *pod) poke(now time.Time) map[string]string {
	goal := &m.server.goal
	// The kubelet may have synced since the last look: that saves a write.
	stale := m.pokes > 0 && m.askedAt.Before(m.nextPoke) && !m.gone
	if now.Before(m.nextPoke) || stale {
		return nil
	}
	behind := m.known != nil && !m.holds()
	// Whoever cannot be asked is poked once, so that the change reaches him.
	blind := m.known == nil && m.failures >= tries && attempt(m.mark, goal.revision) == 0
	doubts := m.doubtful && m.pokedAt.IsZero()
	if !m.gone && !behind && !blind && !doubts && !m.lacksRefresh() {
		return nil
	}
	annotations := map[string]string{
		fairleadv1alpha1.AnnotationConfigRevision: goal.revision + "-" + strconv.Itoa(attempt(m.mark, goal.revision)+1),
	}
	if goal.refresh != "" {
		annotations[fairleadv1alpha1.AnnotationRefreshedAt] = goal.refresh
	}
	return annotations
}

// waits says whether the pod lacks anything that it should get.
func (m *pod) waits() bool { return !m.holds() || m.doubtful || m.lacksRefresh() }

func (m *pod) lacksRefresh() bool {
	refresh := m.server.goal.refresh
	return refresh != "" && refresh != m.server.honoured && m.refreshed != refresh
}

// attempt returns how often a pod with this annotation was poked to serve the
// revision.
func attempt(mark, revision string) int {
	number, ok := strings.CutPrefix(mark, revision+"-")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0 // Somebody else's writing.
	}
	return n
}

// poked notes how a poke went.
func (m *pod) poked(annotations map[string]string, err error, now time.Time) {
	refresh := m.lacksRefresh()
	mark := annotations[fairleadv1alpha1.AnnotationConfigRevision]
	if attempt(mark, m.server.goal.revision) == 0 {
		if m.gone = gone(err); err == nil {
			m.mark = mark
		}
		m.due = now // The goal has changed meanwhile.
		return
	}
	m.gone = false
	switch {
	case err == nil:
		m.mark, m.refusal = mark, ""
		if value := annotations[fairleadv1alpha1.AnnotationRefreshedAt]; value != "" {
			m.refreshed = value
		}
		m.pokedAt = now
		m.pause(now)
		if m.pokes > eager || (refresh && m.holds() && !m.doubtful) {
			m.due = now.Add(settled)
			return
		}
		m.asks, m.due = 0, now.Add(firstAsk)
	case gone(err):
		// Whoever names the pod is about to hear the same, or knows better.
		m.gone, m.nextPoke, m.due = true, now.Add(period), now.Add(period)
	case refused(err):
		if m.refusal == "" { // The words of the first: others would be told each time.
			m.refusal = bounded(err.Error(), 256)
		}
		m.nextPoke = now.Add(uselessPoke)
		m.due = now.Add(firstAsk)
	default:
		m.pause(now)
		m.due = now.Add(firstAsk)
	}
}

// pause puts the next poke off, the longer the more there were.
func (m *pod) pause(now time.Time) {
	m.nextPoke = now.Add(doubled(nextPoke, max(0, m.pokes-1), longestPoke))
	m.pokes++
}

// heard notes an answer, or its failure.
func (m *pod) heard(got answer, failure string, now time.Time) {
	m.askedAt = now
	refused := m.refusal != "" && now.Sub(m.server.since) >= period
	if refused {
		m.refreshed = m.server.goal.refresh // The kubelet has come by itself.
	}
	if failure != "" {
		if m.failures < tries {
			m.failure = failure
		}
		m.due = now.Add(doubled(firstRetry, m.failures, longestRetry))
		m.failures++
		return
	}
	m.failures, m.failure = 0, ""
	m.known = m.server.intern(got)
	settled := !m.pokedAt.IsZero() && now.Sub(m.pokedAt) >= settled
	if m.holds() && (settled || refused) {
		m.doubtful = false
	}
	if m.waits() {
		m.follow(now)
		return
	}
	m.asks, m.pokes, m.refusal = 0, 0, ""
	m.due = now.Add(time.Duration(float64(sweep) * (0.8 + 0.4*rand.Float64()))) //nolint:gosec // G404: not a secret.
	if len(m.known.Problems) > 0 {
		m.due = now.Add(problemSweep)
	}
}

// follow says when to look again at a pod that has answered and lacks something.
func (m *pod) follow(now time.Time) {
	longest := longestAsk
	if m.refusal != "" {
		longest = slowAsk
	}
	m.due = now.Add(firstAsk)
	if m.refusal != "" || now.Sub(m.server.since) >= brisk {
		m.due = now.Add(grown(firstAsk, m.asks, longest))
		m.asks++
	}
	switch {
	case m.stands(now) == refusing:
		m.nextPoke = later(m.nextPoke, now.Add(uselessPoke))
	case m.holds() && !m.pokedAt.IsZero():
		// It was poked, and is only watched until it has settled.
	default:
		m.due = earlier(m.due, later(m.nextPoke, now))
	}
}

// gone says that the pod that was poked is not there any more. Other conflicts
// are lost races with the kubelet, which writes the status too.
func gone(err error) bool {
	if apierrors.IsNotFound(err) || (apierrors.IsConflict(err) && strings.Contains(err.Error(), "Precondition failed: UID")) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// refused says that the API server will not want the same poke later either.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		strings.Contains(err.Error(), "admission webhook") || strings.Contains(err.Error(), "failed calling webhook")
}

// doubled returns first times two to the power of n, at most longest.
func doubled(first time.Duration, n int, longest time.Duration) time.Duration {
	return min(first<<min(n, 20), longest)
}

// grown is as doubled with a factor of one and a half.
func grown(first time.Duration, n int, longest time.Duration) time.Duration {
	for range n {
		if first >= longest {
			break
		}
		first += first / 2
	}
	return min(first, longest)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
