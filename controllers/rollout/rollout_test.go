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
// answered: `admit a`, `ailing a` (the same for one that ails), `done a`, `failed
// a`, `recovered a`, and `seed a b`, where `a!` has failed.
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
			said = append(said, fmt.Sprint(name, " ", tracker.Admit(server(name), false).Verdict))
		case "ailing":
			said = append(said, fmt.Sprint(name, " ", tracker.Admit(server(name), true).Verdict))
		case "done":
			tracker.Done(server(name))
		case "failed":
			tracker.Failed(server(name))
		case "recovered":
			tracker.Recovered(server(name))
		case "seed":
			tracker.Seed(begun(name))
		default:
			t.Fatalf("no act %q", act)
		}
	}
	return said
}

// begun reads what was begun: `a b!`, where b has failed.
func begun(script string) (found []rollout.Begun) {
	for name := range strings.FieldsSeq(script) {
		name, failed := strings.CutSuffix(name, "!")
		found = append(found, rollout.Begun{Server: server(name), Failed: failed})
	}
	return found
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
			script: "seed a b\nadmit a\nadmit c\ndone a\nadmit c\ndone b\nadmit c",
			want:   []string{"a Start", "c Queued", "c Queued", "tell c", "c Start"},
		},
		{
			name: "what failed before a restart stops it", limit: 5, failures: 2,
			script: "seed a! b!\nadmit c\nadmit a\nrecovered a\nadmit c",
			want:   []string{"c Stopped", "a Start", "tell c", "c Start"},
		},
		{
			name: "what is known already is not begun again", limit: 2, failures: 2,
			script: "admit a\nadmit b\nadmit c\nfailed a\nfailed b\nseed a b! d\nadmit c\ndone d\nrecovered a\nadmit c",
			want:   []string{"a Start", "b Start", "c Queued", "tell c", "c Stopped", "tell c", "c Queued"},
		},
		{
			name: "who ailed before comes last, and does not count", limit: 2, failures: 2,
			script: "ailing a\nadmit b\nailing c\nadmit d\nadmit e\nfailed a\ndone b\ndone d\nfailed c\nfailed e\nadmit f\nadmit a",
			want:   []string{"a Start", "b Start", "c Queued", "d Queued", "e Queued", "tell d", "tell e", "tell c", "f Start", "a Queued"},
		},
		{
			name: "who is well again by its turn counts", limit: 1, failures: 1,
			script: "admit a\nailing b\nadmit b\nadmit c\ndone a\nfailed b\nadmit c",
			want:   []string{"a Start", "b Queued", "b Queued", "c Queued", "tell b", "tell c", "c Stopped"},
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
		tracker.Admit(server(name), false)
	}
	queued := tracker.Admit(server("z"), false).Message
	if want := "at most 4 servers roll out at once (--max-concurrent-rollouts)"; !strings.Contains(queued, want) {
		t.Errorf("%q does not say %q", queued, want)
	}
	tracker.Admit(server("y"), false)
	tracker.Failed(server("a"))
	if got := tracker.Admit(server("z"), false).Message; got != queued {
		t.Errorf("the message became %q", got)
	}
	tracker.Failed(server("b"))
	stopped := tracker.Admit(server("z"), false).Message
	if want := "2 roll-outs"; !strings.Contains(stopped, want) {
		t.Errorf("%q does not say %q", stopped, want)
	}
	// Whoever reads the message may not be one who may know of other teams' servers.
	if strings.Contains(stopped, "shop") {
		t.Errorf("%q names a server", stopped)
	}
	tracker.Failed(server("c"))
	if got := tracker.Admit(server("z"), false).Message; got != stopped {
		t.Errorf("the message became %q", got)
	}
	if got := tracker.Admit(server("a"), false); got != (rollout.Decision{Verdict: rollout.Start}) {
		t.Errorf("a failed roll-out was taken back: %v", got)
	}
}

// News is a failure that nobody knew of: it is logged once.
func TestFailedIsNewsOnce(t *testing.T) {
	t.Parallel()
	tracker := rollout.New(2, 2, func(types.NamespacedName) {})
	tracker.Admit(server("a"), false)
	tracker.Admit(server("b"), true)
	if !tracker.Counts(server("a")) || tracker.Counts(server("b")) {
		t.Error("a must count, and b, which ailed before, must not")
	}
	var news []bool
	for _, name := range []string{"a", "a", "b", "x"} {
		news = append(news, tracker.Failed(server(name)))
	}
	if diff := cmp.Diff([]bool{true, false, false, false}, news); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
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
				if tracker.Admit(s, false).Verdict != rollout.Start {
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
