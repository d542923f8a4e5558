// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
)

// manifest is a Deployment that passes the restricted Pod Security Standard, which its namespace enforces.
const manifest = `apiVersion: v1
kind: Namespace
metadata:
  name: selftest
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: probe, namespace: selftest}
spec:
  replicas: 2
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 2
      containers:
        - name: probe
          image: ` + probeImage + `
          imagePullPolicy: Never
          ports: [{containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
          resources: {limits: {cpu: 500m, memory: 64Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: probe, namespace: selftest}
spec:
  selector: {app: probe}
  ports: [{port: 80, targetPort: 8080}]
`

// serviceName is the Service's full name.
const serviceName = "probe.selftest.svc.cluster.local"

// deploy creates the objects and waits for both pods.
func (t *Test) deploy(ctx context.Context) error {
	path := filepath.Join(t.dir, "probe.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		return fmt.Errorf("failed to write a manifest: %w", err)
	}
	if err := t.kubectl(ctx, "apply", "-f", path); err != nil {
		return err
	}
	return t.kubectl(ctx, "rollout", "status", "deployment/probe", "--timeout=60s")
}

// kubectl runs the cluster's kubectl in the test's namespace.
func (t *Test) kubectl(ctx context.Context, args ...string) error {
	_, err := t.kubectlOutput(ctx, args...)
	return err
}

// kubectlOutput is kubectl with its output.
func (t *Test) kubectlOutput(ctx context.Context, args ...string) (string, error) {
	return t.output(ctx, append([]string{"kubectl", "--", "--namespace=selftest"}, args...)...)
}

// get asks a URL from inside the namespace, as a load client does.
func (t *Test) get(ctx context.Context, url string) (string, error) {
	return t.output(ctx, "exec", "--", filepath.Join(t.Bin, binaries.Probe), "get", url)
}

// askClusterIP asks until both replicas have answered, each by its name.
func (t *Test) askClusterIP(ctx context.Context) error {
	ip, err := t.kubectlOutput(ctx, "get", "service", "probe", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	return eventually(ctx, func(ctx context.Context) error {
		name, err := t.get(ctx, "http://"+ip)
		if err != nil {
			return err
		}
		if seen[name] = true; len(seen) < 2 {
			return fmt.Errorf("only %s has answered", name)
		}
		return nil
	})
}

// askByName asks the Service by the short name that a pod of the namespace default may use.
func (t *Test) askByName(ctx context.Context) error {
	name, err := t.get(ctx, "http://probe.selftest")
	if err == nil && !strings.HasPrefix(name, "probe-") {
		return fmt.Errorf("got the answer %q, want a pod's name", name)
	}
	return err
}

// askFromPod asks for the Service from one of its own pods, once by each kind of name, and reaches both replicas.
func (t *Test) askFromPod(ctx context.Context) error {
	ip, err := t.kubectlOutput(ctx, "get", "service", "probe", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	for _, name := range []string{"probe", "probe.selftest", "probe.selftest.svc", serviceName} {
		got, err := t.kubectlOutput(ctx, "exec", "deployment/probe", "--", "/probe", "resolve", name)
		if err != nil {
			return err
		}
		if got != ip {
			return fmt.Errorf("the name %q is at %q in a pod, want %q", name, got, ip)
		}
	}
	seen := map[string]bool{}
	return eventually(ctx, func(ctx context.Context) error {
		name, err := t.kubectlOutput(ctx, "exec", "deployment/probe", "--", "/probe", "get", "http://probe")
		if err != nil {
			return err
		}
		// One of the two is the asking pod itself, which only a hairpin rule lets through.
		if seen[name] = true; len(seen) < 2 {
			return fmt.Errorf("only %s has answered", name)
		}
		return nil
	})
}

// askOutside resolves a name that does exist elsewhere; it must fail at once, not by a timeout.
func (t *Test) askOutside(ctx context.Context) error {
	begin := time.Now()
	_, err := t.output(ctx, "exec", "--", filepath.Join(t.Bin, binaries.Probe), "resolve", "kubernetes.io")
	if err == nil || !strings.Contains(err.Error(), "no such host") {
		return fmt.Errorf("got %w, want no such host", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		return fmt.Errorf("the answer took %s", took)
	}
	return nil
}

// kubectlVerbs checks what goes through the kubelet's streaming server.
func (t *Test) kubectlVerbs(ctx context.Context) error {
	logs, err := t.kubectlOutput(ctx, "logs", "deployment/probe")
	if err != nil {
		return err
	}
	if !strings.Contains(logs, "serving as probe-") {
		return fmt.Errorf("the log is %q, want the pod's greeting", logs)
	}
	return t.portForward(ctx)
}

// portForward runs `kubectl port-forward` at a free port and asks through it.
func (t *Test) portForward(ctx context.Context) (err error) {
	cmd := exec.CommandContext(ctx, t.Self, "kubectl", "--", "--namespace=selftest", "port-forward", "service/probe", ":80")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("failed to read from port-forward: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("failed to start port-forward: %w", err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // ends by the signal
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("failed to read from port-forward: %w", err)
	}
	fields := strings.Fields(strings.TrimPrefix(line, "Forwarding from "))
	if len(fields) == 0 {
		return fmt.Errorf("port-forward wrote %q, want its address", line)
	}
	return askOutsideNamespace(ctx, "http://"+fields[0])
}

// forward carries the Service's port by name, twice, and asks through it.
func (t *Test) forward(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("failed to find a free port: %w", err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return fmt.Errorf("failed to free a port: %w", err)
	}
	args := []string{"forward", "--listen", address, "--to", serviceName + ":80", "--detach"}
	if err := t.cluster(ctx, args...); err != nil {
		return err
	}
	if err := t.wantOutput(ctx, "already forwarding", args...); err != nil {
		return err
	}
	return askOutsideNamespace(ctx, "http://"+address)
}

// askOutsideNamespace asks a URL in the machine's own network for a pod's name.
func askOutsideNamespace(ctx context.Context, url string) error {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("failed to form a request: %w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("failed to ask %s: %w", url, err)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	err = errors.Join(err, answer.Body.Close())
	if err == nil && !strings.HasPrefix(string(body), "probe-") {
		return fmt.Errorf("%s answered %q, want a pod's name", url, body)
	}
	return err
}
