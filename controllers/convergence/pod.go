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
	// slowAsk is for pods that cannot be poked.
	slowAsk = 10 * time.Second
	// The kubelet's own copy may be older than the poke, which then did nothing.
	firstPoke   = 600 * time.Millisecond
	longestPoke = time.Minute
	// uselessPoke follows a poke that was refused, or after which the pod refused
	// what it got.
	uselessPoke = 5 * time.Minute
	// eager is the number of pokes after which a pod is not expected to follow soon.
	eager = 6
	// settled is when a pod that was poked has read all that is new, Secrets too.
	settled      = time.Second
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
	// knows of it.
	provenPokes = 2
	provenDelay = 500 * time.Millisecond
	// provenAge is the same for a pod that cannot be poked.
	provenAge = 2 * time.Minute
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
	// gone is true if the API server does not know it any more, left if it is
	// nobody's target any more.
	gone, left bool

	// due is when to look at it next; index is its place in the agenda, and busy
	// is true while a request about it runs.
	due   time.Time
	index int
	busy  bool

	// known is its last answer; nil before the first.
	known *answer
	// failures counts questions without an answer since, and failure is the last.
	failures int
	failure  string
	// asks counts answers since the last poke, pokes those tried for this goal.
	asks, pokes int
	// pokedAt is when it was poked last, by this process; nextPoke is when it may
	// be poked again.
	pokedAt, nextPoke time.Time
	// refusal is why the API server does not want it to be poked.
	refusal string
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
	case holds && m.failures < restTries:
		return current
	case m.failures >= tries:
		return unreachable
	case m.known == nil:
		return unheard
	case m.known.ConfigError == "" || m.known.Revision == m.server.goal.revision:
		return lagging
	case attempt(m.mark, m.server.goal.revision) >= provenPokes && now.Sub(m.pokedAt) >= provenDelay, now.Sub(m.server.since) >= provenAge:
		return refusing
	}
	return unheard // It may speak of the revision before.
}

// poke returns the annotations that the pod should get now; nil if it should be
// asked instead.
func (m *pod) poke(now time.Time) map[string]string {
	goal := &m.server.goal
	refresh := m.lacksRefresh()
	behind := m.known != nil && !m.holds()
	// Whoever cannot be asked is poked once, so that the change reaches him.
	blind := m.known == nil && m.failures >= tries && attempt(m.mark, goal.revision) == 0
	if now.Before(m.nextPoke) || (!refresh && !behind && !blind) {
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
	switch {
	case err == nil:
		m.mark, m.refusal = annotations[fairleadv1alpha1.AnnotationConfigRevision], ""
		if value := annotations[fairleadv1alpha1.AnnotationRefreshedAt]; value != "" {
			m.refreshed = value
		}
		if attempt(m.mark, m.server.goal.revision) == 0 {
			m.due = now // The goal has changed meanwhile.
			return
		}
		m.pokedAt, m.nextPoke = now, now.Add(doubled(firstPoke, m.pokes, longestPoke))
		m.pokes++
		if m.pokes > eager || (refresh && m.holds()) {
			m.due = now.Add(settled)
			return
		}
		m.asks, m.due = 0, now.Add(firstAsk)
	case gone(err):
		m.gone = true
	case refused(err):
		m.refusal = bounded(err.Error(), 256)
		m.nextPoke = now.Add(uselessPoke)
		m.due = now.Add(firstAsk)
	default:
		m.nextPoke = now.Add(doubled(firstPoke, m.pokes, longestPoke))
		m.pokes++
		m.due = now.Add(firstAsk)
	}
}

// heard notes an answer, or its failure.
func (m *pod) heard(got answer, failure string, now time.Time) {
	if failure != "" {
		m.failure = failure
		m.due = now.Add(doubled(firstRetry, m.failures, longestRetry))
		m.failures++
		return
	}
	m.failures, m.failure = 0, ""
	m.known = m.server.intern(got)
	if m.holds() && !m.lacksRefresh() {
		m.asks, m.pokes, m.refusal = 0, 0, ""
		m.due = now.Add(time.Duration(float64(sweep) * (0.8 + 0.4*rand.Float64()))) //nolint:gosec // G404: not a secret.
		if len(m.known.Problems) > 0 {
			m.due = now.Add(problemSweep)
		}
		return
	}
	longest := longestAsk
	if m.refusal != "" {
		longest = slowAsk
	}
	m.due = now.Add(grown(firstAsk, m.asks, longest))
	m.asks++
	if m.stands(now) == refusing {
		m.nextPoke = later(m.nextPoke, now.Add(uselessPoke))
		return
	}
	m.due = earlier(m.due, later(m.nextPoke, now))
}

// gone says that the pod that was poked is not there any more.
func gone(err error) bool {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true // A conflict is one of uids: no version is sent.
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
