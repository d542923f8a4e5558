// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/apiserver"
)

// fleet is how many servers the story of a restart has.
const fleet = 200

// reconciles returns how often the controller has run, of all operators in this
// process.
func reconciles(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			sum += metric.GetCounter().GetValue()
		}
	}
	return sum
}

// Not parallel: it counts how often the controller runs, so that nothing else
// may happen meanwhile.
func TestStoryRestartWritesNothing(t *testing.T) { //nolint:paralleltest // See above.
	s := newStory(t)
	for i := range fleet {
		server := s.manifest("orders")
		server.Name = fmt.Sprintf("orders-%d", i)
		s.create(server)
	}
	s.eventually(func() string { return s.rollOutFleet() })
	s.eventually(func() string {
		var servers fairleadv1alpha1.MCPServerList
		s.list(&servers)
		for i := range servers.Items {
			if got := condition(&servers.Items[i], "Ready"); got != "True/Serving" {
				return servers.Items[i].Name + " is " + got
			}
		}
		return ""
	})
	// Each child and the record once, one status on the way and one at the end.
	if got, most := len(suite.writes.WritesIn(s.namespace)), fleet*(9+2); got > most {
		t.Errorf("%d servers cost %d writes, want at most %d", fleet, got, most)
	}

	// A second operator is a restart of the first: it has seen nothing yet.
	before := reconciles(t)
	requests := &apiserver.Recorder{}
	ctx, stop := context.WithCancel(s.ctx)
	done, err := startOperator(ctx, setting{}, &pods{}, requests)
	if err != nil {
		t.Fatal(err)
	}
	s.eventually(func() string {
		if seen := reconciles(t) - before; seen < fleet {
			return fmt.Sprintf("%v of %d servers were looked at", seen, fleet)
		}
		return ""
	})
	// Edits that change nothing that is built: on a server, and on a child.
	before = reconciles(t)
	server := named(s, &fairleadv1alpha1.MCPServer{}, "orders-7")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Labels = map[string]string{"a": "b"} })
	service := named(s, &corev1.Service{}, "orders-7-mcp")
	edit(s, service, func(o *corev1.Service) { o.Annotations["example.com/a"] = "b" })
	s.eventually(func() string {
		if seen := reconciles(t) - before; seen < 2 { // Both operators see the Service.
			return fmt.Sprintf("the controllers ran %v times", seen)
		}
		return ""
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := requests.In(s.namespace); len(got) > 0 {
		t.Errorf("after a restart, %d requests beside the watches, want none: %q", len(got), got[:min(len(got), 5)])
	}
}

func (s *story) list(list client.ObjectList) {
	s.Helper()
	if err := suite.admin.List(s.ctx, list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
}

// rollOutFleet makes the pods of all servers ready that have a Deployment.
func (s *story) rollOutFleet() string {
	s.Helper()
	var deployments appsv1.DeploymentList
	s.list(&deployments)
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if d.Status.ObservedGeneration == d.Generation {
			continue
		}
		replicas := ptr.Deref(d.Spec.Replicas, 1)
		s.setStatus(d, appsv1.DeploymentStatus{
			ObservedGeneration: d.Generation, Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas,
		})
	}
	if len(deployments.Items) < fleet {
		return fmt.Sprintf("%d of %d Deployments exist", len(deployments.Items), fleet)
	}
	return ""
}

// The canary: what a Secret holds is in no object, event or log line. The
// operator could not leak it: it has no right to read Secrets.
func TestStorySecretsStaySecret(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	const canary = "canary-0d9f3c1e7b5a"
	for _, name := range []string{"orders-keys", "orders-api", "second.example.com"} {
		secret := named(s, &corev1.Secret{}, name)
		secret.StringData = map[string]string{"alice": canary, "token": canary}
		s.create(secret)
	}
	server := s.serving("orders")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].HTTP.Query = map[string]fairleadv1alpha1.TemplateString{"a": "${"}
	})
	s.want(server, "Accepted=False/InvalidSpec")
	var events corev1.EventList
	s.eventually(func() string {
		s.list(&events)
		if len(events.Items) < 3 {
			return fmt.Sprintf("%d events", len(events.Items))
		}
		return ""
	})
	objects := append(s.children(server), s.read(server))
	for i := range events.Items {
		objects = append(objects, &events.Items[i])
	}
	for _, object := range objects {
		if text := fmt.Sprintf("%+v", object); strings.Contains(text, canary) {
			t.Errorf("%T %s holds the canary", object, object.GetName())
		}
	}
	if strings.Contains(suite.logs.String(), canary) {
		t.Error("the log holds the canary")
	}
	operator, err := client.New(suite.operator, client.Options{Scheme: suite.admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	var secrets corev1.SecretList
	if err := operator.List(s.ctx, &secrets, client.InNamespace(s.namespace)); err == nil {
		t.Error("the operator may list Secrets")
	}
}
