// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/e2e/traffic"
)

const (
	fleet = 50
	// paced is the operator's default of --max-concurrent-rollouts, and
	// maxFailures the number of failed roll-outs after which it stops.
	paced       = 5
	maxFailures = 3
)

func tiny(i int) string {
	return fmt.Sprintf(`
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: tiny-%d}
spec:
  auth: {anonymousAccess: Allowed}
  replicas: 1
  drain: {window: 1s, callTimeout: 1s}
  # Two cores are to hold them all.
  pod: {resources: {requests: {cpu: 2m, memory: 16Mi}}}
  tools:
  - name: echo
    description: Gives the id back.
    inputSchema: {type: object, properties: {id: {type: string}}, required: [id]}
    static: {content: [{text: "${arguments.id}"}]}
`, i)
}

// runtimeImage tells the operator which image servers run, and waits until the
// operator that was told otherwise is gone.
func (c *cluster) runtimeImage(t *testing.T, image string) {
	t.Helper()
	const flag = "--runtime-image="
	key := client.ObjectKey{Namespace: systemNamespace, Name: "fairlead-operator"}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var operator appsv1.Deployment
		if err := c.Get(context.WithoutCancel(t.Context()), key, &operator); err != nil {
			return err
		}
		container := &operator.Spec.Template.Spec.Containers[0]
		container.Args = slices.DeleteFunc(container.Args, func(arg string) bool { return strings.HasPrefix(arg, flag) })
		container.Args = append(container.Args, flag+image)
		return c.Update(context.WithoutCancel(t.Context()), &operator)
	})
	if err != nil {
		t.Fatalf("failed to change the operator's image of servers: %v", err)
	}
	awaitOperator(t)
}

// rolling counts the Deployments of a namespace whose pods are being replaced.
func rolling(deployments []appsv1.Deployment) int {
	count := 0
	for _, d := range deployments {
		s := d.Status
		if s.ObservedGeneration != d.Generation || s.Replicas != s.UpdatedReplicas || s.UpdatedReplicas != *d.Spec.Replicas || s.AvailableReplicas < s.UpdatedReplicas {
			count++
		}
	}
	return count
}

// fleetWatch looks at a fleet all the time: how many roll at once, which images
// there are, and whether each server answers.
type fleetWatch struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	most    int  // Deployments that rolled at once
	mixed   bool // whether both images were wanted at the same time
	probes  int
	outages []string
}

func (c *cluster) watchFleet(t *testing.T, namespace string) *fleetWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &fleetWatch{stop: cancel}
	w.running.Go(func() {
		for ctx.Err() == nil {
			list, err := c.core.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
			if err == nil {
				images := map[string]bool{}
				for _, d := range list.Items {
					images[d.Spec.Template.Spec.Containers[0].Image] = true
				}
				w.mu.Lock()
				w.most, w.mixed = max(w.most, rolling(list.Items)), w.mixed || len(images) > 1
				w.mu.Unlock()
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	w.running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprintf("tiny-%d", i%fleet)
			caller := traffic.Caller{Target: traffic.NewTarget(base(namespace, name), ""), Tool: "echo"}
			what, why := caller.Once(ctx, fmt.Sprintf("probe-%d", i))
			if ctx.Err() != nil {
				return
			}
			w.mu.Lock()
			w.probes++
			if what != "answered" && len(w.outages) < 20 {
				w.outages = append(w.outages, fmt.Sprintf("%s at %s: %s: %s", name, time.Now().Format("15:04:05.000"), what, why))
			}
			w.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	t.Cleanup(w.end)
	return w
}

func (w *fleetWatch) end() {
	w.stop()
	w.running.Wait()
}

// take returns the most roll-outs at once since the last take, and whether
// images were mixed.
func (w *fleetWatch) take() (most int, mixed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	most, mixed = w.most, w.mixed
	w.most, w.mixed = 0, false
	return most, mixed
}

// fleetIs waits until every server is Ready and wants the image given.
func (c *cluster) fleetIs(t *testing.T, namespace, image string) {
	t.Helper()
	eventually(t, "a fleet that runs "+image, func(ctx context.Context) error {
		list, err := c.core.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var servers v1alpha1.MCPServerList
		if err := c.List(ctx, &servers, client.InNamespace(namespace)); err != nil {
			return err
		}
		done, ready := 0, 0
		for _, d := range list.Items {
			if d.Spec.Template.Spec.Containers[0].Image == image {
				done++
			}
		}
		for _, s := range servers.Items {
			condition := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
			if condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == s.Generation &&
				meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionUpgradePending) == nil {
				ready++
			}
		}
		if done != fleet || ready != fleet || rolling(list.Items) > 0 {
			return fmt.Errorf("%d of %d want it, %d are Ready and not waiting, %d roll", done, fleet, ready, rolling(list.Items))
		}
		return nil
	})
}

// TestUpgradeIsPaced: another runtime image of the operator reaches fifty
// servers a few at a time, while each of them answers; one that does not start
// stops the wave, and one that does goes on.
func TestUpgradeIsPaced(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	t.Cleanup(func() { c.runtimeImage(t, firstImage) })
	began := time.Now()
	for i := range fleet {
		c.apply(t, ns, tiny(i))
	}
	c.fleetIs(t, ns, firstImage)
	t.Logf("%d servers were Ready in %s", fleet, round(time.Since(began)))

	w := c.watchFleet(t, ns)
	began = time.Now()
	c.runtimeImage(t, nextImage)
	c.fleetIs(t, ns, nextImage)
	most, mixed := w.take()
	t.Logf("the upgrade took %s, at most %d roll-outs at once, images mixed: %t", round(time.Since(began)), most, mixed)
	if most > paced || !mixed {
		t.Errorf("at most %d roll-outs at once and images mixed %t, want at most %d and true", most, mixed, paced)
	}

	began = time.Now()
	c.runtimeImage(t, "fairlead.invalid/fairlead-runtime:missing")
	c.waveStops(t, ns)
	most, _ = w.take()
	t.Logf("the wave of a missing image stopped in %s, at most %d roll-outs at once", round(time.Since(began)), most)
	if most > paced {
		t.Errorf("%d roll-outs at once, want at most %d", most, paced)
	}
	began = time.Now()
	c.runtimeImage(t, nextImage)
	c.fleetIs(t, ns, nextImage)
	t.Logf("mended in %s", round(time.Since(began)))

	w.end()
	t.Logf("%d calls of the fleet, %d went wrong", w.probes, len(w.outages))
	for _, outage := range w.outages {
		t.Errorf("not served: %s", outage)
	}
}

// waveStops waits until the operator says that it starts no more roll-outs, and
// checks that it started no more than it may.
func (c *cluster) waveStops(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "UpgradePending with the reason WaveStopped", func(ctx context.Context) error {
		var servers v1alpha1.MCPServerList
		if err := c.List(ctx, &servers, client.InNamespace(namespace)); err != nil {
			return err
		}
		reasons := map[string]int{}
		for _, s := range servers.Items {
			if condition := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionUpgradePending); condition != nil {
				reasons[condition.Reason]++
			}
		}
		if reasons[v1alpha1.ReasonWaveStopped] < fleet-paced-maxFailures {
			return fmt.Errorf("UpgradePending by reason: %v", reasons)
		}
		return nil
	})
	list, err := c.core.AppsV1().Deployments(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	started := 0
	for _, d := range list.Items {
		if strings.HasSuffix(d.Spec.Template.Spec.Containers[0].Image, ":missing") {
			started++
		}
	}
	t.Logf("%d of %d servers got the missing image", started, fleet)
	if started > paced+maxFailures {
		t.Errorf("%d servers got the missing image, want at most %d", started, paced+maxFailures)
	}
}
