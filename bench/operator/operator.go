// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/controllers/verify"
)

// What kubebuilder's projects had for years: one worker, and client-go's limits
// as controller-runtime set them up to 0.20.
const (
	oldWorkers = 1
	oldQPS     = 20
	oldBurst   = 30
)

// workers is the operator's default.
const workers = 8

// system is the namespace of the operator.
const system = "fairlead-system"

// operator is a running one: the product's manager, cache, reconciler and
// convergence. The verifier alone is a stand-in.
type operator struct {
	requests *recorder
	looks    *looks
	stop     func() error
}

// startOperator runs one until stop is called.
func (b *bench) startOperator(concurrent int, limit flowcontrol.RateLimiter) (*operator, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	op := &operator{requests: newRecorder(), looks: &looks{seen: map[types.NamespacedName]bool{}}}
	op.requests.limit = limit
	cfg := rest.CopyConfig(b.api.Config)
	cfg.Wrap(op.requests.wrap)
	options := manager.Options{
		RuntimeImage: manager.DefaultRuntimeImage, DefaultReplicas: 2, ClusterDomain: "cluster.local",
		MetricsBindAddress: "0", HealthProbeBindAddress: "127.0.0.1:0", Namespace: system,
		MaxConcurrentReconciles: concurrent, MaxConcurrentRollouts: 5, Verification: manager.VerificationRequired,
	}
	poker, err := b.poker(cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	var pool *convergence.Pool
	mgr, err := manager.New(ctx, cfg, options, logr.FromSlogHandler(b.log.Handler()), prometheus.NewRegistry(), func(r *controllers.Reconciler) {
		pool = convergence.New(convergence.Options{Poker: poker, Dial: b.nodes.dial, Changed: r.Changed, Logger: b.log})
		op.looks.Convergence = pool
		r.Convergence, r.Verifier = op.looks, newVerifier(r.Changed)
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("failed to make an operator: %w", err)
	}
	if err := mgr.Add(pool); err != nil {
		cancel()
		return nil, fmt.Errorf("failed to make an operator: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	op.stop = func() error {
		cancel()
		return <-done
	}
	return op, nil
}

// verifier says, a moment after it is asked, that clients are served: there are
// no Services here that would lead to a pod.
type verifier struct {
	changed func(types.NamespacedName)
	mu      sync.Mutex // guards passed
	passed  map[types.NamespacedName]string
}

func newVerifier(changed func(types.NamespacedName)) *verifier {
	return &verifier{changed: changed, passed: map[types.NamespacedName]string{}}
}

// Observe implements controllers.Verifier.
func (v *verifier) Observe(t verify.Target) verify.Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	report := verify.Report{Revision: t.Revision, State: verify.Pending}
	if v.passed[t.Server] == t.Revision {
		report.State, report.ServerInfo = verify.Passed, verify.ServerInfo{Name: t.Server.Name, Version: "bench"}
		return report
	}
	v.passed[t.Server] = t.Revision
	time.AfterFunc(5*time.Millisecond, func() { v.changed(t.Server) })
	return report
}

// Forget implements controllers.Verifier.
func (v *verifier) Forget(server types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.passed, server)
}

// reconciles returns how often controllers have run in this process.
func reconciles() (int, error) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		return 0, fmt.Errorf("failed to gather metrics: %w", err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			sum += metric.GetCounter().GetValue()
		}
	}
	return int(sum), nil
}

// quietly waits until the controller has not run for a while, and returns how
// often it has run since the count that is given.
func (b *bench) quietly(since int) (int, error) {
	last, err := reconciles()
	for unchanged := 0; err == nil && unchanged < 10; {
		if err := b.pause(100 * time.Millisecond); err != nil {
			return 0, err
		}
		var now int
		if now, err = reconciles(); now == last {
			unchanged++
			continue
		}
		last, unchanged = now, 0
	}
	return last - since, err
}

// pause waits unless the bench ends or the nodes have failed.
func (b *bench) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-b.nodes.failed:
		return err
	case <-b.ctx.Done():
		return errors.New("the bench was stopped")
	}
}

// quietLog shows nothing: the log of a thousand servers hides the table.
func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
