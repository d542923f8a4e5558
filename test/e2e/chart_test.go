// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestChart: the chart takes over what kustomize installed, upgrades and goes,
// and kustomize takes over again. The server's pods change only for the other
// image, and it answers throughout, also without an operator.
func TestChart(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	root := os.Getenv("FAIRLEAD_ROOT")
	// Whatever fails, the tests that follow need the operator.
	t.Cleanup(func() { reinstall(t, root) })
	c.apply(t, ns, plain("^a$", "still here"))
	server := c.ready(t, ns, "plain")
	before := lives(c.pods(t, ns, server.Status.Selector))

	helm := helmIn(t, filepath.Join(root, "charts", "fairlead"))
	began := time.Now()
	helm("install", "--take-ownership", "--force-conflicts", "--set", "image.tag=dev,runtimeImage.tag=dev")
	t.Logf("installed in %s", round(time.Since(began)))
	c.operates(t)
	c.ready(t, ns, "plain")
	if after := lives(c.pods(t, ns, server.Status.Selector)); !slices.Equal(before, after) {
		t.Errorf("the installation replaced pods:\nbefore %v\nafter  %v", before, after)
	}
	c.call(t, base(ns, "plain"), "still here")

	began = time.Now()
	helm("upgrade", "--reset-then-reuse-values", "--set", "runtimeImage.tag=next")
	c.runs(t, ns, "plain-mcp", nextImage)
	c.ready(t, ns, "plain")
	t.Logf("upgraded in %s", round(time.Since(began)))
	c.call(t, base(ns, "plain"), "still here")

	helm("uninstall")
	if err := c.gone(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "fairlead-operator"}, &appsv1.Deployment{}); err != nil {
		t.Error(err)
	}
	c.call(t, base(ns, "plain"), "still here")
	reinstall(t, root)
	c.operates(t)
	c.runs(t, ns, "plain-mcp", firstImage)
	c.ready(t, ns, "plain")
	c.call(t, base(ns, "plain"), "still here")
}

// helmIn returns helm for the release fairlead of a chart; it waits until what it
// did is done.
func helmIn(t *testing.T, chart string) func(action string, args ...string) {
	t.Helper()
	home := t.TempDir()
	return func(action string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		all := []string{action, "fairlead"}
		if action != "uninstall" {
			all = append(all, chart)
		}
		all = append(append(all, "--namespace", systemNamespace, "--wait", "--timeout", "2m"), args...)
		cmd := exec.CommandContext(ctx, os.Getenv("FAIRLEAD_HELM"), all...)
		cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("helm %s failed: %v\n%s", strings.Join(all, " "), err, out)
		}
	}
}

// reinstall applies config/default, as run.sh did.
func reinstall(t *testing.T, root string) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(root, "config", "default"))
	awaitOperator(t)
}

// awaitOperator waits until the operator's Deployment is rolled out.
func awaitOperator(t *testing.T) {
	t.Helper()
	kubectl(t, "--namespace", systemNamespace, "rollout", "status", "deployment", "--timeout=2m")
}

// kubectl runs a command, also when the test is over and cleans up.
func kubectl(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "kubectl", args...).CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s failed: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// operates waits until one operator is ready.
func (c *cluster) operates(t *testing.T) {
	t.Helper()
	eventually(t, "a ready operator", func(ctx context.Context) error {
		_, err := c.operatorPod(ctx)
		return err
	})
}

// runs waits until a Deployment wants an image.
func (c *cluster) runs(t *testing.T, namespace, name, image string) {
	t.Helper()
	eventually(t, "a Deployment that runs "+image, func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
			return err
		}
		if got := d.Spec.Template.Spec.Containers[0].Image; got != image {
			return fmt.Errorf("it runs %s", got)
		}
		return nil
	})
}
