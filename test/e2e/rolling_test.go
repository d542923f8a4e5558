// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// The runtime under two tags; run.sh builds both. nextVersion is what the second
// says at /status.
const (
	firstImage  = "fairlead.invalid/fairlead-runtime:dev"
	nextImage   = "fairlead.invalid/fairlead-runtime:next"
	nextVersion = "next"
)

// busy is a server whose tool asks the backend; SCALE says how many pods it has.
func busyServer(namespace, scale string) string {
	return strings.NewReplacer("NAMESPACE", namespace, "SCALE", scale).Replace(`
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: busy}
spec:
  auth: {anonymousAccess: Allowed}
  drain: {window: 5s, callTimeout: 10s}
  SCALE
  tools:
  - name: work
    description: Gives the id back after a while.
    inputSchema: {type: object, properties: {id: {type: string}}, required: [id]}
    maxConcurrency: 512
    http: {url: "http://work.NAMESPACE.svc/jobs/{id}"}
`)
}

// TestImageChangeLosesNoCall: pods are replaced twice under load, and no call is
// lost, whichever era it belongs to.
func TestImageChangeLosesNoCall(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	backend := c.backend(t, ns, "400ms")
	c.apply(t, ns, busyServer(ns, "replicas: 3"))
	server := c.ready(t, ns, "busy")
	callers := c.trade(t, ns, "caller", 6, "call", "-server", base(ns, "busy"), "-tool", "work", "-pause", "50ms",
		"-sse", "2", "-streamable", "2", "-stateless", "2")
	for _, image := range []string{nextImage, firstImage} {
		old := c.pods(t, ns, server.Status.Selector)
		c.apply(t, ns, busyServer(ns, "replicas: 3\n  pod: {image: "+image+"}"))
		c.ready(t, ns, "busy")
		eventually(t, "the end of the old pods", func(context.Context) error {
			for _, pod := range c.pods(t, ns, server.Status.Selector) {
				if slices.ContainsFunc(old, func(o corev1.Pod) bool { return o.UID == pod.UID }) {
					return fmt.Errorf("pod %s is still there", pod.Name)
				}
			}
			return nil
		})
	}
	settle(t, callers, &backend)
}

// TestAutoscalingLosesNoCall: replicas become autoscaling and back without a
// change in the number of pods, and measured load takes it up and down without a
// lost call.
func TestAutoscalingLosesNoCall(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	backend := c.backend(t, ns, "40ms")
	c.apply(t, ns, busyServer(ns, "replicas: 3"))
	server := c.ready(t, ns, "busy")

	counts := c.countReplicas(t, ns, "busy-mcp")
	c.apply(t, ns, busyServer(ns, "autoscaling: {minReplicas: 2, maxReplicas: 4, scaleDownStabilization: 1h}"))
	c.ready(t, ns, "busy")
	// While it stabilizes the autoscaler only ever adds: what is fewer is ours.
	c.apply(t, ns, busyServer(ns, "replicas: 3"))
	c.ready(t, ns, "busy")
	c.apply(t, ns, busyServer(ns, "autoscaling: {managedBy: External}"))
	c.ready(t, ns, "busy")
	c.apply(t, ns, busyServer(ns, "replicas: 3"))
	c.ready(t, ns, "busy")
	if seen := counts(); !slices.Equal(seen, []int32{3}) {
		t.Errorf("the Deployment's replicas were %v, want 3 all along", seen)
	}

	c.apply(t, ns, busyServer(ns, "autoscaling: {minReplicas: 2, maxReplicas: 4, scaleDownStabilization: 15s}"))
	c.awaitPods(t, ns, server, 2)
	began := time.Now()
	callers := c.trade(t, ns, "caller", 8, "call", "-server", base(ns, "busy"), "-tool", "work", "-pause", "1ms",
		"-sse", "1", "-streamable", "2", "-stateless", "2")
	c.awaitPods(t, ns, server, 4)
	t.Logf("2 to 4 pods in %s", round(time.Since(began)))
	began = time.Now()
	if err := onEach(callers, func(_ int, pod *corev1.Pod) error { return ask(t.Context(), pod, http.MethodPut, "/pause?to=3s", nil) }); err != nil {
		t.Fatal(err)
	}
	c.awaitPods(t, ns, server, 2)
	t.Logf("4 to 2 pods in %s", round(time.Since(began)))
	settle(t, callers, &backend)
}

// awaitPods waits until a server has exactly so many pods, all of them ready.
func (c *cluster) awaitPods(t *testing.T, namespace string, server *v1alpha1.MCPServer, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d pods", want), func(context.Context) error {
		pods := c.pods(t, namespace, server.Status.Selector)
		ready := 0
		for _, pod := range pods {
			if isReady(&pod) {
				ready++
			}
		}
		if len(pods) != want || ready != want {
			return fmt.Errorf("%d pods, %d ready; %s", len(pods), ready, c.autoscaler(namespace))
		}
		return nil
	})
}

// autoscaler tells what the autoscalers of a namespace think.
func (c *cluster) autoscaler(namespace string) string {
	list, err := c.core.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var text []string
	for _, h := range list.Items {
		for _, condition := range h.Status.Conditions {
			text = append(text, fmt.Sprintf("%s=%s %s", condition.Type, condition.Status, condition.Message))
		}
	}
	return strings.Join(text, "; ")
}

// countReplicas watches how many pods a Deployment is told to have. The function
// ends the watch and returns each number that there was, in ascending order.
func (c *cluster) countReplicas(t *testing.T, namespace, name string) func() []int32 {
	t.Helper()
	var deployment appsv1.Deployment
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &deployment); err != nil {
		t.Fatal(err)
	}
	watching, err := c.core.AppsV1().Deployments(namespace).Watch(t.Context(), metav1.ListOptions{
		FieldSelector: "metadata.name=" + name, ResourceVersion: deployment.ResourceVersion,
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := []int32{*deployment.Spec.Replicas}
	var running sync.WaitGroup
	running.Go(func() {
		for e := range watching.ResultChan() {
			if d, ok := e.Object.(*appsv1.Deployment); ok && e.Type == watch.Modified {
				seen = append(seen, *d.Spec.Replicas)
			}
		}
	})
	return func() []int32 {
		watching.Stop()
		running.Wait()
		slices.Sort(seen)
		return slices.Compact(seen)
	}
}
