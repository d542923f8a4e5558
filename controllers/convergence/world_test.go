// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
)

// orders is the server of most tests.
var orders = types.NamespacedName{Namespace: "shop", Name: "orders"}

// syncs is how long the kubelet of these tests takes after a poke, as measured.
const syncs = 250 * time.Millisecond

// process is a pod with a runtime in it, as far as the pool can see.
type process struct {
	pod convergence.Pod
	// status is what /status answers.
	status map[string]any
	// mounted is what the status becomes when the kubelet syncs; nil: nothing.
	mounted map[string]any
	// deaf is how many pokes come before the kubelet knows of a change.
	deaf int
	// silent never answers, closed refuses connections.
	silent, closed bool
	// answers counts questions, times says when.
	answers int
}

// world holds processes, an HTTP server for all of them, and a pool. All runs in
// a bubble of synctest: connections are pipes.
type world struct {
	*testing.T
	pool *convergence.Pool
	stop context.CancelFunc
	conn chan net.Conn

	mu        sync.Mutex // guards what follows
	processes map[string]*process
	// pokes are those that were sent, as `pod annotation=value ...`, without the
	// API's prefix; refuse is what they are answered with.
	pokes  []string
	refuse error
	// told counts the calls of Changed.
	told int
	// flying and most count requests that run at once.
	flying, most int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, conn: make(chan net.Conn), processes: map[string]*process{}}
	w.pool = convergence.New(convergence.Options{
		Poker: w, Dial: w.dial, Logger: slog.New(slog.DiscardHandler),
		Changed: func(types.NamespacedName) { w.locked(func() { w.told++ }) },
	})
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	web := &http.Server{Handler: w, ReadHeaderTimeout: time.Minute}
	var running sync.WaitGroup
	running.Go(func() { _ = web.Serve(w) })
	running.Go(func() {
		if err := w.pool.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		_ = web.Close()
		running.Wait()
	})
	return w
}

func (w *world) locked(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// Accept, Close and Addr make the world the listener of all its processes.
func (w *world) Accept() (net.Conn, error) {
	if c, ok := <-w.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (w *world) Close() error { close(w.conn); return nil }

func (w *world) Addr() net.Addr { return &net.IPAddr{} }

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p := w.at(address)
	if p == nil || p.closed {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	select {
	case w.conn <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *world) at(address string) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		if address == net.JoinHostPort(p.pod.IP, "8081") {
			return p
		}
	}
	return nil
}

// ServeHTTP answers for the process that is asked.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	p := w.at(r.Host)
	w.locked(func() { p.answers++; w.flying++; w.most = max(w.most, w.flying) })
	defer w.locked(func() { w.flying-- })
	if p.silent {
		<-r.Context().Done()
		return
	}
	var body []byte
	w.locked(func() { body, _ = json.Marshal(p.status) })
	_, _ = out.Write(body)
}

// Poke does what the API server and the kubelet do.
func (w *world) Poke(_ context.Context, name types.NamespacedName, uid types.UID, annotations map[string]string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := name.Name
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		text += " " + key[strings.Index(key, "/")+1:] + "=" + annotations[key]
	}
	w.pokes = append(w.pokes, text)
	p := w.processes[name.Name]
	switch {
	case w.refuse != nil:
		return w.refuse
	case p == nil || p.pod.UID != uid:
		return errGone
	}
	if cost, found := annotations[corev1.PodDeletionCost]; found {
		p.pod.Cost = cost
		return nil
	}
	p.pod.Poked = annotations[fairleadv1alpha1.AnnotationConfigRevision]
	if value := annotations[fairleadv1alpha1.AnnotationRefreshedAt]; value != "" {
		p.pod.Refreshed = value
	}
	p.deaf--
	if p.deaf < 0 {
		time.AfterFunc(syncs, func() { w.kubelet(name.Name) })
	}
	return nil
}

// kubelet syncs the volumes of a pod.
func (w *world) kubelet(name string) {
	w.locked(func() {
		if p := w.processes[name]; p != nil {
			maps.Copy(p.status, p.mounted)
		}
	})
}

// add makes processes that serve a revision, named a, b, c...
func (w *world) add(count int, revision string) {
	w.locked(func() {
		for range count {
			n := len(w.processes)
			name := string(rune('a'+n%26)) + strings.Repeat("x", n/26)
			w.processes[name] = &process{
				pod:    convergence.Pod{Name: name, UID: types.UID("uid-" + name), IP: fmt.Sprintf("10.244.%d.%d", n/200, n%200+1)},
				status: map[string]any{"revision": revision, "configError": "", "keyIDs": []string{"k1", "k2"}},
			}
		}
	})
}

// change edits all processes, or those that are named.
func (w *world) change(do func(*process), names ...string) {
	w.locked(func() {
		for name, p := range w.processes {
			if len(names) == 0 || slices.Contains(names, name) {
				do(p)
			}
		}
	})
}

// target wants all processes to serve a revision.
func (w *world) target(revision string) convergence.Target {
	t := convergence.Target{Server: orders, Revision: revision, KeyIDs: []string{"k1", "k2"}}
	w.change(func(p *process) { t.Pods = append(t.Pods, p.pod) })
	return t
}

// after lets time pass and returns what is known then.
func (w *world) after(d time.Duration, t convergence.Target) convergence.Report {
	w.Helper()
	time.Sleep(d)   //nolint:forbidigo // The bubble's time.
	synctest.Wait() // Whatever is due has happened.
	return w.pool.Observe(t)
}

// poked returns the pokes since the last call, sorted.
func (w *world) poked() []string {
	var pokes []string
	w.locked(func() { pokes, w.pokes = w.pokes, nil })
	slices.Sort(pokes)
	return pokes
}

// asked returns how many questions there were since the last call.
func (w *world) asked() int {
	sum := 0
	w.change(func(p *process) { sum += p.answers; p.answers = 0 })
	return sum
}

// changes returns how often Changed was called since the last call.
func (w *world) changes() int {
	var n int
	w.locked(func() { n, w.told = w.told, 0 })
	return n
}

// converged brings the pool to rest with all processes at a revision.
func (w *world) converged(revision string) {
	w.Helper()
	t := w.target(revision)
	w.pool.Observe(t)
	if got := w.after(time.Second, t); got.State != convergence.Converged {
		w.Fatalf("before the test: %s: %s", got.State, got.Message)
	}
	w.poked()
	w.asked()
	w.changes()
}

// errGone is what the API server says of a pod that is not there.
var errGone = apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "a")
