// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/rollout"
	"fairlead.dev/fairlead/controllers/verify"
)

// failuresThatStop is how many failed servers stop a wave of roll-outs.
const failuresThatStop = 3

// fleetTimeout bounds how long the first look at a server waits for the caches of
// other namespaces.
const fleetTimeout = 10 * time.Second

// reconcilers are those of all scopes, by namespace.
type reconcilers map[string]*controllers.Reconciler

// changed looks at a server again, by whichever reconciler has it.
func (r reconcilers) changed(server types.NamespacedName) {
	for _, namespace := range []string{server.Namespace, ""} {
		if found, ok := r[namespace]; ok {
			found.Changed(server)
			return
		}
	}
}

// addControllers adds a controller for each scope, and what they share: the
// pools that ask pods and Services, the pace of roll-outs, and the master key.
func addControllers(ctx context.Context, mgr ctrl.Manager, scopes map[string]*scope, o Options, counts *controllers.Metrics, log *slog.Logger, edits []func(*controllers.Reconciler)) error {
	// Neither pokes nor the master key are ever read back through a cache.
	direct, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("failed to set up a client: %w", err)
	}
	all := reconcilers{}
	pool := convergence.New(convergence.Options{Poker: convergence.NewPoker(direct), Changed: all.changed, Logger: log})
	rollouts := rollout.New(cmp.Or(o.MaxConcurrentRollouts, defaultRollouts), failuresThatStop, all.changed)
	if err := mgr.Add(pool); err != nil {
		return fmt.Errorf("failed to add the convergence of pods: %w", err)
	}
	// An interface with a nil *Pool in it would not be nil.
	var verifier controllers.Verifier
	if o.Verification != VerificationOff {
		checks := verify.New(verify.Options{Changed: all.changed, Logger: log})
		if err := mgr.Add(checks); err != nil {
			return fmt.Errorf("failed to add the verification of servers: %w", err)
		}
		verifier = checks
	}
	for namespace, s := range scopes {
		all[namespace] = &controllers.Reconciler{
			Client: s.GetClient(), Live: direct, Recorder: mgr.GetEventRecorder(controllers.FieldOwner),
			Defaults: defaults(o), Metrics: counts, Convergence: pool, Verifier: verifier, Rollouts: rollouts, Fleet: fleet{everywhere(scopes)},
		}
		for _, edit := range edits {
			edit(all[namespace])
		}
	}
	load := masterKey(direct, o.OwnNamespace(), log)
	for namespace, s := range scopes {
		s.before = func(ctx context.Context) error {
			derive, err := load(ctx)
			all[namespace].Keys = derive
			return err
		}
		if err := all[namespace].SetupWithManager(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// fleet is everywhere once all of it is known: what one namespace may begin hangs
// on what is begun in the others. A namespace that may not be watched makes nobody
// wait; it looks again at all when it may.
type fleet struct{ everywhere }

// List reads from all scopes, or says that it is too soon.
func (f fleet) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	ctx, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	if !f.synced(ctx) {
		return errors.New("the caches of all namespaces are not filled yet: this is tried again")
	}
	return f.everywhere.List(ctx, list, opts...)
}

// masterKey returns a function that yields the keys of all servers. The Secret is
// read, or created, when this replica begins to lead and not at its start: one
// that waited must not go on with a key that was deleted meanwhile.
func masterKey(direct client.Client, namespace string, log *slog.Logger) func(context.Context) (*keys.Deriver, error) {
	return func(ctx context.Context) (*keys.Deriver, error) {
		master, err := keys.Master(ctx, direct, direct, namespace)
		if err != nil {
			return nil, err
		}
		derive, err := keys.NewDeriver(master)
		if err == nil {
			derive.Log = log
		}
		return derive, err
	}
}

func defaults(o Options) resources.Defaults {
	return resources.Defaults{
		RuntimeImage: o.RuntimeImage, Replicas: o.DefaultReplicas, ClusterDomain: o.ClusterDomain,
		OperatorNamespace: o.OwnNamespace(), MonitoringNamespaces: o.MonitoringNamespaces,
		Limits: resources.Limits{
			IngressClasses: o.AllowedIngressClasses, HostSuffixes: o.AllowedHostSuffixes,
			AnnotationPrefixes: o.AllowedAnnotationPrefixes, ImagePrefixes: o.AllowedImagePrefixes,
		},
	}
}
