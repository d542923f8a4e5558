// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/e2e/traffic"
)

// The load of TestChangeReachesEveryStream: 200 SSE streams and 50 Streamable
// sessions of ten pods, so that ClientIP spreads them.
const (
	listeners        = 10
	ssePerPod        = 20
	streamablePerPod = 5
	liveReplicas     = 3
	changes          = 20
	// liveGoal bounds the time from kubectl apply to the last client, p95.
	liveGoal = 2 * time.Second
)

// live is a server whose listing tells its change.
func live(change int) string {
	return fmt.Sprintf(`
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: live}
spec:
  auth: {apiKeys: {secretRef: {name: live-keys}}}
  replicas: %d
  drain: {window: 5s, callTimeout: 5s}
  tools:
  - name: %s%d
    description: Tells which change this is.
    static: {content: [{text: "%d"}]}
  - name: steady
    description: Is in every change.
    static: {content: [{text: steady}]}
`, liveReplicas, traffic.ChangePrefix, change, change)
}

const liveKeys = `
apiVersion: v1
kind: Secret
metadata: {name: live-keys}
stringData: {tester: ` + apiKey + `}
`

// kubectlApply applies a manifest as a person would, and says when it was done.
func kubectlApply(t *testing.T, namespace, manifest string) (took time.Duration) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", "apply", "--namespace", namespace, "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("failed to apply: %v\n%s", err, out)
	}
	return time.Since(began)
}

// spread starts listeners until every replica holds streams of some.
func (c *cluster) spread(t *testing.T, ns string, server *v1alpha1.MCPServer) []corev1.Pod {
	t.Helper()
	for range 5 {
		pods := c.trade(t, ns, "listener", listeners, "listen", "-server", base(ns, "live"), "-key", apiKey,
			"-sse", strconv.Itoa(ssePerPod), "-streamable", strconv.Itoa(streamablePerPod))
		counts, sum := map[string]int{}, 0
		for _, pod := range c.pods(t, ns, server.Status.Selector) {
			r, err := statusOf(t.Context(), &pod)
			if err != nil {
				t.Fatal(err)
			}
			counts[pod.Name] = r.Streams
			sum += r.Streams
		}
		t.Logf("streams by replica: %v", counts)
		if want := listeners * (ssePerPod + streamablePerPod); sum != want {
			t.Fatalf("the replicas count %d streams, want %d", sum, want)
		}
		if len(counts) == liveReplicas && !slices.Contains(slices.Collect(maps.Values(counts)), 0) {
			return pods
		}
		c.dismiss(t, ns, "listener") // By chance nobody came to one replica.
	}
	t.Fatal("no spread over all replicas in five tries")
	return nil
}

// lives tells pods and their restarts apart from others.
func lives(pods []corev1.Pod) []string {
	var all []string
	for _, pod := range pods {
		restarts := int32(0)
		for _, s := range pod.Status.ContainerStatuses {
			restarts += s.RestartCount
		}
		all = append(all, fmt.Sprintf("%s %s %d", pod.Name, pod.UID, restarts))
	}
	slices.Sort(all)
	return all
}

// TestChangeReachesEveryStream is the promise that a tool change drops nothing:
// twenty changes by kubectl apply, the next after the last client heard, while
// 250 streams stay open on three replicas.
func TestChangeReachesEveryStream(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, liveKeys)
	kubectlApply(t, ns, live(0))
	server := c.ready(t, ns, "live")
	clients := c.spread(t, ns, server)
	before := lives(c.pods(t, ns, server.Status.Selector))

	began, applied := make([]time.Time, changes+1), make([]time.Duration, changes+1)
	for n := 1; n <= changes; n++ {
		began[n] = time.Now()
		applied[n] = kubectlApply(t, ns, live(n))
		err := onEach(clients, func(_ int, pod *corev1.Pod) error {
			var got struct{ Heard, Cut int }
			if err := ask(t.Context(), pod, http.MethodGet, fmt.Sprintf("/heard?change=%d&timeout=90s", n), &got); err != nil {
				return err
			}
			if got.Heard != ssePerPod+streamablePerPod || got.Cut > 0 {
				return fmt.Errorf("pod %s: %d of %d streams heard of change %d, %d are cut", pod.Name, got.Heard, ssePerPod+streamablePerPod, n, got.Cut)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	server = c.ready(t, ns, "live")
	if after := lives(c.pods(t, ns, server.Status.Selector)); !slices.Equal(before, after) {
		t.Errorf("pods were restarted or replaced:\nbefore %v\nafter  %v", before, after)
	}
	judge(t, clients, began, applied)
}

// judge prints what was measured and holds it against the goal.
func judge(t *testing.T, clients []corev1.Pod, began []time.Time, applied []time.Duration) {
	t.Helper()
	var all []traffic.Stream
	for _, pod := range clients {
		var streams []traffic.Stream
		if err := ask(t.Context(), &pod, http.MethodGet, "/streams", &streams); err != nil {
			t.Fatal(err)
		}
		all = append(all, streams...)
	}
	stale := 0
	for _, s := range all {
		stale += s.Stale
		if s.Cut != "" || s.Failure != "" || len(s.Heard) != changes+1 {
			t.Errorf("stream %s: %d of %d changes heard; cut %q, failure %q", s.ID, len(s.Heard)-1, changes, s.Cut, s.Failure)
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d streams, %d notifications with nothing new\n%-7s %9s %9s %9s %9s\n", len(all), stale, "change", "kubectl", "first", "last", "listed")
	var lasts []time.Duration
	for n := 1; n < len(began); n++ {
		first, last, listed := time.Hour, time.Duration(0), time.Duration(0)
		for _, s := range all {
			first = min(first, s.Heard[n].Notified.Sub(began[n]))
			last = max(last, s.Heard[n].Notified.Sub(began[n]))
			listed = max(listed, s.Heard[n].Listed.Sub(began[n]))
		}
		lasts = append(lasts, last)
		fmt.Fprintf(&table, "%-7d %9s %9s %9s %9s\n", n, round(applied[n]), round(first), round(last), round(listed))
	}
	slices.Sort(lasts)
	p95 := lasts[len(lasts)*95/100-1]
	fmt.Fprintf(&table, "apply to last client: p50 %s, p95 %s, max %s", round(lasts[len(lasts)/2]), round(p95), round(lasts[len(lasts)-1]))
	t.Log(table.String())
	if p95 > liveGoal {
		t.Errorf("p95 is %s, want at most %s", p95, liveGoal)
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// TestBrokenChangeSurvivesARestart: while a broken change is reported, the old
// tools answer, also from a pod that was killed and restarted meanwhile.
func TestBrokenChangeSurvivesARestart(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, plain("^[a-z]+$", "first"))
	server := c.ready(t, ns, "plain")
	c.call(t, base(ns, "plain"), "first")
	c.apply(t, ns, plain("^[a-z]+$", "second"))
	c.ready(t, ns, "plain")
	c.call(t, base(ns, "plain"), "second")

	if err := c.tryApply(t.Context(), ns, strings.ReplaceAll(plain("a", "third"), "name: answer", "name: not a name")); err == nil {
		t.Error("a structurally wrong change was taken")
	}
	c.apply(t, ns, plain("(", "third"))
	c.server(t, ns, "plain", v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
	pods := c.pods(t, ns, server.Status.Selector)
	if len(pods) != 1 {
		t.Fatalf("got %d pods, want the first one still", len(pods))
	}
	kill(t, &pods[0])
	eventually(t, "a restarted container", func(context.Context) error {
		for _, pod := range c.pods(t, ns, server.Status.Selector) {
			if pod.UID == pods[0].UID && isReady(&pod) && pod.Status.ContainerStatuses[0].RestartCount > 0 {
				return nil
			}
		}
		return fmt.Errorf("pod %s has not restarted", pods[0].Name)
	})
	c.call(t, base(ns, "plain"), "second")
	c.deletePods(t, ns, server)
	c.server(t, ns, "plain", v1alpha1.ConditionAvailable, metav1.ConditionTrue, "")
	c.call(t, base(ns, "plain"), "second")

	c.apply(t, ns, plain("^[a-z]+$", "fourth"))
	c.ready(t, ns, "plain")
	c.call(t, base(ns, "plain"), "fourth")
}

// kill ends the runtime in a pod, as the kernel does when memory is short, and returns
// when it is dead.
func kill(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	processOf(t, pod).kill(t)
}

// process is the runtime in a pod.
type process struct{ pid, fd int }

// processOf finds the runtime in a pod, which takes many milliseconds.
func processOf(t *testing.T, pod *corev1.Pod) process {
	t.Helper()
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var found []process
	for _, file := range groups {
		group, _ := os.ReadFile(file)
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		if !strings.Contains(string(group), string(pod.UID)) || !strings.HasPrefix(string(name), "fairlead-") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("failed to open process %d of pod %s: %v", pid, pod.Name, err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		found = append(found, process{pid, fd})
	}
	if len(found) != 1 {
		t.Fatalf("found %d runtimes in pod %s, want 1", len(found), pod.Name)
	}
	return found[0]
}

// kill kills the process and returns when it is dead.
func (p process) kill(t *testing.T) {
	t.Helper()
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatalf("failed to kill process %d: %v", p.pid, err)
	}
	for until := time.Now().Add(patience); ; {
		// It is readable once no thread is left.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, 1000)
		switch {
		case n > 0:
			return
		case err != nil && !errors.Is(err, unix.EINTR), time.Now().After(until):
			t.Fatalf("process %d does not die: %v", p.pid, err)
		}
	}
}
