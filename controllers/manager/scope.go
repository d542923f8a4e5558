// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"fairlead.dev/fairlead/controllers"
)

// scope is the part of the cluster that one controller serves: all of it, or
// one namespace. It looks like the manager, but reads and indexes its own part
// only.
//
// One cache over several namespaces would be simpler and wrong: a client that
// must read its own writes waits until its cache has seen as new a version as it
// wrote, and in such a cache an event of one namespace would end the wait for
// another (controller-runtime says so of EnableReadYourWritesConsistency).
type scope struct {
	ctrl.Manager
	// part replaces the manager's own cache and client; nil: all of the cluster.
	part cluster.Cluster
	// barrier is closed while the part may not be watched; nil for all of the cluster.
	barrier *barrier
	// before runs once this replica leads, before the controller works.
	before func(context.Context) error
}

// GetCache returns the cache of the scope.
func (s *scope) GetCache() cache.Cache {
	if s.part == nil {
		return s.Manager.GetCache()
	}
	return s.part.GetCache()
}

// GetClient returns the client that reads from it.
func (s *scope) GetClient() client.Client {
	if s.part == nil {
		return s.Manager.GetClient()
	}
	return s.part.GetClient()
}

// GetFieldIndexer returns the indexer of it.
func (s *scope) GetFieldIndexer() client.FieldIndexer {
	if s.part == nil {
		return s.Manager.GetFieldIndexer()
	}
	return s.part.GetFieldIndexer()
}

// controller is what a controller is to a manager.
type controller interface {
	ctrlmanager.Runnable
	ctrlmanager.LeaderElectionRunnable
	Warmup(ctx context.Context) error
}

// Add adds a runnable; a controller waits for what must be done before.
func (s *scope) Add(r ctrlmanager.Runnable) error {
	if c, ok := r.(controller); ok {
		r = &prepared{controller: c, barrier: s.barrier, before: s.before}
	}
	return s.Manager.Add(r)
}

// prepared is a controller that starts after something else is done.
type prepared struct {
	controller
	barrier *barrier
	before  func(context.Context) error
}

// Warmup fills the controller's queue before this replica leads.
func (p *prepared) Warmup(ctx context.Context) error {
	if !p.barrier.wait(ctx) {
		return nil
	}
	return p.controller.Warmup(ctx)
}

// Start runs the controller until ctx ends.
func (p *prepared) Start(ctx context.Context) error {
	if !p.barrier.wait(ctx) {
		return nil
	}
	if err := p.before(ctx); err != nil {
		return err
	}
	return p.controller.Start(ctx)
}

// newScopes returns a scope for each namespace that is to be watched, by its
// name, or one under "" for all.
func newScopes(mgr ctrl.Manager, cfg *rest.Config, o Options, may rights, log *slog.Logger) (map[string]*scope, error) {
	if len(o.WatchNamespaces) == 0 {
		return map[string]*scope{"": {Manager: mgr}}, nil
	}
	reviews, err := authorizationclient.NewForConfigAndClient(cfg, mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("failed to ask for the operator's rights: %w", err)
	}
	kinds, err := watchedKinds(mgr.GetScheme(), mgr.GetRESTMapper())
	if err != nil {
		return nil, err
	}
	scopes := map[string]*scope{}
	for _, namespace := range o.WatchNamespaces {
		part, err := cluster.New(cfg, func(c *cluster.Options) {
			c.Scheme, c.Logger, c.HTTPClient = mgr.GetScheme(), mgr.GetLogger(), mgr.GetHTTPClient()
			c.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mgr.GetRESTMapper(), nil }
			c.Cache = cacheOptions(may)
			c.Cache.DefaultNamespaces = map[string]cache.Config{namespace: {}}
			c.Client = clientOptions()
		})
		if err != nil {
			return nil, fmt.Errorf("failed to set up namespace %q: %w", namespace, err)
		}
		front := &barrier{namespace: namespace, kinds: kinds, reviews: reviews.SelfSubjectAccessReviews(), log: log, opened: make(chan struct{})}
		if err := mgr.Add(&behind{part: part, barrier: front}); err != nil {
			return nil, fmt.Errorf("failed to set up namespace %q: %w", namespace, err)
		}
		scopes[namespace] = &scope{Manager: mgr, part: part, barrier: front}
	}
	return scopes, nil
}

func cacheOptions(may rights) cache.Options {
	options := controllers.CacheOptions()
	if !may.readIngressClasses {
		options.NewInformer = withoutIngressClasses
	}
	return options
}

func clientOptions() client.Options {
	return client.Options{
		FieldOwner: controllers.FieldOwner,
		// A reconcile that follows a write must see it, or it would write again.
		Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)},
	}
}

// everywhere reads from the caches of all scopes whose barriers are open.
type everywhere map[string]*scope

// Get reads from the scope of the namespace.
func (e everywhere) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	for _, namespace := range []string{key.Namespace, ""} {
		s, ok := e[namespace]
		if !ok {
			continue
		}
		if reason := s.barrier.closed(); reason != "" {
			return fmt.Errorf("failed to read %q: namespace %q is not watched: %s", key.Name, key.Namespace, reason)
		}
		return s.GetCache().Get(ctx, key, object, opts...)
	}
	return fmt.Errorf("failed to read %q: namespace %q is not watched", key.Name, key.Namespace)
}

// List reads from all scopes, in no order.
func (e everywhere) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var all []runtime.Object
	for _, s := range e {
		if s.barrier.closed() != "" {
			continue
		}
		part, ok := list.DeepCopyObject().(client.ObjectList)
		if !ok {
			return fmt.Errorf("failed to copy %T", list)
		}
		if err := s.GetCache().List(ctx, part, opts...); err != nil {
			return err
		}
		items, err := meta.ExtractList(part)
		if err != nil {
			return fmt.Errorf("failed to read the items of %T: %w", part, err)
		}
		all = slices.Concat(all, items)
	}
	return meta.SetList(list, all)
}

// synced reports whether all caches are filled, as far as ctx lets it wait. A
// namespace that may not be watched makes nobody wait; see closed.
func (e everywhere) synced(ctx context.Context) bool {
	for _, s := range e {
		if s.barrier.asked() && s.barrier.closed() != "" {
			continue
		}
		if !s.GetCache().WaitForCacheSync(ctx) {
			return false
		}
	}
	return true
}

// closed says which namespaces are not watched, and why, sorted.
func (e everywhere) closed() []string {
	var lines []string
	for namespace, s := range e {
		if reason := s.barrier.closed(); reason != "" {
			lines = append(lines, fmt.Sprintf("namespace %q is not watched: %s", namespace, reason))
		}
	}
	slices.Sort(lines)
	return lines
}
