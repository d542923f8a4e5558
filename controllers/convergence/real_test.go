// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/test/apiserver"
)

// admin reads from and writes to the API server of these tests.
var admin client.Client

func TestMain(m *testing.M) {
	apiserver.Main(m, func(server *apiserver.Server) (_ func() error, err error) {
		admin, err = client.New(server.Config, client.Options{})
		return nil, err
	})
}

// newPod creates one that never runs: there is no kubelet.
func newPod(t *testing.T) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "orders-mcp-", Annotations: map[string]string{"example.com/kept": "yes"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "runtime", Image: "example.com/runtime:1"}}},
	}
	if err := admin.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// The poke sets annotations through pods/status, and nothing else.
func TestPoke(t *testing.T) {
	t.Parallel()
	pod := newPod(t)
	key := client.ObjectKeyFromObject(pod)
	poker := convergence.NewPoker(admin)
	if err := poker.Poke(t.Context(), key, pod.UID, map[string]string{fairleadv1alpha1.AnnotationConfigRevision: "r1-1"}); err != nil {
		t.Fatal(err)
	}
	got := &corev1.Pod{}
	if err := admin.Get(t.Context(), key, got); err != nil {
		t.Fatal(err)
	}
	if got.Annotations[fairleadv1alpha1.AnnotationConfigRevision] != "r1-1" || got.Annotations["example.com/kept"] != "yes" {
		t.Errorf("annotations %v", got.Annotations)
	}
	if !equality.Semantic.DeepEqual(got.Spec, pod.Spec) || !equality.Semantic.DeepEqual(got.Status, pod.Status) {
		t.Error("more than the annotations has changed")
	}
}

// A deletion cost comes to a pod in the same way.
func TestDeletionCostOfARealPod(t *testing.T) {
	t.Parallel()
	pod := newPod(t)
	told := make(chan struct{}, 10)
	pool := convergence.New(convergence.Options{
		Poker: convergence.NewPoker(admin), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Dial: loopback(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"revision":"r1","streams":40,"sessions":30}`)
		})),
		Changed: func(types.NamespacedName) { told <- struct{}{} },
	})
	start(t, pool)
	target := convergence.Target{Server: orders, Revision: "r1", Weigh: true, Pods: []convergence.Pod{{Name: pod.Name, UID: pod.UID, IP: "10.244.0.7"}}}
	target.Server.Namespace = pod.Namespace
	await(t, told, func() string {
		if got := pool.Observe(target); !got.Weighed {
			return "the pod was not weighed"
		}
		return ""
	})
	got := &corev1.Pod{}
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(pod), got); err != nil || got.Annotations[corev1.PodDeletionCost] != "64" {
		t.Errorf("annotations %v, %v", got.Annotations, err)
	}
}

// A pod of the same name with another uid, and one that is gone, are no news:
// the pool hears of them through the cache.
func TestPokeOfAnotherPod(t *testing.T) {
	t.Parallel()
	pod := newPod(t)
	for _, tt := range []struct {
		name string
		key  types.NamespacedName
		uid  types.UID
	}{
		{name: "another uid", key: client.ObjectKeyFromObject(pod), uid: "5ad1ba1b-0000-4000-8000-000000000000"},
		{name: "gone", key: types.NamespacedName{Namespace: "default", Name: "gone"}, uid: pod.UID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{}, 10)
			pool := convergence.New(convergence.Options{
				Poker: convergence.NewPoker(admin), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
				Dial:    loopback(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"revision":"r1"}`) })),
				Changed: func(types.NamespacedName) { told <- struct{}{} },
			})
			start(t, pool)
			target := convergence.Target{Server: orders, Revision: "r2", Pods: []convergence.Pod{{Name: tt.key.Name, UID: tt.uid, IP: "10.244.0.7"}}}
			target.Server.Namespace = tt.key.Namespace
			await(t, told, func() string {
				if got := pool.Observe(target); got.State != convergence.NoPods {
					return fmt.Sprintf("got %s: %s", got.State, got.Message)
				}
				return ""
			})
			got := &corev1.Pod{}
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(pod), got); err != nil || got.Annotations[fairleadv1alpha1.AnnotationConfigRevision] != "" {
				t.Errorf("the other pod was poked: %v, %v", got.Annotations, err)
			}
		})
	}
}

// What the API server does not want is an error that says so.
func TestPokeThatIsInvalid(t *testing.T) {
	t.Parallel()
	pod := newPod(t)
	poker := convergence.NewPoker(admin)
	err := poker.Poke(t.Context(), client.ObjectKeyFromObject(pod), pod.UID, map[string]string{"not a key": "x"})
	if !apierrors.IsInvalid(err) {
		t.Errorf("got %v", err)
	}
}

// loopback returns a dialer that takes every address to one real server.
func loopback(t *testing.T, handler http.Handler) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
}

// start runs a pool until the test ends.
func start(t *testing.T, pool *convergence.Pool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pool.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// await looks whenever something is told, until there is no complaint.
func await(t *testing.T, told <-chan struct{}, look func() string) {
	t.Helper()
	complaint := look()
	for complaint != "" {
		select {
		case <-told:
			complaint = look()
		case <-time.After(20 * time.Second):
			t.Fatal(complaint)
		}
	}
}

// What may sit at a pod's address and answer badly.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		answer     http.HandlerFunc
	}{
		{name: "endless", want: "an answer that is no status", answer: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 4096))); err != nil {
					return
				}
			}
		}},
		{name: "a redirect to the operator's own cluster", want: "HTTP status 302", answer: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/status" {
				fmt.Fprint(w, `{"revision":"r1"}`)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}},
		{name: "a mesh", want: "HTTP status 403", answer: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "RBAC: access denied", http.StatusForbidden)
		}},
		{name: "a huge head", want: "connection broken", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 32<<10))
			fmt.Fprint(w, `{"revision":"r1"}`)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{}, 10)
			pool := convergence.New(convergence.Options{
				Poker: silentPoker{}, Logger: slog.New(slog.DiscardHandler), Dial: loopback(t, tt.answer),
				Changed: func(types.NamespacedName) { told <- struct{}{} },
			})
			start(t, pool)
			target := convergence.Target{Server: orders, Revision: "r1", Pods: []convergence.Pod{{Name: "a", UID: "uid-a", IP: "fd00::7"}}}
			await(t, told, func() string {
				if got := pool.Observe(target); got.State != convergence.Unreachable || !strings.Contains(got.Message, "a ("+tt.want+")") {
					return fmt.Sprintf("got %s: %s", got.State, got.Message)
				}
				return ""
			})
		})
	}
}

// silentPoker does nothing.
type silentPoker struct{}

func (silentPoker) Poke(context.Context, types.NamespacedName, types.UID, map[string]string) error {
	return nil
}

// An answer may be long in every field; what is kept of it is not.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 2000)
	problem := fmt.Sprintf(`{"code":%q,"secret":%q,"key":%q,"message":%q}`, long, long, long, long)
	body := fmt.Sprintf(`{"revision":"r1","configError":%q,"keyIDs":[%q],"problems":[%s]}`, long, long, problem)
	told := make(chan struct{}, 10)
	pool := convergence.New(convergence.Options{
		Poker: silentPoker{}, Logger: slog.New(slog.DiscardHandler),
		Dial:    loopback(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })),
		Changed: func(types.NamespacedName) { told <- struct{}{} },
	})
	start(t, pool)
	target := convergence.Target{Server: orders, Revision: "r2", Pods: []convergence.Pod{{Name: "a", UID: "uid-a", IP: "10.244.0.7", Poked: "r2-2"}}}
	var got convergence.Report
	await(t, told, func() string {
		if got = pool.Observe(target); got.State != convergence.Refused {
			return fmt.Sprintf("got %s: %s", got.State, got.Message)
		}
		return ""
	})
	if len(got.Message) > 1024 {
		t.Errorf("a message of %d bytes", len(got.Message))
	}
	if p := got.Problems[0]; len(p.Code) > 256 || len(p.Secret) > 256 || len(p.Key) > 256 || len(p.Message) > 512 || !strings.HasSuffix(p.Message, "é …") {
		t.Errorf("problem %+v", p)
	}
}
