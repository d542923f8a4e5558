// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// chartName begins the names of the chart's objects, apart from those of
// config/default.
const chartName = "chart-e2e"

// TestChartForOneNamespace: with Roles in one namespace the operator serves it,
// takes other values while a server goes on, and leaves the CRD and the server
// when it goes.
//
// It does not run beside other tests: the operator of config/default rests
// meanwhile, since two operators with keys of their own would dispute a server.
func TestChartForOneNamespace(t *testing.T) {
	c := connect(t)
	c.rest(t)
	ns := c.namespace(t)
	operator := client.ObjectKey{Namespace: ns, Name: chartName + "-operator"}

	// The CRD is config/default's so far: Helm is told to take it.
	helm(t, "install", "fairlead", "charts/fairlead", "--namespace", ns, "--take-ownership", "--force-conflicts", "--wait", "--timeout", patience.String(),
		"--set", "fullnameOverride="+chartName, "--set", "watchNamespaces={"+ns+"}")
	c.apply(t, ns, sample(t, "hello.yaml"))
	c.ready(t, ns, "hello")
	before := names(c.pods(t, ns, "fairlead.dev/server=hello"))

	helm(t, "upgrade", "fairlead", "charts/fairlead", "--namespace", ns, "--reuse-values", "--wait", "--timeout", patience.String(),
		"--set", "operator.maxConcurrentRollouts=3", "--set", "replicas=2")
	var deployment appsv1.Deployment
	if err := c.Get(t.Context(), operator, &deployment); err != nil {
		t.Fatal(err)
	}
	if args := deployment.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--max-concurrent-rollouts=3") || deployment.Status.AvailableReplicas != 2 {
		t.Errorf("after the upgrade the operator has %d replicas and %q", deployment.Status.AvailableReplicas, args)
	}
	if err := c.Get(t.Context(), operator, &policyv1.PodDisruptionBudget{}); err != nil {
		t.Errorf("two replicas have no disruption budget: %v", err)
	}
	if after := names(c.pods(t, ns, "fairlead.dev/server=hello")); !slices.Equal(before, after) {
		t.Errorf("the upgrade of the operator replaced pods %v by %v", before, after)
	}

	helm(t, "uninstall", "fairlead", "--namespace", ns, "--wait", "--timeout", patience.String())
	eventually(t, "the end of what the chart installed", func(ctx context.Context) error {
		return errors.Join(c.gone(ctx, operator, &appsv1.Deployment{}), c.gone(ctx, client.ObjectKey{Name: operator.Name}, &rbacv1.ClusterRole{}))
	})
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	if err := c.Get(t.Context(), client.ObjectKey{Name: "mcpservers.fairlead.dev"}, crd); err != nil || crd.GetDeletionTimestamp() != nil {
		t.Errorf("the CRD is going or gone: %v", err)
	}
	if after := names(c.pods(t, ns, "fairlead.dev/server=hello")); !slices.Equal(before, after) {
		t.Errorf("the end of the operator replaced pods %v by %v", before, after)
	}
	if err := reach(t.Context(), base(ns, "hello")); err != nil {
		t.Errorf("the server does not serve without its operator: %v", err)
	}
}

// rest stops the operator of config/default until the test ends.
func (c *cluster) rest(t *testing.T) {
	t.Helper()
	key := client.ObjectKey{Namespace: systemNamespace, Name: "fairlead-operator"}
	c.replicas(t.Context(), t, key, 0)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		c.replicas(ctx, t, key, 1)
	})
}

// replicas scales a Deployment and waits until it is so.
func (c *cluster) replicas(ctx context.Context, t *testing.T, key client.ObjectKey, n int32) {
	t.Helper()
	target := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	if err := c.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Errorf("failed to scale %s: %v", key, err)
		return
	}
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, key, target)
		return err == nil && target.Status.ObservedGeneration == target.Generation &&
			target.Status.Replicas == n && target.Status.AvailableReplicas == n, nil
	})
	if err != nil {
		t.Errorf("%s has %d replicas, want %d: %v", key, target.Status.AvailableReplicas, n, err)
	}
}

// helm runs Helm in the repository's root.
func helm(t *testing.T, args ...string) {
	t.Helper()
	home := t.TempDir()
	command := exec.CommandContext(t.Context(), os.Getenv("FAIRLEAD_HELM"), args...)
	command.Dir = os.Getenv("FAIRLEAD_ROOT")
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("helm %v: %v\n%s", args, err, out)
	}
}

func names(pods []corev1.Pod) []string {
	var all []string
	for i := range pods {
		all = append(all, pods[i].Name)
	}
	slices.Sort(all)
	return all
}
