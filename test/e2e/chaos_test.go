// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
)

const (
	// burst is how many servers are made at once; one in serving has a pod, since
	// the machine is small and the operator's work is the same.
	burst   = 200
	serving = 20
	// quiet is how long nothing may be written afterwards.
	quiet = 20 * time.Second
)

func burstServer(i int) string {
	replicas := "0"
	if i%serving == 0 {
		replicas = "1"
	}
	return strings.NewReplacer("name: plain", fmt.Sprintf("name: burst-%03d", i), "replicas: 1",
		"replicas: "+replicas+"\n  pod: {resources: {requests: {cpu: 2m, memory: 16Mi}}}").Replace(plain("^a$", "x"))
}

// TestControlPlaneChaos: the operator is killed twice in a burst of creations,
// the API server too, and etcd stands still again and again. All converges,
// nothing is there twice or without an owner, and then nothing is written.
func TestControlPlaneChaos(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	began := time.Now()
	disturb := map[int]func(){
		50:  func() { c.killOperator(t) },
		100: func() { run(t, "cluster", "signal", "kube-apiserver", "kill") },
		130: func() { c.killOperator(t) },
	}
	for i := range burst {
		if do := disturb[i]; do != nil {
			do()
		}
		if i > 150 && i%10 == 0 {
			pulse(t)
		}
		eventually(t, "an accepted creation", func(ctx context.Context) error { return c.tryApply(ctx, ns, burstServer(i)) })
	}
	t.Logf("%d servers were created in %s", burst, round(time.Since(began)))
	for range 10 {
		pulse(t)
	}
	eventually(t, "servers as they should be", func(ctx context.Context) error { return c.settled(ctx, ns) })
	t.Logf("all servers were as they should be after %s", round(time.Since(began)))
	c.wantOneOfEach(t, ns)

	before := c.versions(t, ns)
	hold(t, quiet)
	if after := c.versions(t, ns); !maps.Equal(before, after) {
		for name, version := range after {
			if before[name] != version {
				t.Errorf("%s was written at rest: %s, then %s", name, before[name], version)
			}
		}
	}
}

// killOperator ends the operator without a warning, as a node that dies does.
func (c *cluster) killOperator(t *testing.T) {
	t.Helper()
	eventually(t, "a killed operator", func(ctx context.Context) error {
		pod, err := c.operatorPod(ctx)
		if err != nil {
			return err
		}
		return c.Delete(ctx, pod, client.GracePeriodSeconds(0))
	})
}

// pulse lets etcd stand still for a moment.
func pulse(t *testing.T) {
	t.Helper()
	run(t, "cluster", "signal", "etcd", "stop")
	hold(t, 400*time.Millisecond)
	run(t, "cluster", "signal", "etcd", "continue")
	hold(t, 200*time.Millisecond)
}

// hold lets time pass: what is looked for is that nothing happens, or that
// something takes long.
func hold(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// settled says whether each server of the burst is as it should be.
func (c *cluster) settled(ctx context.Context, namespace string) error {
	var servers v1alpha1.MCPServerList
	if err := c.List(ctx, &servers, client.InNamespace(namespace)); err != nil {
		return err
	}
	good, last := 0, ""
	for _, s := range servers.Items {
		// Without pods nothing is verified, and such a server is not Ready.
		want := v1alpha1.ConditionReady
		if s.Spec.Replicas != nil && *s.Spec.Replicas == 0 {
			want = v1alpha1.ConditionAccepted
		}
		condition := meta.FindStatusCondition(s.Status.Conditions, want)
		if condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == s.Generation &&
			meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReconciling) == nil {
			good++
			continue
		}
		last = fmt.Sprintf("%s: %+v", s.Name, s.Status.Conditions)
	}
	if good != burst {
		return fmt.Errorf("%d of %d are; %s", good, burst, last)
	}
	return nil
}

// wantOneOfEach checks that each server has each of its children once, and that
// nobody else has one.
func (c *cluster) wantOneOfEach(t *testing.T, namespace string) {
	t.Helper()
	objects, err := c.list(t.Context(), namespace, kinds)
	if err != nil {
		t.Fatal(err)
	}
	servers, count := map[types.UID]string{}, map[string]map[types.UID]int{}
	for _, o := range objects {
		if o.GetKind() == "MCPServer" {
			servers[o.GetUID()] = o.GetName()
		}
	}
	for _, o := range objects {
		owner := metav1.GetControllerOf(&o)
		switch {
		case o.GetKind() == "MCPServer", o.GetName() == "kube-root-ca.crt", o.GetName() == "default":
		case owner == nil || servers[owner.UID] == "":
			t.Errorf("%s %s has no owner that exists: %+v", o.GetKind(), o.GetName(), owner)
		default:
			if count[o.GetKind()] == nil {
				count[o.GetKind()] = map[types.UID]int{}
			}
			count[o.GetKind()][owner.UID]++
		}
	}
	// One Service is for clients, one for the pods among themselves.
	for kind, want := range map[string]int{"Deployment": 1, "ConfigMap": 1, "Service": 2, "ServiceAccount": 1, "Secret": 1, "NetworkPolicy": 1} {
		for uid, name := range servers {
			if got := count[kind][uid]; got != want {
				t.Errorf("server %s has %d objects of kind %s, want %d", name, got, kind, want)
			}
		}
	}
}
