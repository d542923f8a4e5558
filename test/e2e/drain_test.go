// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/clients"
)

// slow is a backend that streams for longer than a pod settles, and a tool that
// calls it.
const slow = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: tracker}
spec:
  selector: {matchLabels: {app: tracker}}
  template:
    metadata: {labels: {app: tracker}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: tracker
        image: fairlead.invalid/fairlead-demo-backend:dev
        imagePullPolicy: IfNotPresent
        env: [{name: API_TOKEN, value: not-a-secret-here}, {name: PACE, value: 2s}]
        ports: [{containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: tracker}
spec:
  selector: {app: tracker}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: slow}
spec:
  auth: {anonymousAccess: Allowed}
  replicas: 1
  drain: {window: 5s, callTimeout: 30s}
  tools:
  - name: follow
    description: Follows an order for some seconds.
    http:
      url: http://tracker.NAMESPACE.svc/orders/1005/events
      headers: {X-API-Token: not-a-secret-here}
      response: {stream: NDJSON}
`

// TestCallOutlivesItsPod: a pod that is deleted finishes the call that it runs.
func TestCallOutlivesItsPod(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, strings.ReplaceAll(slow, "NAMESPACE", ns))
	server := c.ready(t, ns, "slow")
	pods := c.pods(t, ns, server.Status.Selector)
	if len(pods) != 1 {
		t.Fatalf("got %d pods, want 1", len(pods))
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// kube-proxy learns of a ready pod a moment after the operator does.
	eventually(t, "an answering Service", func(ctx context.Context) error { return reach(ctx, base(ns, "slow")) })
	progress := make(chan struct{}, 64)
	answer := make(chan error, 1)
	go func() {
		answer <- clients.CallWithProgress(ctx, base(ns, "slow"), "follow", func() {
			select {
			case progress <- struct{}{}:
			default:
			}
		})
	}()
	select {
	case <-progress:
	case err := <-answer:
		t.Fatalf("the call ended before it was under way: %v", err)
	}
	if err := c.Delete(ctx, &pods[0]); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the call was lost with its pod: %v", err)
	}
}

// TestWatchSurvivesRestart: the plugin's client goes on by itself when the only
// pod of a server is replaced.
func TestWatchSurvivesRestart(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, plain("^a$", "x"))
	server := c.ready(t, ns, "plain")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	plugin := filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "bin", "kubectl-fairlead")
	watch := exec.CommandContext(ctx, plugin, "watch", ns+"/plain")
	watch.Cancel = func() error { return watch.Process.Signal(os.Interrupt) }
	watch.WaitDelay = 10 * time.Second
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	watch.Stderr = os.Stderr
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	connected := 0
	var seen strings.Builder
	for lines := bufio.NewScanner(out); connected < 2 && lines.Scan(); {
		line := strings.ToLower(lines.Text())
		seen.WriteString(line + "\n")
		if strings.Contains(line, " connected") || strings.HasPrefix(line, "connected") {
			connected++
			if connected == 1 {
				c.deletePods(t, ns, server)
			}
		}
	}
	if connected < 2 {
		t.Errorf("watch did not connect again; it said:\n%s", seen.String())
	}
	cancel()
	_ = watch.Wait()
}

func (c *cluster) deletePods(t *testing.T, namespace string, server *v1alpha1.MCPServer) {
	t.Helper()
	for _, pod := range c.pods(t, namespace, server.Status.Selector) {
		if err := c.Delete(t.Context(), &pod); err != nil {
			t.Fatal(err)
		}
	}
}
