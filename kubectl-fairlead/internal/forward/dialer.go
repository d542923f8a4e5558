// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package forward reaches the pods of an MCPServer through the Kubernetes API,
// as kubectl port-forward does, but without a port on this machine: each TCP
// connection of a client becomes a pair of streams to a ready pod, and when that
// pod goes the next connection finds another one.
package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"

	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/cluster"
)

const (
	// port is where the runtime listens for clients.
	port = 8080
	// maxPods bounds the pods that are looked at.
	maxPods = 500
	// requestTimeout bounds each request to the API server that is no stream.
	requestTimeout = 10 * time.Second
)

// Options name a server.
type Options struct {
	// Server is NAME or NAMESPACE/NAME.
	Server string
	// Namespace is used for a bare NAME; empty means that of the context.
	Namespace string
	// Context and Kubeconfig choose the cluster; empty means as kubectl does.
	Context, Kubeconfig string
	// OnForward, if set, is called with the name of each pod that is chosen.
	OnForward func(pod string)
}

// Dialer connects to a ready pod of one server. All connections go to the same
// pod while it is ready, since a session lives in one.
type Dialer struct {
	config    *rest.Config
	pods      corev1client.PodsGetter
	namespace string
	server    string
	onForward func(string)

	// turn is held while a pod is chosen; unlike a mutex it can be given up
	// when a context ends.
	turn    chan struct{}
	current *tunnel
	streams atomic.Int64 // numbers the pairs of streams
}

// tunnel is the one connection to the API server for a pod.
type tunnel struct {
	pod  string
	conn httpstream.Connection
}

// New finds the cluster; it sends nothing yet.
func New(o Options) (*Dialer, error) {
	where := cluster.Options{Namespace: o.Namespace, Context: o.Context, Kubeconfig: o.Kubeconfig}
	key, err := cluster.Split(o.Server, where)
	if err != nil {
		return nil, err
	}
	config, namespace, err := cluster.Config(where)
	if err != nil {
		return nil, fmt.Errorf("%q is no URL, so it names an MCPServer in a cluster, and there is none to ask: %w", o.Server, err)
	}
	if key.Namespace != "" {
		namespace = key.Namespace
	}
	limited := rest.CopyConfig(config)
	limited.Timeout = requestTimeout
	pods, err := corev1client.NewForConfig(limited)
	if err != nil {
		return nil, fmt.Errorf("failed to make a client for the cluster: %w", err)
	}
	onForward := o.OnForward
	if onForward == nil {
		onForward = func(string) {}
	}
	return &Dialer{
		config: config, pods: pods, namespace: namespace, server: key.Name, onForward: onForward,
		turn: make(chan struct{}, 1),
	}, nil
}

// DialContext connects to the server; network and address are ignored. It fits
// http.Transport.
func (d *Dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	t, err := d.tunnel(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := d.open(t)
	if err != nil {
		_ = t.conn.Close()
		return nil, fmt.Errorf("failed to reach pod %s: %w", t.pod, err)
	}
	return conn, nil
}

// tunnel gives the tunnel to a ready pod, the same as before if it can.
func (d *Dialer) tunnel(ctx context.Context) (*tunnel, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ready, err := d.ready(ctx)
	if err != nil {
		return nil, err
	}
	if t := d.current; t != nil && alive(t.conn) && slices.Contains(ready, t.pod) {
		return t, nil
	}
	pod := ready[rand.IntN(len(ready))] //nolint:gosec // G404: any pod will do.
	conn, err := d.upgrade(pod)
	if err != nil {
		return nil, fmt.Errorf("failed to forward to pod %s: %w", pod, err)
	}
	d.current = &tunnel{pod: pod, conn: conn}
	d.onForward(d.namespace + "/" + pod)
	return d.current, nil
}

// ready lists the names of the pods that serve; there is at least one.
func (d *Dialer) ready(ctx context.Context) ([]string, error) {
	list, err := d.pods.Pods(d.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: resources.LabelServer + "=" + d.server, Limit: maxPods,
	})
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not list pods in namespace %q: ask for list on pods and create on pods/portforward: %w", d.namespace, err)
	case err != nil:
		return nil, fmt.Errorf("failed to list the pods of %s/%s: %w", d.namespace, d.server, err)
	}
	var names []string
	for i := range list.Items {
		if pod := &list.Items[i]; pod.DeletionTimestamp == nil && isReady(pod) {
			names = append(names, pod.Name)
		}
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("there are no pods of an MCPServer %q in namespace %q: `kubectl get flmcp -n %s` lists the servers", d.server, d.namespace, d.namespace)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("MCPServer %s/%s has no ready pod (of %d): `kubectl describe flmcp -n %s %s` says why",
			d.namespace, d.server, len(list.Items), d.namespace, d.server)
	}
	return names, nil
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func alive(conn httpstream.Connection) bool {
	select {
	case <-conn.CloseChan():
		return false
	default:
		return true
	}
}

// upgrade opens a tunnel; WebSockets are there since Kubernetes 1.31.
func (d *Dialer) upgrade(pod string) (httpstream.Connection, error) {
	client, err := rest.RESTClientFor(restConfig(d.config))
	if err != nil {
		return nil, fmt.Errorf("failed to make a client for the cluster: %w", err)
	}
	u := client.Post().Resource("pods").Namespace(d.namespace).Name(pod).SubResource("portforward").URL()
	dialer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, d.config)
	if err != nil {
		return nil, err
	}
	conn, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		_ = conn.Close()
		return nil, fmt.Errorf("the API server speaks %q instead of %q", protocol, portforward.PortForwardProtocolV1Name)
	}
	return conn, nil
}

// open makes a pair of streams: one for errors, one for data.
func (d *Dialer) open(t *tunnel) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.FormatInt(d.streams.Add(1), 10))
	failures, err := t.conn.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("failed to open a stream: %w", err)
	}
	// Nothing is ever written to it.
	_ = failures.Close()
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := t.conn.CreateStream(headers)
	if err != nil {
		t.conn.RemoveStreams(failures)
		return nil, fmt.Errorf("failed to open a stream: %w", err)
	}
	return newStream(t, failures, data), nil
}

var errNoPod = errors.New("the pod closed the connection")
