// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/test/apiserver"
)

// patience bounds every wait.
const patience = 10 * time.Minute

// creators is how many servers are created at once.
const creators = 16

// bench is an API server with etcd, stand-ins for the nodes, and a client that
// may do anything.
type bench struct {
	ctx   context.Context //nolint:containedctx // One run of a program: it ends with it.
	log   *slog.Logger
	api   *apiserver.Server
	admin client.WithWatch
	nodes *nodes
	stop  func() error
	// manifest is the MCPServer of which all are copies.
	manifest fairleadv1alpha1.MCPServer
}

// newBench starts all of it.
func newBench(ctx context.Context) (*bench, error) {
	api, err := apiserver.Start()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &bench{ctx: ctx, log: quietLog(), api: api}
	if err := b.prepare(); err != nil {
		cancel()
		return nil, errors.Join(err, api.Stop())
	}
	done := make(chan error, 1)
	go func() { done <- b.nodes.run(ctx) }()
	b.stop = func() error {
		cancel()
		return errors.Join(<-done, api.Stop())
	}
	return b, nil
}

func (b *bench) prepare() error {
	scheme, err := manager.Scheme()
	if err != nil {
		return err
	}
	if b.admin, err = client.NewWithWatch(b.api.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("failed to make a client: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(apiserver.Root(), "controllers", "resources", "testdata", "orders", "server.yaml"))
	if err != nil {
		return fmt.Errorf("failed to read the manifest: %w", err)
	}
	if err := yaml.UnmarshalStrict(data, &b.manifest); err != nil {
		return fmt.Errorf("failed to read the manifest: %w", err)
	}
	b.manifest.UID = ""
	b.nodes = newNodes(b.admin)
	return b.namespace(system)
}

func (b *bench) namespace(name string) error {
	if err := b.admin.Create(b.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return fmt.Errorf("failed to create namespace %q: %w", name, err)
	}
	return nil
}

func (b *bench) poker(cfg *rest.Config) (convergence.Poker, error) {
	direct, err := client.New(cfg, client.Options{Scheme: b.admin.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("failed to make a client: %w", err)
	}
	return convergence.NewPoker(direct), nil
}

// serverName returns the name of the i-th server.
func serverName(i int) string { return fmt.Sprintf("s%05d", i) }

// create creates servers with the numbers from first to before last.
func (b *bench) create(namespace string, first, last int) error {
	return b.each(first, last, creators, func(i int) error {
		server := b.manifest.DeepCopy()
		server.Namespace, server.Name = namespace, serverName(i)
		return b.admin.Create(b.ctx, server)
	})
}

// each does something for all numbers, some at once, and returns the first error.
func (b *bench) each(first, last, atOnce int, do func(i int) error) error {
	numbers := make(chan int)
	errs := make(chan error, atOnce)
	var working sync.WaitGroup
	for range atOnce {
		working.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					select {
					case errs <- fmt.Errorf("failed for server %d: %w", i, err):
					default:
					}
				}
			}
		})
	}
	for i := first; i < last; i++ {
		numbers <- i
	}
	close(numbers)
	working.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// applied says whether all children of a server were applied and its status says
// so.
func applied(server *fairleadv1alpha1.MCPServer) bool {
	return server.Status.ObservedGeneration == server.Generation && meta.IsStatusConditionTrue(server.Status.Conditions, fairleadv1alpha1.ConditionAccepted)
}

// ready says whether a server is.
func ready(server *fairleadv1alpha1.MCPServer) bool {
	return applied(server) && meta.IsStatusConditionTrue(server.Status.Conditions, fairleadv1alpha1.ConditionReady)
}

// watcher notes when servers of a namespace first are as they should be.
type watcher struct {
	namespace string
	mu        sync.Mutex // guards seen
	seen      map[string]time.Time
	enough    chan struct{}
	failed    chan error
	stop      func()
}

// await begins to watch until count servers of a namespace are as is says.
func (b *bench) await(namespace string, count int, is func(*fairleadv1alpha1.MCPServer) bool) *watcher {
	ctx, stop := context.WithCancel(b.ctx)
	w := &watcher{namespace: namespace, seen: map[string]time.Time{}, enough: make(chan struct{}), failed: make(chan error, 1), stop: stop}
	opened := make(chan struct{})
	go func() {
		w.failed <- follow(ctx, b.admin, &fairleadv1alpha1.MCPServerList{}, sync.OnceFunc(func() { close(opened) }), func(object client.Object) {
			if server, ok := object.(*fairleadv1alpha1.MCPServer); ok && is(server) {
				w.note(server.Name, count)
			}
		}, client.InNamespace(namespace))
	}()
	select {
	case <-opened:
	case <-ctx.Done():
	case err := <-w.failed:
		w.failed <- err
	}
	return w
}

func (w *watcher) note(name string, count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, found := w.seen[name]; found {
		return
	}
	w.seen[name] = time.Now()
	if len(w.seen) == count {
		close(w.enough)
	}
}

// wait returns when all of them are, and the time of the last.
func (b *bench) wait(w *watcher) (time.Time, error) {
	defer w.stop()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.enough:
	case err := <-b.nodes.failed:
		return time.Time{}, err
	case err := <-w.failed:
		return time.Time{}, err
	case <-b.ctx.Done():
		return time.Time{}, errors.New("the bench was stopped")
	case <-timer.C:
		return time.Time{}, b.complain(w)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var last time.Time
	for _, at := range w.seen {
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}

// complain tells of a server that is not as it should be.
func (b *bench) complain(w *watcher) error {
	var servers fairleadv1alpha1.MCPServerList
	if err := b.admin.List(b.ctx, &servers, client.InNamespace(w.namespace)); err != nil {
		return fmt.Errorf("failed to list MCPServers: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range servers.Items {
		if _, found := w.seen[servers.Items[i].Name]; !found {
			return fmt.Errorf("after %s only %d of %d servers are as they should be; %s: %+v", patience, len(w.seen), len(servers.Items), servers.Items[i].Name, servers.Items[i].Status.Conditions)
		}
	}
	return fmt.Errorf("after %s only %d servers are there", patience, len(w.seen))
}
