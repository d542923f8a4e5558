// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster reads and changes the MCPServers of a cluster with the
// rights of the user's kubeconfig. Its errors say what to do next.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
	"fairlead.dev/fairlead/controllers/resources"
)

const (
	// requestTimeout bounds each request to the API server.
	requestTimeout = 10 * time.Second
	// maxRecords bounds the records of a server that are read: ten, and what a
	// server of the same name left behind.
	maxRecords = 50
	// FieldManager is the name under which the plugin changes objects.
	FieldManager = "kubectl-fairlead"
)

// Options choose a cluster as kubectl does.
type Options struct {
	// Namespace is used for a bare NAME; empty means that of the context.
	Namespace string
	// Context and Kubeconfig choose the cluster; empty means as kubectl does.
	Context, Kubeconfig string
}

// Config returns how to reach the cluster, and the namespace for bare names.
func Config(o Options) (config *rest.Config, namespace string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	config, err = loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", noCluster(rules.GetLoadingPrecedence())
	}
	if err != nil {
		return nil, "", err
	}
	if namespace = o.Namespace; namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, "", fmt.Errorf("failed to read the context's namespace: %w", err)
		}
	}
	return config, namespace, nil
}

// noCluster says what was looked at: the library's own words name a variable of
// old instead of the file.
func noCluster(files []string) error {
	looked := make([]string, len(files))
	for i, file := range files {
		looked[i] = file + " names none"
		if _, err := os.Stat(file); err != nil {
			looked[i] = file + " does not exist"
		}
	}
	return fmt.Errorf("no kubeconfig file names a cluster: %s", strings.Join(looked, ", "))
}

// Split reads NAME or NAMESPACE/NAME; the namespace is empty for a bare name.
// Its error is for a name that is neither, or contradicts o.Namespace.
func Split(server string, o Options) (types.NamespacedName, error) {
	namespace, name, ok := strings.Cut(server, "/")
	if !ok {
		namespace, name = o.Namespace, server
	} else if o.Namespace != "" && o.Namespace != namespace {
		return types.NamespacedName{}, fmt.Errorf("%s and --namespace %s name two namespaces", server, o.Namespace)
	}
	if name == "" || strings.Contains(name, "/") || (ok && namespace == "") {
		return types.NamespacedName{}, fmt.Errorf("%q is neither NAME nor NAMESPACE/NAME of an MCPServer", server)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// Cluster is one cluster with the rights of one user.
type Cluster struct {
	options   Options
	namespace string
	servers   dynamic.NamespaceableResourceInterface
	records   appsv1client.ControllerRevisionsGetter
	pods      corev1client.CoreV1Interface
}

// Open finds the cluster; it sends nothing yet.
func Open(o Options) (*Cluster, error) {
	config, namespace, err := Config(o)
	if err != nil {
		return nil, fmt.Errorf("there is no cluster to ask: name one by --kubeconfig or --context: %w", err)
	}
	config = rest.CopyConfig(config)
	config.Timeout = requestTimeout
	config.UserAgent = FieldManager
	config.WarningHandler = rest.NoWarnings{}
	c := &Cluster{options: o, namespace: namespace}
	all, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("failed to make a client for the cluster: %w", err)
	}
	c.servers = all.Resource(fairleadv1alpha1.GroupVersion.WithResource("mcpservers"))
	if c.records, err = appsv1client.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("failed to make a client for the cluster: %w", err)
	}
	if c.pods, err = corev1client.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("failed to make a client for the cluster: %w", err)
	}
	return c, nil
}

// Key completes NAME or NAMESPACE/NAME.
func (c *Cluster) Key(server string) (types.NamespacedName, error) {
	key, err := Split(server, c.options)
	if key.Namespace == "" {
		key.Namespace = c.namespace
	}
	return key, err
}

// NotFoundError says that a cluster has no such MCPServer.
type NotFoundError struct{ Key types.NamespacedName }

// Error names the server and how to list those that are there.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no MCPServer %q in namespace %q: `kubectl get flmcp -n %s` lists the servers", e.Key.Name, e.Key.Namespace, e.Key.Namespace)
}

// Server reads a server. Its error is a *NotFoundError if there is none.
func (c *Cluster) Server(ctx context.Context, key types.NamespacedName) (*fairleadv1alpha1.MCPServer, error) {
	object, err := c.servers.Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return nil, explain(err, key, "get")
	}
	return decode(object)
}

// Records reads the records of a server's last good specs, the newest first.
func (c *Cluster) Records(ctx context.Context, server *fairleadv1alpha1.MCPServer) ([]appsv1.ControllerRevision, error) {
	list, err := c.records.ControllerRevisions(server.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: resources.LabelServer + "=" + server.Name, Limit: maxRecords,
	})
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("you may not list controllerrevisions.apps in namespace %q, where the history is kept: ask for it: %w", server.Namespace, err)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to list the history of MCPServer %s/%s: %w", server.Namespace, server.Name, err)
	}
	return history.Of(list.Items, server), nil
}

// ErrChanged says that somebody changed the server after it was read.
var ErrChanged = errors.New("somebody changed it meanwhile: nothing was done; look at it and repeat")

// ReplaceSpec makes the spec of next that of the server, if it is still as it
// was when next was read; else the error wraps ErrChanged.
func (c *Cluster) ReplaceSpec(ctx context.Context, next *fairleadv1alpha1.MCPServer) (*fairleadv1alpha1.MCPServer, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	key := types.NamespacedName{Namespace: next.Namespace, Name: next.Name}
	patch, err := json.Marshal([]operation{
		// The API server compares it with what is stored.
		{Op: "replace", Path: "/metadata/resourceVersion", Value: next.ResourceVersion},
		{Op: "replace", Path: "/spec", Value: next.Spec},
	})
	if err != nil {
		return nil, fmt.Errorf("failed to encode MCPServer %q: %w", key, err)
	}
	return c.patch(ctx, key, types.JSONPatchType, patch)
}

// Annotate sets an annotation of a server.
func (c *Cluster) Annotate(ctx context.Context, key types.NamespacedName, name, value string) (*fairleadv1alpha1.MCPServer, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{name: value}}})
	if err != nil {
		return nil, fmt.Errorf("failed to encode the annotation %q: %w", name, err)
	}
	return c.patch(ctx, key, types.MergePatchType, patch)
}

func (c *Cluster) patch(ctx context.Context, key types.NamespacedName, kind types.PatchType, patch []byte) (*fairleadv1alpha1.MCPServer, error) {
	object, err := c.servers.Namespace(key.Namespace).Patch(ctx, key.Name, kind, patch, metav1.PatchOptions{FieldManager: FieldManager})
	if apierrors.IsConflict(err) {
		return nil, fmt.Errorf("failed to change MCPServer %q: %w", key, ErrChanged)
	}
	if err != nil {
		return nil, explain(err, key, "patch")
	}
	return decode(object)
}

// decode reads a server; fields that this program does not know are left out.
func decode(object *unstructured.Unstructured) (*fairleadv1alpha1.MCPServer, error) {
	server := &fairleadv1alpha1.MCPServer{}
	data, err := object.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(data, server)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read MCPServer %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return server, nil
}

// explain gives an error of the API server its next act.
func explain(err error, key types.NamespacedName, verb string) error {
	switch {
	case apierrors.IsNotFound(err) && !aboutObject(err):
		return fmt.Errorf("the cluster knows no MCPServers: install Fairlead in it: %w", err)
	case apierrors.IsNotFound(err):
		return &NotFoundError{Key: key}
	case apierrors.IsForbidden(err):
		return fmt.Errorf("you may not %s mcpservers.fairlead.dev in namespace %q: ask for it: %w", verb, key.Namespace, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster does not know you: log in again: %w", err)
	}
	return fmt.Errorf("failed to %s MCPServer %q: %w", verb, key, err)
}

// aboutObject says that an answer is about an object, not about its kind.
func aboutObject(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && status.ErrStatus.Details != nil && status.ErrStatus.Details.Name != ""
}
