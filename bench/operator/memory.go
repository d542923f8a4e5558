// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"fairlead.dev/fairlead/controllers"
)

// heap returns the bytes that live on the heap.
func heap() int64 {
	var stats runtime.MemStats
	for range 3 { // What was freed by a finalizer is collected by the next run.
		runtime.GC() //nolint:revive // It is what is measured.
	}
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// form is one way to keep objects in memory.
type form string

const (
	// ours is the product's: by label, and of each object only what is needed.
	ours form = "Fairlead's"
	// typed keeps whole objects, of everybody.
	typed form = "typed, unfiltered"
	// loose is the same with unstructured objects.
	loose form = "unstructured, unfiltered"
)

// takes is how often the cost of a cache is measured; the one in the middle
// counts, since anything else that comes or goes meanwhile is in it too.
const takes = 3

// cacheCost returns the bytes of heap of a cache with all kinds that the
// operator reads.
func (b *bench) cacheCost(as form) (int64, error) {
	var costs []int64
	for range takes {
		bytes, err := b.cacheCostOnce(as)
		if err != nil {
			return 0, err
		}
		costs = append(costs, bytes)
	}
	slices.Sort(costs)
	return costs[takes/2], nil
}

func (b *bench) cacheCostOnce(as form) (int64, error) {
	options := controllers.CacheOptions()
	var kinds []client.Object
	for object := range options.ByObject {
		kinds = append(kinds, object)
	}
	if as != ours {
		options = cache.Options{}
	}
	options.Scheme = b.admin.Scheme()
	ctx, cancel := context.WithCancel(b.ctx)
	held, err := cache.New(b.api.Config, options)
	if err != nil {
		cancel()
		return 0, fmt.Errorf("failed to make a cache: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- held.Start(ctx) }()
	for _, object := range kinds {
		if object, err = b.shaped(object, as); err != nil {
			break
		}
		if _, err = held.GetInformer(ctx, object); err != nil {
			err = fmt.Errorf("failed to fill a cache with %T: %w", object, err)
			break
		}
	}
	// A cache that was not started yet is asked without waiting.
	if err == nil && !held.WaitForCacheSync(ctx) {
		err = errors.New("failed to fill a cache")
	}
	full := heap()
	runtime.KeepAlive(held)
	cancel()
	err = errors.Join(err, <-done)
	held = nil //nolint:wastedassign // The next line counts what is left without it.
	return full - heap(), err
}

// shaped returns an object by which a cache is asked for its kind in a form.
func (b *bench) shaped(object client.Object, as form) (client.Object, error) {
	if as != loose {
		return object, nil
	}
	gvk, err := apiutil.GVKForObject(object, b.admin.Scheme())
	if err != nil {
		return nil, fmt.Errorf("failed to find the kind of %T: %w", object, err)
	}
	shaped := &unstructured.Unstructured{}
	shaped.SetGroupVersionKind(gvk)
	return shaped, nil
}

// strangers creates objects of others, a third each of Deployments, Secrets and
// ConfigMaps.
func (b *bench) strangers(namespace string, count int) error {
	return b.each(0, count, creators, func(i int) error {
		name := metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("foreign-%d", i), Labels: map[string]string{"app": "foreign"}}
		switch i % 3 {
		case 0:
			return b.admin.Create(b.ctx, &corev1.Secret{ObjectMeta: name, StringData: map[string]string{"password": strings.Repeat("x", 1024)}})
		case 1:
			return b.admin.Create(b.ctx, &corev1.ConfigMap{ObjectMeta: name, Data: map[string]string{"config": strings.Repeat("x", 2048)}})
		}
		return b.admin.Create(b.ctx, &appsv1.Deployment{ObjectMeta: name, Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: name.Labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: name.Labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app:1"}}},
			},
		}})
	})
}
