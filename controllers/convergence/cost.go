// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"
	"context"
	"log/slog"
	"math/bits"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// weighEvery is the pause between two questions to a pod about what it holds, and
// the least between two writes of that, while some pod may have to go.
const weighEvery = time.Minute

// deletionCost is what ending a pod costs that holds so many streams and
// sessions: the power of two at or below, so that it is seldom another. A pod
// without the annotation counts as 0.
func deletionCost(held int) string {
	if held <= 0 {
		return "0"
	}
	return strconv.Itoa(1 << min(bits.Len(uint(held))-1, 30)) // The API has 32 bits for it.
}

// weighFrom begins or ends the weighing of all pods of a server.
func (s *server) weighFrom(now time.Time, weigh bool) {
	if weigh && !s.weigh {
		s.weighSince = now
	}
	s.weigh = weigh
	if !weigh {
		return
	}
	for _, member := range s.pods {
		member.due = earlier(member.due, later(now, member.weighedAt.Add(weighEvery)))
	}
}

// weighed says whether every pod has told what it holds since that was asked, or
// shortly before, as far as it can.
func (s *server) weighed(members []*pod) bool {
	return s.weigh && !slices.ContainsFunc(members, func(m *pod) bool { return m.weighedAt.Before(s.weighSince.Add(-weighEvery)) })
}

// weigh follows a question to the pod, and returns the cost that should be
// written now; empty if none.
func (m *pod) weigh(now time.Time) string {
	if !m.server.weigh {
		return ""
	}
	m.due = earlier(m.due, now.Add(weighEvery))
	if m.failures == 0 && now.Sub(m.costAt) >= weighEvery {
		if cost := deletionCost(m.known.Streams + m.known.Sessions); cost != cmp.Or(m.cost, "0") {
			m.costAt = now
			return cost
		}
	}
	m.weighedAt = now
	return ""
}

// costed notes how the writing of a cost went. It is not tried again before the
// next question: what rests on it, rests on the pods' leaving gracefully, too.
func (m *pod) costed(cost string, err error, now time.Time) {
	m.weighedAt = now
	if err == nil {
		m.cost = cost
	}
}

// sendCost writes a pod's cost, and logs a refusal.
func (p *Pool) sendCost(ctx context.Context, server types.NamespacedName, member *pod, cost string) error {
	ctx, cancel := context.WithTimeout(ctx, pokeTimeout)
	defer cancel()
	err := p.poker.Poke(ctx, types.NamespacedName{Namespace: server.Namespace, Name: member.name}, member.uid, map[string]string{corev1.PodDeletionCost: cost})
	if err != nil && !gone(err) && ctx.Err() == nil {
		p.log.WarnContext(ctx, "Failed to note what a pod holds: a lower number of pods may end another than the emptiest", slog.String("namespace", server.Namespace),
			slog.String("pod", member.name), slog.Any("error", err))
	}
	return err
}
