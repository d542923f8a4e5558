// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/controllers/convergence"
)

// inBubble runs a story in virtual time.
func inBubble(t *testing.T, story func(*world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { story(newWorld(t)) })
}

func want(w *world, got convergence.Report, state convergence.State, lagging ...string) {
	w.Helper()
	if got.State != state || !slices.Equal(got.Lagging, lagging) {
		w.Errorf("got %s, lagging %v (%s), want %s, lagging %v", got.State, got.Lagging, got.Message, state, lagging)
	}
}

// wantPokes checks all pokes since the last look.
func wantPokes(w *world, pokes ...string) {
	w.Helper()
	if diff := cmp.Diff(pokes, w.poked()); diff != "" {
		w.Errorf("pokes, -want +got:\n%s", diff)
	}
}

// Pods that began with the revision are asked once and then left alone.
func TestAtRest(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(3, "r1")
		target := w.target("r1")
		want(w, w.pool.Observe(target), convergence.Pending)
		got := w.after(50*time.Millisecond, target)
		want(w, got, convergence.Converged)
		if got.Message != "" || got.Revision != "r1" || !slices.Equal(got.KeyIDs, []string{"k1", "k2"}) {
			w.Errorf("got %+v", got)
		}
		if asked := w.asked(); asked != 3 {
			w.Errorf("3 pods were asked %d times", asked)
		}
		if told := w.changes(); told != 1 {
			w.Errorf("told %d times, want once", told)
		}
		time.Sleep(2 * time.Hour) //nolint:forbidigo // The bubble's time.
		synctest.Wait()
		if asked := w.asked(); asked < 3*10 || asked > 3*15 {
			w.Errorf("asked %d times in 2 hours, want one sweep in 10 minutes, give or take a fifth", asked)
		}
		if told := w.changes(); told != 0 {
			w.Errorf("told %d times at rest", told)
		}
		wantPokes(w)
	})
}

// A live edit: pods are poked at once, without a question before.
func TestLiveEdit(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(3, "r1")
		w.converged("r1")
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r2"} })
		target := w.target("r2")
		want(w, w.pool.Observe(target), convergence.Lagging, "a", "b", "c")
		synctest.Wait()
		wantPokes(w, "a config-revision=r2-1", "b config-revision=r2-1", "c config-revision=r2-1")
		want(w, w.after(200*time.Millisecond, target), convergence.Lagging, "a", "b", "c")
		want(w, w.after(300*time.Millisecond, target), convergence.Converged)
		wantPokes(w)
		if told := w.changes(); told != 1 {
			w.Errorf("told %d times, want once", told)
		}
	})
}

// The poke may overtake the change on its way to the kubelet, which then mounts
// what it had.
func TestPokeThatComesTooEarly(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.converged("r1")
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r2"} })
		w.change(func(p *process) { p.deaf = 1 }, "b")
		target := w.target("r2")
		w.pool.Observe(target)
		want(w, w.after(300*time.Millisecond, target), convergence.Lagging, "b")
		wantPokes(w, "a config-revision=r2-1", "b config-revision=r2-1", "b config-revision=r2-2")
		want(w, w.after(300*time.Millisecond, target), convergence.Converged)
		wantPokes(w)
	})
}

// A pod that never follows is poked less and less, and asked every 30 s.
func TestPodThatNeverFollows(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.converged("r1")
		target := w.target("r2")
		w.pool.Observe(target)
		got := w.after(time.Hour, target)
		want(w, got, convergence.Lagging, "a")
		if want := "1 of 1 pod does not hold revision r2 and its session keys yet: a"; got.Message != want {
			w.Errorf("message %q, want %q", got.Message, want)
		}
		if pokes := len(w.poked()); pokes < 60 || pokes > 70 {
			w.Errorf("%d pokes in an hour, want about one a minute", pokes)
		}
		if told := w.changes(); told != 0 {
			w.Errorf("told %d times although nothing changed", told)
		}
		w.asked()
		w.after(time.Hour, target)
		if asked := w.asked(); asked > 60*4 {
			w.Errorf("asked %d times in an hour", asked)
		}
	})
}

// The keys of a server change: the revision stays, the pods are poked.
func TestKeys(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.change(func(p *process) { p.pod.Poked = "r1-4" })
		w.converged("r1")
		w.change(func(p *process) { p.mounted = map[string]any{"keyIDs": []string{"k2", "k3", "k1"}} }, "a")
		target := w.target("r1")
		target.KeyIDs = []string{"k2", "k3", "k1"}
		w.pool.Observe(target)
		got := w.after(500*time.Millisecond, target)
		want(w, got, convergence.Lagging, "b")
		wantPokes(w, "a config-revision=r1-5", "b config-revision=r1-5", "b config-revision=r1-6")
		if !slices.Equal(got.KeyIDs, []string{"k2", "k1"}) {
			w.Errorf("held by all: %v", got.KeyIDs)
		}
		w.change(func(p *process) { p.mounted = map[string]any{"keyIDs": []string{"k2", "k3", "k1"}} }, "b")
		got = w.after(2*time.Second, target)
		want(w, got, convergence.Converged)
		if !slices.Equal(got.KeyIDs, target.KeyIDs) {
			w.Errorf("held by all: %v", got.KeyIDs)
		}
	})
}

// A runtime that tells of no keys has none to wait for; one that tells of an
// empty list has.
func TestRuntimeWithoutKeys(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.change(func(p *process) { delete(p.status, "keyIDs") }, "a")
		w.change(func(p *process) { p.status["keyIDs"] = []string{} }, "b")
		target := w.target("r1")
		w.pool.Observe(target)
		want(w, w.after(time.Second, target), convergence.Lagging, "b")
	})
}

// A refresh touches every pod once; pods that start later have new Secrets.
func TestRefresh(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.change(func(p *process) {
			p.status["problems"] = []map[string]string{{"code": "SecretMissing", "secret": "orders-api", "key": "token", "message": "the key is missing"}}
			p.mounted = map[string]any{"problems": nil}
		}, "a")
		w.converged("r1")
		target := w.target("r1")
		target.Refresh = "2026-11-21T14:00:00Z"
		if got := w.pool.Observe(target); got.Refreshed != "" || len(got.Problems) != 1 {
			w.Errorf("before: %+v", got)
		}
		got := w.after(1100*time.Millisecond, target)
		want(w, got, convergence.Converged)
		if got.Refreshed != target.Refresh || len(got.Problems) > 0 {
			w.Errorf("after: %+v", got)
		}
		wantPokes(w, "a config-revision=r1-1 refreshed-at=2026-11-21T14:00:00Z", "b config-revision=r1-1 refreshed-at=2026-11-21T14:00:00Z")
		w.add(1, "r1")
		target = w.target("r1")
		target.Refresh = "2026-11-21T14:00:00Z"
		w.pool.Observe(target)
		if got := w.after(time.Second, target); got.State != convergence.Converged || got.Refreshed != target.Refresh {
			w.Errorf("with a third pod: %+v", got)
		}
		wantPokes(w)
	})
}

func TestProblems(t *testing.T) {
	inBubble(t, func(w *world) {
		problem := func(secret string) map[string]string {
			return map[string]string{"code": "SecretMissing", "secret": secret, "key": "token", "message": "the key is missing\nall of it"}
		}
		w.add(2, "r1")
		w.change(func(p *process) { p.status["problems"] = []any{problem("b"), problem("a")} }, "a")
		w.change(func(p *process) { p.status["problems"] = []any{problem("a")} }, "b")
		w.converged("r1")
		got := w.pool.Observe(w.target("r1"))
		message := "the key is missing all of it"
		if diff := cmp.Diff([]convergence.Problem{
			{Code: "SecretMissing", Secret: "a", Key: "token", Message: message},
			{Code: "SecretMissing", Secret: "b", Key: "token", Message: message},
		}, got.Problems); diff != "" {
			w.Errorf("-want +got:\n%s", diff)
		}
		w.change(func(p *process) { p.status["problems"] = []any{} })
		if got := w.after(30*time.Second, w.target("r1")); len(got.Problems) > 0 {
			w.Errorf("half a minute after they were mended: %v", got.Problems)
		}
		if told := w.changes(); told < 1 || told > 2 {
			w.Errorf("told %d times", told)
		}
	})
}

// A pod that cannot serve a revision says why, but what it says right after a
// change may be about the revision before.
func TestRefusal(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.converged("r1")
		w.change(func(p *process) { p.mounted = map[string]any{"configError": "tools[0]:\nis bad"} }, "b")
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r2"} }, "a")
		target := w.target("r2")
		w.pool.Observe(target)
		got := w.after(2*time.Second, target)
		want(w, got, convergence.Refused, "b")
		if !strings.Contains(got.Message, `1 of 2 pods refuses revision r2 and serve another; pod "b" says: tools[0]: is bad: mend`) {
			w.Errorf("message %q", got.Message)
		}
		wantPokes(w, "a config-revision=r2-1", "b config-revision=r2-1", "b config-revision=r2-2", "b config-revision=r2-3")
		// The mended one: until it is mounted, the pod tells the old error.
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r3", "configError": ""} })
		w.change(func(p *process) { p.deaf = 1 }, "b")
		w.changes()
		target = w.target("r3")
		if got := w.pool.Observe(target); got.State == convergence.Refused {
			w.Errorf("refused before it was tried: %s", got.Message)
		}
		for range 20 {
			if got = w.after(100*time.Millisecond, target); got.State == convergence.Refused {
				w.Errorf("refused for the error of another revision: %s", got.Message)
			}
		}
		want(w, got, convergence.Converged)
	})
}

// After a restart of the operator nothing is written: pods that serve, and pods
// that were found to refuse, are only asked.
func TestRestart(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.change(func(p *process) { p.pod.Poked = "r1-3" })
		w.change(func(p *process) { p.status["revision"], p.status["configError"] = "r0", "is bad" }, "b")
		target := w.target("r1")
		want(w, w.pool.Observe(target), convergence.Pending)
		want(w, w.after(time.Second, target), convergence.Refused, "b")
		w.after(4*time.Minute, target)
		wantPokes(w)
	})
}

func TestUnreachable(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(*process)
		want string
	}{
		{name: "silent", make: func(p *process) { p.silent = true }, want: "a (no answer within 1s): let the operator's namespace reach port 8081"},
		{name: "closed", make: func(p *process) { p.closed = true }, want: "a (connection refused)"},
		{name: "somebody else", make: func(p *process) { p.status = map[string]any{"revision": 7} }, want: "a (an answer that is no status)"},
		{name: "without an address", make: func(p *process) { p.pod.IP = "" }, want: "a (no usable address)"},
		{name: "on loopback", make: func(p *process) { p.pod.IP = "127.0.0.1" }, want: "a (no usable address)"},
		{name: "metadata", make: func(p *process) { p.pod.IP = "169.254.169.254" }, want: "a (no usable address)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.add(2, "r1")
				w.change(tt.make, "a")
				target := w.target("r1")
				want(w, w.pool.Observe(target), convergence.Pending)
				want(w, w.after(1500*time.Millisecond, target), convergence.Pending)
				got := w.after(10*time.Second, target)
				want(w, got, convergence.Unreachable)
				if !strings.Contains(got.Message, tt.want) {
					w.Errorf("message %q, want %q in it", got.Message, tt.want)
				}
				if got.KeyIDs != nil {
					w.Errorf("keys %v are held by one that was never heard", got.KeyIDs)
				}
				w.after(time.Hour, target)
				wantPokes(w, "a config-revision=r1-1") // So that the change reaches it anyway.
			})
		})
	}
}

// Once converged, a few lost answers are no news.
func TestShortSilence(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.converged("r1")
		w.change(func(p *process) { p.closed = true })
		target := w.target("r1")
		time.Sleep(13 * time.Minute) //nolint:forbidigo // The bubble's time: a sweep has failed.
		want(w, w.pool.Observe(target), convergence.Unreachable)
		w.change(func(p *process) { p.closed = false })
		w.changes()
		want(w, w.after(2*time.Minute, target), convergence.Converged)
		if told := w.changes(); told != 1 {
			w.Errorf("told %d times", told)
		}
	})
}

// A pod that begins during the life of a server is asked, not poked.
func TestPodsComeAndGo(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.converged("r1")
		w.add(1, "r1")
		want(w, w.pool.Observe(w.target("r1")), convergence.Pending)
		want(w, w.after(100*time.Millisecond, w.target("r1")), convergence.Converged)
		target := w.target("r1")
		target.Pods = nil
		got := w.pool.Observe(target)
		want(w, got, convergence.NoPods)
		if got.KeyIDs != nil {
			w.Errorf("nobody holds %v", got.KeyIDs)
		}
		w.asked()
		w.after(time.Hour, target)
		w.pool.Observe(w.target("r1"))
		w.pool.Forget(orders)
		w.pool.Forget(orders)
		w.after(time.Hour, convergence.Target{Server: types.NamespacedName{Name: "other"}})
		if asked := w.asked(); asked > 2 {
			w.Errorf("%d questions to pods that left", asked)
		}
		wantPokes(w)
	})
}

// Many pods lag: the list is short, and following them costs few writes.
func TestManyPodsLag(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(30, "r1")
		w.converged("r1")
		i := 0
		w.change(func(p *process) {
			p.mounted = map[string]any{"revision": "r2"}
			i++
			if i%2 == 0 {
				p.deaf = i % 5
			}
		})
		target := w.target("r2")
		got := w.pool.Observe(target)
		want(w, got, convergence.Lagging, "a", "ax", "b", "bx", "c", "cx", "d", "dx", "e", "f")
		if !strings.Contains(got.Message, "30 of 30 pods do not hold revision r2 and its session keys yet: a, ax, b and 27 more") {
			w.Errorf("message %q", got.Message)
		}
		time.Sleep(40 * time.Second) //nolint:forbidigo // The bubble's time.
		synctest.Wait()
		want(w, w.pool.Observe(target), convergence.Converged)
		if told := w.changes(); told > 8 {
			w.Errorf("told %d times while 30 pods followed", told)
		}
	})
}

// However many pods are silent, the number of requests is bounded, and others
// are served meanwhile.
func TestBound(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(500, "r1")
		w.change(func(p *process) { p.silent = true })
		w.pool.Observe(w.target("r1"))
		w.after(30*time.Second, convergence.Target{Server: types.NamespacedName{Name: "other"}})
		// A handler notes a moment later than the pool that its client has given up,
		// and on a busy machine the next has begun by then. Without a bound it is 500.
		if w.most < 200 || w.most > 400 {
			w.Errorf("%d requests at once, want 200", w.most)
		}
		w.locked(func() { w.processes = map[string]*process{} })
		w.add(1, "r9")
		target := w.target("r9")
		target.Server = types.NamespacedName{Namespace: "shop", Name: "second"}
		target.Pods[0].IP = "10.244.9.9"
		w.change(func(p *process) { p.pod.IP = "10.244.9.9" })
		w.pool.Observe(target)
		want(w, w.after(5*time.Second, target), convergence.Converged)
	})
}

// An edit that is taken back at once: the pod still serves what it should, and
// will serve what it was poked for before.
func TestEditThatIsTakenBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.change(func(p *process) { p.pod.Poked = "r1-4" })
		w.converged("r1")
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r2"} })
		back := w.target("r1") // The cache is late, too.
		w.pool.Observe(w.target("r2"))
		synctest.Wait()
		want(w, w.pool.Observe(back), convergence.Pending)
		want(w, w.after(50*time.Millisecond, back), convergence.Pending)
		// The second poke overtakes the edit, too.
		got := w.after(320*time.Millisecond, back)
		want(w, got, convergence.Lagging, "a")
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r1"} })
		want(w, w.after(2*time.Second, back), convergence.Converged)
		want(w, w.after(5*time.Minute, back), convergence.Converged)
		w.change(func(p *process) {
			if p.status["revision"] != "r1" {
				w.Errorf("it serves %v", p.status["revision"])
			}
		})
		w.poked()
		w.asked()
		w.after(5*time.Minute, back)
		wantPokes(w)
		if asked := w.asked(); asked > 1 {
			w.Errorf("asked %d times at rest", asked)
		}
	})
}

// An edit that is taken back before any pod was touched: a second of doubt, and
// one poke.
func TestEditThatNobodyGot(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.converged("r1")
		w.pool.Observe(w.target("r2"))
		back := w.target("r1")
		want(w, w.pool.Observe(back), convergence.Pending)
		want(w, w.after(900*time.Millisecond, back), convergence.Pending)
		want(w, w.after(150*time.Millisecond, back), convergence.Converged)
		wantPokes(w, "a config-revision=r1-1")
		if asked := w.asked(); asked > 11 {
			w.Errorf("asked %d times in a second", asked)
		}
	})
}

// An operator that begins anew finds a pod that was poked for something else.
func TestRestartInTheMiddle(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("no right"))
	for _, tt := range []struct {
		name string
		err  error
		wait time.Duration
	}{
		{name: "poked", wait: 1100 * time.Millisecond},
		{name: "not to be poked", err: forbidden, wait: 2*time.Minute + 15*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.add(1, "r1")
				w.change(func(p *process) { p.pod.Poked = "r2-1" })
				w.locked(func() { w.refuse = tt.err })
				target := w.target("r1")
				want(w, w.pool.Observe(target), convergence.Pending)
				want(w, w.after(tt.wait/2, target), convergence.Pending)
				want(w, w.after(tt.wait/2, target), convergence.Converged)
				wantPokes(w, "a config-revision=r1-1")
				if asked := w.asked(); asked > 30 {
					w.Errorf("asked %d times", asked)
				}
			})
		})
	}
}

// Whom the API server does not know is tried again while the target names it.
func TestPodThatComesBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(1, "r1")
		w.converged("r1")
		w.change(func(p *process) { p.mounted = map[string]any{"revision": "r2"} })
		w.locked(func() { w.refuse = errGone })
		target := w.target("r2")
		w.pool.Observe(target)
		want(w, w.after(time.Minute, target), convergence.NoPods)
		w.locked(func() { w.refuse = nil })
		want(w, w.after(time.Minute+time.Second, target), convergence.Converged)
		wantPokes(w, "a config-revision=r2-1", "a config-revision=r2-1")
	})
}

// A refresh of pods that may not be poked ends when the kubelet has come by itself.
func TestRefreshWithoutPokes(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(2, "r1")
		w.converged("r1")
		w.locked(func() {
			w.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New("no right"))
		})
		target := w.target("r1")
		target.Refresh = "2026-11-21T14:00:00Z"
		w.pool.Observe(target)
		if got := w.after(110*time.Second, target); got.State != convergence.Converged || got.Refreshed != "" || !got.Slow {
			w.Errorf("before the kubelet's period is over: %+v", got)
		}
		if got := w.after(20*time.Second, target); got.State != convergence.Converged || got.Refreshed != target.Refresh || got.Slow {
			w.Errorf("after it: %+v", got)
		}
		w.poked()
		w.asked()
		w.after(time.Hour, target)
		wantPokes(w)
		if asked := w.asked(); asked > 2*8 {
			w.Errorf("2 pods were asked %d times in an hour", asked)
		}
	})
}

// What fails in another way each time is told once: it is a write each time.
func TestChangingFailures(t *testing.T) {
	inBubble(t, func(w *world) {
		w.add(30, "r1")
		w.change(func(p *process) { p.closed = true })
		target := w.target("r1")
		w.pool.Observe(target)
		want(w, w.after(10*time.Second, target), convergence.Unreachable)
		if told := w.changes(); told > 3 {
			w.Errorf("told %d times while 30 pods fell silent", told)
		}
		for i := range 20 {
			w.change(func(p *process) { p.closed, p.silent = i%2 == 0, i%2 == 1 })
			w.after(2*time.Minute, target)
		}
		if told := w.changes(); told != 0 {
			w.Errorf("told %d times although nobody answers", told)
		}
	})
}

// What the API server may answer to a poke.
func TestAnswersToPokes(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	invalid := func(path string) error {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "a", field.ErrorList{field.Invalid(field.NewPath(path), "x", "is wrong")})
	}
	for _, tt := range []struct {
		name  string
		err   error
		state convergence.State
		slow  bool
		pokes int
	}{
		{name: "forbidden", err: apierrors.NewForbidden(pods, "a", errors.New("no right")), state: convergence.Lagging, slow: true, pokes: 2},
		{name: "invalid", err: invalid("spec"), state: convergence.Lagging, slow: true, pokes: 2},
		{name: "a webhook is away", err: apierrors.NewInternalError(errors.New(`failed calling webhook "x"`)), state: convergence.Lagging, slow: true, pokes: 2},
		{name: "gone", err: errGone, state: convergence.NoPods, pokes: 1},
		{name: "another pod of that name", err: apierrors.NewConflict(pods, "a", errors.New("Precondition failed: UID")), state: convergence.NoPods, pokes: 1},
		{name: "another uid", err: invalid("metadata.uid"), state: convergence.NoPods, pokes: 1},
		{name: "a lost race with the kubelet", err: apierrors.NewConflict(pods, "a", errors.New("the object has been modified; please apply your changes to the latest version and try again")), state: convergence.Lagging, pokes: 12},
		{name: "overload", err: apierrors.NewTooManyRequests("later", 1), state: convergence.Lagging, pokes: 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.add(1, "r1")
				w.converged("r1")
				w.locked(func() { w.refuse = tt.err })
				target := w.target("r2")
				w.pool.Observe(target)
				got := w.after(6*time.Minute, target)
				if got.State != tt.state || got.Slow != tt.slow || strings.Contains(got.Message, "let the operator patch pods/status") != tt.slow {
					w.Errorf("got %s, slow %v: %s", got.State, got.Slow, got.Message)
				}
				if pokes := len(w.poked()); pokes < tt.pokes || pokes > tt.pokes+3 {
					w.Errorf("%d pokes in six minutes, want %d", pokes, tt.pokes)
				}
				// The kubelet comes by itself after its period.
				w.change(func(p *process) { p.status["revision"] = "r2" })
				if got := w.after(20*time.Second, target); tt.state != convergence.NoPods && (got.State != convergence.Converged || got.Slow) {
					w.Errorf("got %s, slow %v", got.State, got.Slow)
				}
			})
		})
	}
}

// A dial ends with its question: to a silent pod the kernel would try for minutes.
func TestDialsEndWithTheirQuestions(t *testing.T) {
	inBubble(t, func(w *world) {
		var now, most atomic.Int64
		pool := convergence.New(convergence.Options{
			Poker: w, Logger: slog.New(slog.DiscardHandler), Changed: func(types.NamespacedName) {},
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		ctx, stop := context.WithCancel(w.Context())
		ended := make(chan error, 1)
		go func() { ended <- pool.Start(ctx) }()
		w.add(500, "r1")
		pool.Observe(w.target("r1"))
		time.Sleep(10 * time.Minute) //nolint:forbidigo // The bubble's time.
		stop()
		if err := <-ended; err != nil {
			w.Error(err)
		}
		if most.Load() > 2*200 || now.Load() > 200 {
			w.Errorf("at most %d dials at once, %d in the end, want one for each of 200 questions", most.Load(), now.Load())
		}
		time.Sleep(time.Minute) //nolint:forbidigo // The bubble's time.
	})
}
