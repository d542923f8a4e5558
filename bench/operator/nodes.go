// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/resources"
)

// nodeWorkers is how many Deployments are rolled out at once.
const nodeWorkers = 8

// revisionLine is in every server.yaml.
var revisionLine = regexp.MustCompile(`(?m)^revision: "?([0-9a-f]+)"?$`)

// nodes stands in for the Deployment controller, the scheduler, the kubelet and
// the pods themselves: every Deployment gets ready pods, in one step, whose
// /status says that they serve what is mounted.
type nodes struct {
	admin client.WithWatch
	web   *httptest.Server
	queue chan types.NamespacedName
	// failed takes the first error.
	failed chan error

	mu sync.Mutex // guards what follows
	// open is closed when Deployments may roll out.
	open chan struct{}
	// pods is what answers by address.
	pods map[string]podStatus
	// ready is when a Deployment's pods became ready, by its key.
	ready map[types.NamespacedName]time.Time
	next  int
}

// podStatus is what a pod answers.
type podStatus struct {
	Revision    string   `json:"revision"`
	ConfigError string   `json:"configError"`
	KeyIDs      []string `json:"keyIDs"`
}

func newNodes(admin client.WithWatch) *nodes {
	n := &nodes{
		admin: admin, queue: make(chan types.NamespacedName, 1<<16), failed: make(chan error, 1),
		open: make(chan struct{}), pods: map[string]podStatus{}, ready: map[types.NamespacedName]time.Time{},
	}
	close(n.open)
	n.web = httptest.NewServer(n)
	return n
}

// run rolls Deployments out until ctx ends, while they may.
func (n *nodes) run(ctx context.Context) error {
	defer n.web.Close()
	var working sync.WaitGroup
	defer working.Wait()
	for range nodeWorkers {
		working.Go(func() { n.work(ctx) })
	}
	return follow(ctx, n.admin, &appsv1.DeploymentList{}, func() {}, func(object client.Object) {
		if d, ok := object.(*appsv1.Deployment); ok && d.Status.ObservedGeneration != d.Generation {
			n.queue <- client.ObjectKeyFromObject(d)
		}
	}, client.MatchingLabels{resources.LabelManagedBy: resources.ManagedBy})
}

// follow shows objects as they are and whenever they change, until ctx ends. It
// calls opened when it begins. The API server ends watches of those who are slow:
// they begin again.
func follow(ctx context.Context, c client.WithWatch, list client.ObjectList, opened func(), show func(client.Object), options ...client.ListOption) error {
	for ctx.Err() == nil {
		stream, err := c.Watch(ctx, list, options...)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("failed to watch %T: %w", list, err)
		}
		if err != nil {
			return nil //nolint:nilerr // It ends because ctx did.
		}
		opened()
		for event := range stream.ResultChan() {
			if object, ok := event.Object.(client.Object); ok && event.Type != watch.Deleted {
				show(object)
			}
		}
	}
	return nil
}

// hold keeps Deployments from rolling out until the returned function is called.
func (n *nodes) hold() (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	open := make(chan struct{})
	n.open = open
	return func() { close(open) }
}

func (n *nodes) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-n.queue:
			n.mu.Lock()
			open := n.open
			n.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-open:
			}
			if err := n.rollOut(ctx, key); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
				select {
				case n.failed <- err:
				default:
				}
			}
		}
	}
}

// rollOut makes a Deployment's pods, and then its status.
func (n *nodes) rollOut(ctx context.Context, key types.NamespacedName) error {
	var d appsv1.Deployment
	if err := n.admin.Get(ctx, key, &d); err != nil {
		return fmt.Errorf("failed to read Deployment %q: %w", key, err)
	}
	status, err := n.mounted(ctx, &d)
	if err != nil {
		return err
	}
	replicas := ptr.Deref(d.Spec.Replicas, 1)
	var pods []*corev1.Pod
	for i := range replicas {
		pod, err := n.createPod(ctx, &d, fmt.Sprintf("%s-%d", d.Name, i), status)
		if err != nil {
			return err
		}
		pods = append(pods, pod)
	}
	before := d.DeepCopy()
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas,
	}
	// All at once: what lies between is not what is measured.
	var starting errgroup.Group
	for _, pod := range pods {
		starting.Go(func() error { return n.startPod(ctx, pod) })
	}
	starting.Go(func() error { return n.admin.Status().Patch(ctx, &d, client.MergeFrom(before)) })
	if err := starting.Wait(); err != nil {
		return fmt.Errorf("failed to write the status of Deployment %q and its pods: %w", key, err)
	}
	n.mu.Lock()
	n.ready[key] = time.Now()
	n.mu.Unlock()
	return nil
}

// mounted returns what the pods of a Deployment serve.
func (n *nodes) mounted(ctx context.Context, d *appsv1.Deployment) (podStatus, error) {
	status := podStatus{KeyIDs: []string{}}
	if ids := d.Annotations[resources.AnnotationSessionKeys]; ids != "" {
		status.KeyIDs = strings.Split(ids, ",")
	}
	for _, volume := range d.Spec.Template.Spec.Volumes {
		if volume.ConfigMap == nil || volume.Name != "server" {
			continue
		}
		var mounted corev1.ConfigMap
		if err := n.admin.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: volume.ConfigMap.Name}, &mounted); err != nil {
			return status, fmt.Errorf("failed to mount ConfigMap %q: %w", volume.ConfigMap.Name, err)
		}
		if found := revisionLine.FindStringSubmatch(mounted.Data["server.yaml"]); found != nil {
			status.Revision = found[1]
			return status, nil
		}
	}
	return status, fmt.Errorf("failed to find the revision of Deployment %q", d.Name)
}

// createPod makes one of a Deployment's pods, which serves when it is started.
func (n *nodes) createPod(ctx context.Context, d *appsv1.Deployment, name string, status podStatus) (*corev1.Pod, error) {
	const hash = "5d4f8c7b9" // The Deployment controller names ReplicaSets by it.
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Namespace, Name: name, Labels: maps.Clone(d.Spec.Template.Labels), Annotations: d.Spec.Template.Annotations,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: d.Name + "-" + hash, UID: d.UID, Controller: new(true)}},
		},
		Spec: d.Spec.Template.Spec,
	}
	pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	if err := client.IgnoreAlreadyExists(n.admin.Create(ctx, pod)); err != nil {
		return nil, fmt.Errorf("failed to create Pod %q: %w", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	ip := fmt.Sprintf("10.%d.%d.%d", 1+n.next/62500, n.next/250%250, n.next%250+1)
	n.pods[ip] = status
	pod.Status.PodIP = ip
	return pod, nil
}

// startPod makes a pod ready.
func (n *nodes) startPod(ctx context.Context, pod *corev1.Pod) error {
	next := pod.DeepCopy()
	pod.Status = corev1.PodStatus{}
	next.Status.Phase, next.Status.PodIPs = corev1.PodRunning, []corev1.PodIP{{IP: next.Status.PodIP}}
	next.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return n.admin.Status().Patch(ctx, next, client.MergeFrom(pod))
}

// dial takes the operator to the pods, all of which are behind one real server.
func (n *nodes) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, n.web.Listener.Addr().String())
}

// ServeHTTP answers /status for the pod that is asked.
func (n *nodes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	n.mu.Lock()
	status, ok := n.pods[host]
	n.mu.Unlock()
	if err != nil || !ok || r.URL.Path != "/status" {
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(status) // Who asked has gone away, if it fails.
}

// readyAt returns when the pods of a server became ready.
func (n *nodes) readyAt(server types.NamespacedName) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.ready[types.NamespacedName{Namespace: server.Namespace, Name: resources.Name(server.Name)}]
	return at, ok
}
