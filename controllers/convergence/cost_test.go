// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence_test

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"fairlead.dev/fairlead/controllers/convergence"
)

// holding makes a pod hold streams and sessions.
func holding(streams, sessions int) func(*process) {
	return func(p *process) { p.status["streams"], p.status["sessions"] = streams, sessions }
}

// weighing is the target with costs.
func (w *world) weighing(revision string) convergence.Target {
	t := w.target(revision)
	t.Weigh = true
	return t
}

func wantWeighed(w *world, got convergence.Report, weighed bool) {
	w.Helper()
	if got.Weighed != weighed {
		w.Errorf("weighed: %t, want %t", got.Weighed, weighed)
	}
}

// Costs are powers of two of streams and sessions together. A pod that holds
// nothing needs none: no annotation means the same.
func TestDeletionCosts(t *testing.T) {
	for _, tt := range []struct {
		name              string
		streams, sessions int
		want              []string
	}{
		{name: "nothing", want: nil},
		{name: "one", streams: 1, want: []string{"a pod-deletion-cost=1"}},
		{name: "at a power", streams: 100, sessions: 156, want: []string{"a pod-deletion-cost=256"}},
		{name: "below a power", streams: 100, sessions: 155, want: []string{"a pod-deletion-cost=128"}},
		{name: "more than the API takes", streams: 1 << 40, want: []string{"a pod-deletion-cost=1073741824"}},
		{name: "nonsense", streams: -5, want: nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.add(1, "r1")
				w.change(holding(tt.streams, tt.sessions))
				w.converged("r1")
				wantPokes(w)
				wantWeighed(w, w.pool.Observe(w.weighing("r1")), false)
				wantWeighed(w, w.after(time.Second, w.weighing("r1")), true)
				wantPokes(w, tt.want...)
			})
		})
	}
}

// At most one write a minute, and none while the power of two stays; when nobody
// asks any more, neither questions nor writes.
func TestDeletionCostsAreWrittenSeldom(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.change(holding(600, 0), "a")
		w.converged("r1")
		w.pool.Observe(w.weighing("r1"))
		w.after(time.Second, w.weighing("r1"))
		wantPokes(w, "a pod-deletion-cost=512")
		w.changes()

		w.change(holding(1000, 0), "a")
		w.asked()
		w.after(10*time.Minute, w.weighing("r1"))
		wantPokes(w)
		if asked := w.asked(); asked != 2*10 {
			w.Errorf("2 pods were asked %d times in 10 minutes, want once a minute each", asked)
		}
		if told := w.changes(); told != 0 {
			w.Errorf("told %d times although nothing is new", told)
		}

		// It grows and shrinks all the time, and is asked more often for another reason.
		w.change(func(p *process) { p.status["problems"] = []convergence.Problem{{Code: "SecretMissing", Secret: "s"}} }, "a")
		for range 5 {
			w.change(holding(10, 0), "a")
			w.after(30*time.Second, w.weighing("r1"))
			w.change(holding(2000, 0), "a")
			w.after(30*time.Second, w.weighing("r1"))
		}
		if pokes := len(w.poked()); pokes == 0 || pokes > 6 {
			w.Errorf("%d writes in 5 minutes, want at most one a minute", pokes)
		}

		wantWeighed(w, w.pool.Observe(w.target("r1")), false)
		w.change(holding(7, 0))
		w.after(5*time.Minute, w.target("r1"))
		wantPokes(w)
	})
}

// Nobody waits for pods that cannot be weighed: a silent one, and one that the
// API server does not want to be written to.
func TestDeletionCostsAreBestEffort(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(3, "r1")
		w.change(holding(9, 9))
		w.converged("r1")
		w.change(func(p *process) { p.silent = true }, "b")
		w.locked(func() { w.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", nil) })
		w.pool.Observe(w.weighing("r1"))
		wantWeighed(w, w.after(500*time.Millisecond, w.weighing("r1")), false)
		got := w.after(time.Second, w.weighing("r1"))
		wantWeighed(w, got, true)
		want(w, got, convergence.Converged)
		wantPokes(w, "a pod-deletion-cost=16", "c pod-deletion-cost=16")
		w.locked(func() { w.refuse = nil })
		w.after(2*time.Minute, w.weighing("r1"))
		wantPokes(w, "a pod-deletion-cost=16", "c pod-deletion-cost=16")
	})
}

// A pod that comes while some are weighed is weighed, too; what was weighed a
// moment ago counts; an annotation that somebody took away comes back.
func TestDeletionCostsOfOthers(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.change(holding(4, 0))
		w.converged("r1")
		w.pool.Observe(w.weighing("r1"))
		wantWeighed(w, w.after(time.Second, w.weighing("r1")), true)
		wantPokes(w, "a pod-deletion-cost=4")
		w.pool.Observe(w.target("r1"))
		wantWeighed(w, w.pool.Observe(w.weighing("r1")), true)

		w.add(1, "r1")
		wantWeighed(w, w.pool.Observe(w.weighing("r1")), false)
		wantWeighed(w, w.after(time.Second, w.weighing("r1")), true)
		wantPokes(w)

		w.change(func(p *process) { p.pod.Cost = "" }, "a")
		w.after(time.Minute, w.weighing("r1"))
		w.after(time.Minute, w.weighing("r1"))
		wantPokes(w, "a pod-deletion-cost=4")
	})
}
