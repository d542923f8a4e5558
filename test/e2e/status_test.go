// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/clients"
)

const paramless = `
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: plain}
spec:
  auth: {anonymousAccess: Allowed}
  replicas: 1
  drain: {window: 1s, callTimeout: 1s}
  tools:
  - name: answer
    description: Answers.
    inputSchema: {type: object, properties: {word: {type: string, pattern: "PATTERN"}}}
    static: {content: [{text: ANSWER}]}
`

func plain(pattern, answer string) string {
	return strings.NewReplacer("PATTERN", pattern, "ANSWER", answer).Replace(paramless)
}

func (c *cluster) call(t *testing.T, base, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the answer %q", want), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for _, client := range clients.All("") {
			if client.Name != "go-sdk-streamable" {
				continue
			}
			answer, err := client.Run(ctx, clients.Target{Base: base, Tool: "answer"})
			if err == nil && answer.Text != want {
				err = fmt.Errorf("got the answer %q", answer.Text)
			}
			return err
		}
		return errors.New("no such client")
	})
}

// TestBreakAndMend: a spec that does not compile is reported with its path and
// changes nothing; a mended one goes live.
func TestBreakAndMend(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, plain("^[a-z]+$", "first"))
	c.ready(t, ns, "plain")
	address := base(ns, "plain")
	c.call(t, address, "first")

	c.apply(t, ns, plain("(", "second"))
	server := c.server(t, ns, "plain", v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec)
	message := meta.FindStatusCondition(server.Status.Conditions, v1alpha1.ConditionAccepted).Message
	if path := "spec.tools[0].inputSchema"; !strings.Contains(message, path) {
		t.Errorf("the message %q does not name %s", message, path)
	}
	c.server(t, ns, "plain", v1alpha1.ConditionReady, metav1.ConditionFalse, "")
	c.server(t, ns, "plain", v1alpha1.ConditionStalled, metav1.ConditionTrue, "")
	c.server(t, ns, "plain", v1alpha1.ConditionAvailable, metav1.ConditionTrue, "")
	c.call(t, address, "first")

	c.apply(t, ns, plain("^[a-z]+$", "third"))
	server = c.ready(t, ns, "plain")
	if meta.FindStatusCondition(server.Status.Conditions, v1alpha1.ConditionStalled) != nil {
		t.Errorf("a mended server is still Stalled: %+v", server.Status.Conditions)
	}
	c.call(t, address, "third")
}

// TestForeignObject: an object that is not ours is never touched.
func TestForeignObject(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	foreign := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "plain-mcp"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "other"}, Ports: []corev1.ServicePort{{Port: 9}}},
	}
	if err := c.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	c.apply(t, ns, plain("^a$", "x"))
	server := c.server(t, ns, "plain", v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonNameConflict)
	if m := meta.FindStatusCondition(server.Status.Conditions, v1alpha1.ConditionAccepted).Message; !strings.Contains(m, "plain-mcp") {
		t.Errorf("the message %q does not name the object", m)
	}
	var after corev1.Service
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(foreign), &after); err != nil {
		t.Fatal(err)
	}
	if after.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the foreign Service was written: %+v", after)
	}
	if err := c.gone(t.Context(), client.ObjectKey{Namespace: ns, Name: "plain-mcp"}, &appsv1.Deployment{}); err != nil {
		t.Errorf("children were written beside a conflict: %v", err)
	}
	if err := c.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	c.ready(t, ns, "plain")
}

// TestDelete: deleting the object removes everything that it became.
func TestDelete(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, plain("^a$", "x"))
	server := c.ready(t, ns, "plain")
	if err := c.Delete(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKey{Namespace: ns, Name: "plain-mcp"}
	eventually(t, "the end of all children", func(ctx context.Context) error {
		for _, child := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}, &corev1.ServiceAccount{}} {
			if err := c.gone(ctx, key, child); err != nil {
				return err
			}
		}
		var maps corev1.ConfigMapList
		if err := c.List(ctx, &maps, client.InNamespace(ns), client.HasLabels{"app.kubernetes.io/instance"}); err != nil {
			return err
		}
		if len(maps.Items) > 0 {
			return fmt.Errorf("%d ConfigMaps are left", len(maps.Items))
		}
		return nil
	})
}

// serverNames lists the MCPServers of a manifest.
func serverNames(t *testing.T, manifest string) []string {
	t.Helper()
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	var names []string
	for {
		var object metav1.PartialObjectMetadata
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return names
		} else if err != nil {
			t.Fatal(err)
		}
		if object.Kind == "MCPServer" {
			names = append(names, object.Name)
		}
	}
}
