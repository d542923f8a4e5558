// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controllers/resources"
)

const (
	// adminPort is where the runtime answers about itself.
	adminPort = 8081
	// maxPods bounds the pods that are counted and asked.
	maxPods = 500
	// parallel bounds the pods that are asked at once.
	parallel = 8
	// maxStatus bounds the answer of a pod, in bytes.
	maxStatus = 64 << 10
)

// Load is what a server's pods hold at the moment.
type Load struct {
	// Pods run and are not leaving.
	Pods int
	// Asked of them answered; Streams and InFlight (calls) are the sums of
	// what they said.
	Asked, Streams, InFlight int
	// Err is why not all were asked, nil if they were.
	Err error
}

// Load asks the pods of a server for their streams, through the API server.
// Its error is for pods that cannot even be listed.
func (c *Cluster) Load(ctx context.Context, key types.NamespacedName) (Load, error) {
	list, err := c.pods.Pods(key.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: resources.LabelServer + "=" + key.Name, Limit: maxPods,
	})
	if apierrors.IsForbidden(err) {
		return Load{}, fmt.Errorf("you may not list pods in namespace %q: %w", key.Namespace, err)
	}
	if err != nil {
		return Load{}, fmt.Errorf("failed to list the pods of MCPServer %q: %w", key, err)
	}
	var (
		load  Load
		mu    sync.Mutex // guards load
		group sync.WaitGroup
		slots = make(chan struct{}, parallel)
	)
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		load.Pods++
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			said, err := c.ask(ctx, pod)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				load.Err = err
				return
			}
			load.Asked++
			load.Streams += said.Streams
			load.InFlight += said.InFlight
		})
	}
	group.Wait()
	return load, nil
}

// said is the part of /status that counts.
type said struct {
	Streams  int `json:"streams"`
	InFlight int `json:"inFlight"`
}

func (c *Cluster) ask(ctx context.Context, pod *corev1.Pod) (said, error) {
	var out said
	body, err := c.pods.RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
		Name(pod.Name + ":" + strconv.Itoa(adminPort)).SubResource("proxy").Suffix("status").Stream(ctx)
	if apierrors.IsForbidden(err) {
		return out, errors.New("you may not ask the pods: it takes get on pods/proxy")
	}
	if err != nil {
		return out, fmt.Errorf("failed to ask pod %q: %w", pod.Name, err)
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxStatus)).Decode(&out); err != nil {
		return out, fmt.Errorf("failed to read the status of pod %q: %w", pod.Name, err)
	}
	return out, nil
}
