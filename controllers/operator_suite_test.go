// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/rollout"
	"fairlead.dev/fairlead/controllers/verify"
	"fairlead.dev/fairlead/test/apiserver"
)

// runtimeImage is that of the operators of the stories.
const runtimeImage = "fairlead.invalid/fairlead-runtime:dev"

// setting is what operators of the stories differ in. The zero value is of the
// one that most stories share.
type setting struct {
	// image is of the runtime; empty: runtimeImage.
	image string
	// limits are the operator's on what servers may ask for.
	limits resources.Limits
	// label is of the servers that it serves (operatorLabel); empty: those
	// without.
	label string
	// now tells the time; nil: the real one.
	now func() time.Time
	// unverified runs it with --verification=Off.
	unverified bool
}

// operatorLabel says which operator serves a server, where several run at once.
const operatorLabel = "test.fairlead.dev/operator"

// cacheOf is the cache of an operator that sees its own servers only.
func cacheOf(o setting) (cache.Options, error) {
	selector := "!" + operatorLabel
	if o.label != "" {
		selector = operatorLabel + "=" + o.label
	}
	parsed, err := labels.Parse(selector)
	options := controllers.CacheOptions()
	for object, by := range options.ByObject {
		if _, ok := object.(*fairleadv1alpha1.MCPServer); ok {
			by.Label = parsed
			options.ByObject[object] = by
		}
	}
	return options, err
}

// startOperator runs an operator with the generated rights until ctx ends; the
// channel then yields its error. In the place of the network it has fakes.
func startOperator(ctx context.Context, o setting, fakes *pods, requests *apiserver.Recorder) (<-chan error, error) {
	cfg := rest.CopyConfig(suite.operator)
	cfg.QPS = -1
	cfg.Wrap(requests.Wrap)
	logger := logr.FromSlogHandler(slog.NewJSONHandler(suite.logs, nil))
	ctrl.SetLogger(logger)
	scheme, err := manager.Scheme()
	if err != nil {
		return nil, err
	}
	caches, err := cacheOf(o)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Logger: logger, Cache: caches,
		Client: client.Options{
			FieldOwner: controllers.FieldOwner,
			Cache:      &client.CacheOptions{EnableReadYourWritesConsistency: new(true)},
		},
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: ctrlconfig.Controller{MaxConcurrentReconciles: 8, SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, err
	}
	counts, err := controllers.NewMetrics(prometheus.NewRegistry(), mgr.GetCache())
	if err != nil {
		return nil, err
	}
	deriver, err := keys.NewDeriver(bytes.Repeat([]byte{7}, keys.MasterSize))
	if err != nil {
		return nil, err
	}
	r := &controllers.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder(controllers.FieldOwner),
		Defaults: resources.Defaults{RuntimeImage: cmp.Or(o.image, runtimeImage), Replicas: 2, Limits: o.limits},
		Metrics:  counts, Keys: deriver, Now: o.now,
	}
	fakes.start(r.Changed)
	r.Convergence, r.Rollouts = fakes, rollout.New(3, 3, r.Changed)
	if !o.unverified {
		r.Verifier = fakes.clients()
	}
	if err := r.SetupWithManager(ctx, mgr); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return done, nil
}

// startManager runs an operator as its program does.
func startManager(ctx context.Context, o manager.Options) (<-chan error, error) {
	logger := logr.FromSlogHandler(slog.NewJSONHandler(suite.logs, nil))
	mgr, err := manager.New(ctx, suite.operator, o, logger, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return done, nil
}

func options() manager.Options {
	return manager.Options{
		RuntimeImage:            runtimeImage,
		DefaultReplicas:         2,
		ClusterDomain:           "cluster.local",
		MetricsBindAddress:      "0",
		HealthProbeBindAddress:  "127.0.0.1:0",
		MaxConcurrentReconciles: 8,
		MaxConcurrentRollouts:   5,
		Verification:            manager.VerificationRequired,
	}
}

// pods stand in for convergence and for the pods behind it: all serve what they
// should, once somebody has asked twice. A story may say otherwise for its
// namespace.
type pods struct {
	mu      sync.Mutex // guards all below
	changed func(types.NamespacedName)
	// targets are the latest of each server, asked those that were asked for.
	targets map[types.NamespacedName]convergence.Target
	served  map[types.NamespacedName]verify.Target
	say     map[string]func(convergence.Target) convergence.Report
	tell    map[string]func(verify.Target) verify.Report
}

// operator runs an operator of the story's own until the returned function is
// called, and makes its pods the story's.
func (s *story) operator(o setting) (requests *apiserver.Recorder, stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	requests, s.pods = &apiserver.Recorder{}, &pods{}
	done, err := startOperator(ctx, o, s.pods, requests)
	if err != nil {
		s.Fatal(err)
	}
	return requests, func() {
		cancel()
		if err := <-done; err != nil {
			s.Error(err)
		}
	}
}

func (p *pods) start(changed func(types.NamespacedName)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = changed
	p.targets, p.served = map[types.NamespacedName]convergence.Target{}, map[types.NamespacedName]verify.Target{}
	if p.say == nil {
		p.say, p.tell = map[string]func(convergence.Target) convergence.Report{}, map[string]func(verify.Target) verify.Report{}
	}
}

// Observe answers Pending first and calls back, as the real one does.
func (p *pods) Observe(t convergence.Target) convergence.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.targets[t.Server]
	p.targets[t.Server] = t
	if say := p.say[t.Server.Namespace]; say != nil {
		return say(t)
	}
	if !known || before.Revision != t.Revision || !slices.Equal(before.KeyIDs, t.KeyIDs) {
		p.changed(t.Server)
		return convergence.Report{Revision: t.Revision, State: convergence.Pending}
	}
	return convergence.Report{Revision: t.Revision, State: convergence.Converged, KeyIDs: t.KeyIDs, Refreshed: t.Refresh, Weighed: t.Weigh}
}

func (p *pods) Forget(server types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.targets, server)
}

// target returns what the pods of a server should hold.
func (p *pods) target(server client.Object) convergence.Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.targets[client.ObjectKeyFromObject(server)]
}

// verified reports whether a client asks a server.
func (p *pods) verified(server client.Object) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, asks := p.served[client.ObjectKeyFromObject(server)]
	return asks
}

// clients returns the verifier's part.
func (p *pods) clients() *clients { return (*clients)(p) }

type clients pods

// Observe answers Pending first and calls back, as the real one does.
func (c *clients) Observe(t verify.Target) verify.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.served[t.Server]
	c.served[t.Server] = t
	if tell := c.tell[t.Server.Namespace]; tell != nil {
		return tell(t)
	}
	if !known || before.Revision != t.Revision || before.Key != t.Key {
		c.changed(t.Server)
		return verify.Report{Revision: t.Revision, State: verify.Pending}
	}
	return verify.Report{Revision: t.Revision, State: verify.Passed, ServerInfo: verify.ServerInfo{Name: t.Server.Name, Version: "dev"}}
}

func (c *clients) Forget(server types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.served, server)
}

// podsSay makes the pods of the story's servers answer otherwise; nil: as usual.
func (s *story) podsSay(say func(convergence.Target) convergence.Report) {
	s.pods.mu.Lock()
	s.pods.say[s.namespace] = say
	s.pods.mu.Unlock()
	s.lookAgain()
}

// clientsSay makes clients of the story's servers get something else; nil: what
// they should.
func (s *story) clientsSay(tell func(verify.Target) verify.Report) {
	s.pods.mu.Lock()
	s.pods.tell[s.namespace] = tell
	s.pods.mu.Unlock()
	s.lookAgain()
}

func (s *story) lookAgain() {
	p := s.pods
	p.mu.Lock()
	var names []types.NamespacedName
	for name := range p.targets {
		if name.Namespace == s.namespace {
			names = append(names, name)
		}
	}
	p.mu.Unlock()
	for _, name := range names {
		p.changed(name)
	}
}
