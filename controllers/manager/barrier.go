// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"fairlead.dev/fairlead/controllers"
)

// Pauses between two questions whether a namespace may be watched.
const (
	firstAsk = time.Second
	lastAsk  = 30 * time.Second
)

// barrier keeps a namespace closed until the operator may watch all that it must
// there. A cache that may not list a kind is never filled, its controller gives
// up after a while, and with it the whole operator would end: one namespace that
// was deleted, or lost its RoleBinding, would take all others down.
type barrier struct {
	namespace string
	kinds     []schema.GroupResource
	reviews   authorizationclient.SelfSubjectAccessReviewInterface
	log       *slog.Logger

	opened chan struct{}
	// reason is why the namespace is not watched yet; nil before the first answer.
	reason atomic.Pointer[string]
}

// asked reports whether there was an answer yet.
func (b *barrier) asked() bool { return b != nil && b.reason.Load() != nil }

// closed returns why the namespace is not watched; empty if it is. A nil barrier is
// open.
func (b *barrier) closed() string {
	if b == nil {
		return ""
	}
	select {
	case <-b.opened:
		return ""
	default:
	}
	if reason := b.reason.Load(); reason != nil {
		return *reason
	}
	return "not asked yet whether the operator may"
}

// wait waits until the barrier opens, and reports whether it did before ctx ended.
func (b *barrier) wait(ctx context.Context) bool {
	if b == nil {
		return true
	}
	select {
	case <-b.opened:
		return true
	case <-ctx.Done():
		return false
	}
}

// open asks until the operator may watch the namespace, or ctx ends.
func (b *barrier) open(ctx context.Context) {
	for pause := firstAsk; ; pause = min(2*pause, lastAsk) {
		why := b.ask(ctx)
		if why == "" {
			break
		}
		if before := b.reason.Swap(&why); ctx.Err() == nil && (before == nil || *before != why) {
			b.log.WarnContext(ctx, "A namespace of --watch-namespaces is not watched: grant the operator its Role there, or take it out of the list",
				"watched", b.namespace, "reason", why)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
	if b.reason.Load() != nil {
		b.log.InfoContext(ctx, "The namespace is watched now", "watched", b.namespace)
	}
	close(b.opened)
}

// ask returns what the operator may not do in the namespace; empty if nothing.
func (b *barrier) ask(ctx context.Context) string {
	var missing []string
	for _, kind := range b.kinds {
		for _, verb := range []string{"list", "watch"} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: b.namespace, Group: kind.Group, Resource: kind.Resource, Verb: verb},
			}}
			answer, err := b.reviews.Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return fmt.Sprintf("failed to ask whether the operator may %s %s: %v", verb, kind, err)
			}
			if !answer.Status.Allowed {
				missing = append(missing, verb+" "+kind.String())
			}
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "the operator may not " + strings.Join(missing, ", ")
}

// behind is the cache of a namespace behind its barrier. To the manager it is no
// cache, since it would wait for that before it starts anything.
type behind struct {
	part    cluster.Cluster
	barrier *barrier
}

// NeedLeaderElection is false: a replica in waiting has its cache filled.
func (*behind) NeedLeaderElection() bool { return false }

// Start runs the cache until ctx ends, once the barrier is open.
func (b *behind) Start(ctx context.Context) error {
	b.barrier.open(ctx)
	if b.barrier.closed() != "" {
		return nil
	}
	return b.part.Start(ctx)
}

// watchedKinds are those that a cache of one namespace lists there.
func watchedKinds(scheme *runtime.Scheme, mapper meta.RESTMapper) ([]schema.GroupResource, error) {
	var kinds []schema.GroupResource
	for object := range controllers.CacheOptions().ByObject {
		kind, err := apiutil.GVKForObject(object, scheme)
		if err != nil {
			return nil, fmt.Errorf("failed to name %T: %w", object, err)
		}
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return nil, fmt.Errorf("failed to find %s in the cluster: %w", kind, err)
		}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			kinds = append(kinds, mapping.Resource.GroupResource())
		}
	}
	slices.SortFunc(kinds, func(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) })
	return kinds, nil
}
