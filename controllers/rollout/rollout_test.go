// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controllers/rollout"
)

func server(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

// play runs a script of one act a line against a tracker and returns what it
// answered: `admit a`, `done a`, `failed a`, `recovered a`, `seed a`, and
// `seed-failed a`.
func play(t *testing.T, limit, failures int, script string) []string {
	t.Helper()
	var said []string
	tracker := rollout.New(limit, failures, func(s types.NamespacedName) { said = append(said, "tell "+s.Name) })
	for line := range strings.Lines(script) {
		act, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		switch act {
		case "admit":
			said = append(said, fmt.Sprint(name, " ", tracker.Admit(server(name)).Verdict))
		case "done":
			tracker.Done(server(name))
		case "failed":
			tracker.Failed(server(name), "no image")
		case "recovered":
			tracker.Recovered(server(name))
		case "seed":
			tracker.Seed(server(name), "")
		case "seed-failed":
			tracker.Seed(server(name), "no image")
		default:
			t.Fatalf("no act %q", act)
		}
	}
	return said
}

func TestTracker(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		limit, failures int
		script          string
		want            []string
	}{
		{
			name: "the first in line, by name, gets the place that is free", limit: 1, failures: 3,
			script: "admit b\nadmit d\nadmit c\nadmit b\ndone b\nadmit d\nadmit c\ndone c\nadmit d",
			want:   []string{"b Start", "d Queued", "c Queued", "b Start", "tell c", "d Queued", "c Start", "tell d", "d Start"},
		},
		{
			name: "a place is kept for the one who was told", limit: 1, failures: 3,
			script: "admit a\nadmit c\ndone a\nadmit b\nadmit c",
			want:   []string{"a Start", "c Queued", "tell c", "b Queued", "c Start"},
		},
		{
			name: "one who needs no place any more gives it on", limit: 1, failures: 3,
			script: "admit a\nadmit b\nadmit c\ndone a\ndone b\nadmit c",
			want:   []string{"a Start", "b Queued", "c Queued", "tell b", "tell c", "c Start"},
		},
		{
			name: "done for who never came, and for who waits", limit: 1, failures: 3,
			script: "done x\nadmit a\nadmit b\ndone b\ndone a\nadmit c",
			want:   []string{"a Start", "b Queued", "c Start"},
		},
		{
			name: "failures hold their places and then stop the wave", limit: 3, failures: 2,
			script: "admit a\nadmit b\nadmit c\nadmit d\nfailed a\nadmit a\ndone b\nadmit d\nadmit e\nfailed c\nadmit e\nadmit f\ndone d\nadmit e",
			want: []string{
				"a Start", "b Start", "c Start", "d Queued", "a Start", "tell d", "d Start", "e Queued",
				"tell e", "e Stopped", "f Stopped", "e Stopped",
			},
		},
		{
			name: "the wave goes on when one has recovered", limit: 2, failures: 2,
			script: "admit a\nadmit b\nadmit c\nfailed a\nfailed b\nadmit c\nrecovered b\nadmit c\ndone b\nadmit c",
			want:   []string{"a Start", "b Start", "c Queued", "tell c", "c Stopped", "tell c", "c Queued", "tell c", "c Start"},
		},
		{
			name: "and told once when that gives a place too", limit: 1, failures: 3,
			script: "admit a\nadmit b\nadmit c\nfailed a\nadmit b\ndone a\nadmit c\nadmit b",
			want:   []string{"a Start", "b Queued", "c Queued", "tell b", "tell c", "b Stopped", "tell b", "tell c", "c Queued", "b Start"},
		},
		{
			name: "no failure of one who was not let through", limit: 1, failures: 1,
			script: "failed x\nrecovered x\nadmit a\nadmit b\nfailed b\nadmit b",
			want:   []string{"a Start", "b Queued", "b Queued"},
		},
		{
			name: "what a predecessor began counts, even above the limit", limit: 1, failures: 3,
			script: "seed a\nseed b\nadmit a\nadmit c\ndone a\nadmit c\ndone b\nadmit c",
			want:   []string{"a Start", "c Queued", "c Queued", "tell c", "c Start"},
		},
		{
			name: "what failed before a restart stops it", limit: 5, failures: 2,
			script: "seed-failed a\nseed-failed b\nadmit c\nadmit a\nseed a\nadmit c",
			want:   []string{"c Stopped", "a Start", "tell c", "c Start"},
		},
		{
			name: "limits of zero mean one", limit: 0, failures: 0,
			script: "admit a\nadmit b\nfailed a\nadmit b",
			want:   []string{"a Start", "b Queued", "tell b", "b Stopped"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, play(t, tt.limit, tt.failures, tt.script)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The messages of all that wait must stay as they are while others advance, or a
// queue of a thousand would cost a million status writes.
func TestMessages(t *testing.T) {
	t.Parallel()
	tracker := rollout.New(4, 2, func(types.NamespacedName) {})
	for _, name := range []string{"a", "b", "c", "d"} {
		tracker.Admit(server(name))
	}
	queued := tracker.Admit(server("z")).Message
	if want := "at most 4 servers roll out at once (--max-concurrent-rollouts)"; !strings.Contains(queued, want) {
		t.Errorf("%q does not say %q", queued, want)
	}
	tracker.Admit(server("y"))
	tracker.Failed(server("a"), "ImagePullBackOff")
	if got := tracker.Admit(server("z")).Message; got != queued {
		t.Errorf("the message became %q", got)
	}
	tracker.Failed(server("b"), "CrashLoopBackOff")
	stopped := tracker.Admit(server("z")).Message
	if want := "shop/a (ImagePullBackOff), shop/b (CrashLoopBackOff)"; !strings.Contains(stopped, want) {
		t.Errorf("%q does not say %q", stopped, want)
	}
	tracker.Failed(server("c"), "CrashLoopBackOff")
	if got := tracker.Admit(server("z")).Message; got != stopped {
		t.Errorf("the message became %q", got)
	}
	if got := tracker.Admit(server("a")); got != (rollout.Decision{Verdict: rollout.Start}) {
		t.Errorf("a failed roll-out was taken back: %v", got)
	}
}

// A wave of many servers, worked on at once: never more than the limit roll out,
// and all of them do.
func TestWave(t *testing.T) {
	t.Parallel()
	const fleet, limit = 100, 5
	queue := make(chan types.NamespacedName, 10*fleet)
	tracker := rollout.New(limit, 3, func(s types.NamespacedName) { queue <- s })
	for i := range fleet {
		queue <- server(fmt.Sprint("s", i))
	}
	var mu sync.Mutex
	rolling, done, most := map[string]bool{}, 0, 0
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for s := range queue {
				if tracker.Admit(s).Verdict != rollout.Start {
					continue
				}
				mu.Lock()
				rolling[s.Name] = true
				most = max(most, len(rolling))
				mu.Unlock()
				runtime.Gosched() // Others may begin meanwhile.
				mu.Lock()
				delete(rolling, s.Name)
				done++
				last := done == fleet
				mu.Unlock()
				tracker.Done(s)
				if last {
					close(queue)
				}
			}
		})
	}
	workers.Wait()
	if done != fleet || most > limit || most < 2 {
		t.Errorf("%d of %d rolled out, %d at once, want 2 to %d", done, fleet, most, limit)
	}
}
