// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e tests the promises on a real cluster, from inside of its network:
// run.sh brings the cluster up, installs the operator and starts these tests.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"fairlead.dev/fairlead/api/v1alpha1"
)

const (
	fieldOwner      = client.FieldOwner("fairlead-e2e")
	systemNamespace = "fairlead-system"
	patience        = 3 * time.Minute
)

// cluster is what every test talks to.
type cluster struct {
	client.Client
	config *rest.Config
	core   kubernetes.Interface
}

func connect(t *testing.T) *cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatalf("failed to read KUBECONFIG: run these tests through make e2e: %v", err)
	}
	config.QPS = -1
	ctrllog.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatalf("failed to reach the cluster: %v", err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Client: c, config: config, core: core}
}

// namespace makes a namespace that admits restricted pods only, and deletes it
// when the test ends.
func (c *cluster) namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("failed to create a namespace: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.dump(t, ns.Name)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := c.Delete(ctx, ns); err != nil {
			t.Errorf("failed to delete namespace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

// apply applies every object of a manifest to a namespace, as kubectl apply
// --server-side would.
func (c *cluster) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	if err := c.tryApply(t.Context(), namespace, manifest); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) tryApply(ctx context.Context, namespace, manifest string) error {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("failed to read the manifest: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		object.SetNamespace(namespace)
		config := client.ApplyConfigurationFromUnstructured(&object)
		if err := c.Apply(ctx, config, fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("failed to apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

// sample reads a file of config/samples.
func sample(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "config", "samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// eventually polls until check returns nil, and fails with its last error.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 250*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if err == nil || ctx.Err() == nil {
			last = err // The end of the patience explains nothing.
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("%s did not happen within %s: %v", what, patience, last)
	}
}

// server waits until a condition has the status and reason wanted for the
// current generation, and returns the server.
func (c *cluster) server(t *testing.T, namespace, name, condition string, status metav1.ConditionStatus, reason string) *v1alpha1.MCPServer {
	t.Helper()
	var server v1alpha1.MCPServer
	eventually(t, fmt.Sprintf("%s=%s (%s) of MCPServer %s", condition, status, reason, name), func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &server); err != nil {
			return err
		}
		got := meta.FindStatusCondition(server.Status.Conditions, condition)
		switch {
		case got == nil:
			return fmt.Errorf("no condition %s in %+v", condition, server.Status.Conditions)
		case got.ObservedGeneration != server.Generation:
			return fmt.Errorf("condition %s is about generation %d of %d", condition, got.ObservedGeneration, server.Generation)
		case got.Status != status || (reason != "" && got.Reason != reason):
			return fmt.Errorf("%s=%s (%s): %s", condition, got.Status, got.Reason, got.Message)
		}
		return nil
	})
	return &server
}

func (c *cluster) ready(t *testing.T, namespace, name string) *v1alpha1.MCPServer {
	t.Helper()
	return c.server(t, namespace, name, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
}

// base is the address of a server's Service inside of the cluster.
func base(namespace, name string) string {
	return "http://" + name + "-mcp." + namespace + ".svc.cluster.local"
}

// reach says whether anything accepts connections at an address.
func reach(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(address, "http://")+":80")
	if err != nil {
		return err
	}
	return conn.Close()
}

// pods lists a server's pods.
func (c *cluster) pods(t *testing.T, namespace, selector string) []corev1.Pod {
	t.Helper()
	pods, err := c.core.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

// logs returns the log of every container of a pod.
func (c *cluster) logs(ctx context.Context, namespace, pod string) string {
	data, err := c.core.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// gone says whether an object does not exist.
func (c *cluster) gone(ctx context.Context, key client.ObjectKey, object client.Object) error {
	err := c.Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%T %s still exists", object, key)
	}
	return err
}
