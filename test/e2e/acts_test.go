// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"fairlead.dev/fairlead/test/e2e/record"
)

// act is one thing that is done to the server of a stage.
type act struct {
	name string
	// cuts is how often it may cut one stream.
	cuts int
	do   func()
}

// play does each act once, in an order of the seed's.
func (s *stage) play(round int) {
	acts := [][]act{
		{{"kill", 1, s.kill}},
		{{"delete", 1, s.delete}},
		{{"rollout", 1, s.rollout}},
		// Pods that come cut nothing.
		{{"scale up", 0, func() { s.scale(6) }}, {"scale down", 1, func() { s.scale(2) }}, {"scale back", 0, func() { s.scale(3) }}},
		{{"operator", 0, s.restartOperator}},
	}
	s.random.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	for _, group := range acts {
		for _, a := range group {
			done := record.Act{Name: fmt.Sprintf("%s %d", a.name, round), Began: time.Now(), Cuts: a.cuts}
			a.do()
			s.settled()
			done.Settled = time.Now()
			s.history.Acts = append(s.history.Acts, done)
			s.calm()
		}
	}
}

// calm lets time pass, and waits until every client has been answered again: how
// long that takes differs, since some wait for what a killed pod took along.
func (s *stage) calm() {
	first := len(s.log.Events())
	hold(s.t, calm)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.log.AwaitAnswers(ctx, first, s.clients, 1); err != nil {
		s.t.Errorf("not every client goes on: %v", err)
	}
}

func round2(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// one returns a ready pod of the seed's choice.
func (s *stage) one() *corev1.Pod {
	pods := s.c.pods(s.t, s.ns, s.server.Status.Selector)
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return !isReady(&p) })
	if len(pods) == 0 {
		s.t.Fatal("there is no ready pod")
	}
	return &pods[s.random.IntN(len(pods))]
}

func (s *stage) kill() {
	pod := s.one()
	runtime := processOf(s.t, pod)
	over := s.lives.killed(pod)
	runtime.kill(s.t)
	over()
}

func (s *stage) delete() {
	if err := s.c.Delete(s.t.Context(), s.one()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) rollout() {
	s.rollouts++
	s.apply()
}

func (s *stage) scale(replicas int) {
	s.replicas = replicas
	s.apply()
}

func (s *stage) apply() {
	eventually(s.t, "an accepted change", func(ctx context.Context) error {
		return s.c.tryApply(ctx, s.ns, survivor(s.ns, s.replicas, strconv.Itoa(s.rollouts)))
	})
}

func (s *stage) restartOperator() {
	s.c.killOperator(s.t)
	eventually(s.t, "a new operator", func(ctx context.Context) error {
		_, err := s.c.operatorPod(ctx)
		return err
	})
}

// settled waits until the server is Ready with as many ready pods of its newest
// template as it should have, and no other.
func (s *stage) settled() {
	s.server = s.c.ready(s.t, s.ns, "survivor")
	want := strconv.Itoa(s.rollouts)
	eventually(s.t, fmt.Sprintf("%d pods", s.replicas), func(context.Context) error {
		pods := s.c.pods(s.t, s.ns, s.server.Status.Selector)
		ready := 0
		for _, pod := range pods {
			if isReady(&pod) && pod.Annotations["generation"] == want && !s.lives.ended(&pod) {
				ready++
			}
		}
		if ready != s.replicas || len(pods) != s.replicas {
			return fmt.Errorf("%d pods, %d ready of the newest template", len(pods), ready)
		}
		return nil
	})
}

// lifetimes are those of all containers of a server's pods.
type lifetimes struct {
	mu    sync.Mutex
	known map[string]*record.Life // by pod uid and number of the restart
}

// watch notes when containers begin and end, until the test ends.
func (s *stage) watch() {
	s.lives.known = map[string]*record.Life{}
	list, err := s.c.core.CoreV1().Pods(s.ns).List(s.t.Context(), metav1.ListOptions{LabelSelector: s.server.Status.Selector})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, pod := range list.Items {
		s.lives.see(&pod, false)
	}
	watching, err := s.c.core.CoreV1().Pods(s.ns).Watch(s.t.Context(), metav1.ListOptions{
		LabelSelector: s.server.Status.Selector, ResourceVersion: list.ResourceVersion,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for e := range watching.ResultChan() {
			if pod, ok := e.Object.(*corev1.Pod); ok {
				s.lives.see(pod, e.Type == watch.Deleted)
			}
		}
	})
	s.t.Cleanup(func() {
		watching.Stop()
		running.Wait()
	})
}

func lifeKey(uid types.UID, restarts int32) string { return fmt.Sprintf("%s/%d", uid, restarts) }

// see takes over what a pod says about its container.
func (l *lifetimes) see(pod *corev1.Pod, deleted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name != "runtime" {
			continue
		}
		life := l.life(pod, status.RestartCount)
		if running := status.State.Running; running != nil {
			life.Began = running.StartedAt.Time
		}
		if pod.DeletionTimestamp != nil && life.Left.IsZero() {
			life.Left = time.Now()
		}
		if end := status.State.Terminated; end != nil && life.Ended.IsZero() {
			life.Ended = end.FinishedAt.Time
		}
		if before := status.LastTerminationState.Terminated; before != nil && status.RestartCount > 0 {
			if last := l.life(pod, status.RestartCount-1); last.Ended.IsZero() {
				last.Ended = before.FinishedAt.Time
			}
		}
		if deleted && life.Ended.IsZero() {
			life.Ended = time.Now()
		}
	}
}

// life returns an entry; the lock is held.
func (l *lifetimes) life(pod *corev1.Pod, restarts int32) *record.Life {
	key := lifeKey(pod.UID, restarts)
	if l.known[key] == nil {
		l.known[key] = &record.Life{Pod: fmt.Sprintf("%s/%d", pod.Name, restarts), IP: pod.Status.PodIP}
	}
	if l.known[key].IP == "" {
		l.known[key].IP = pod.Status.PodIP
	}
	return l.known[key]
}

// killed notes that a pod's container is about to be killed, and gives what notes that it
// is dead: it may answer until then, and clients may miss it before.
func (l *lifetimes) killed(pod *corev1.Pod) (over func()) {
	l.see(pod, false)
	l.mu.Lock()
	defer l.mu.Unlock()
	var ends []*record.Life
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == "runtime" {
			life := l.life(pod, status.RestartCount)
			// Some clients note times in whole milliseconds.
			life.Killed = time.Now().Truncate(time.Millisecond)
			life.Ended = life.Killed
			ends = append(ends, life)
		}
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, life := range ends {
			life.Ended = time.Now()
		}
	}
}

// ended says whether a pod tells about a container that is known to have ended.
func (l *lifetimes) ended(pod *corev1.Pod) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, status := range pod.Status.ContainerStatuses {
		if life := l.known[lifeKey(pod.UID, status.RestartCount)]; life != nil && !life.Ended.IsZero() {
			return true
		}
	}
	return false
}

func (l *lifetimes) all() []record.Life {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []record.Life
	for _, life := range l.known {
		all = append(all, *life)
	}
	return all
}
