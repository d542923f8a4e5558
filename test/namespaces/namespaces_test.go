// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package namespaces_test runs an operator of some namespaces, with Roles in
// those and without any ClusterRole, against a real API server.
package namespaces_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/controllers/verify"
	"fairlead.dev/fairlead/test/apiserver"
)

// home is the operator's own namespace.
const home = "fairlead-system"

// patience bounds every wait; poll is the pause between two looks.
const (
	patience = 60 * time.Second
	poll     = 50 * time.Millisecond
)

// TestWatchedNamespaces: two namespaces are served, the third is left alone, a
// restart writes nothing, and what only a ClusterRole could give is done without.
func TestWatchedNamespaces(t *testing.T) { //nolint:paralleltest // It is alone.
	w := newWorld(t)
	watched, other := []string{"shop", "tools"}, "elsewhere"
	for _, namespace := range append(watched, other) {
		w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	w.grant(watched)
	w.enforce()
	o := options(t, watched)
	requests, logs, stop := w.start(o)
	w.waitReady(o)
	for _, namespace := range append(watched, other) {
		for _, name := range []string{"orders", "ingress-traefik"} {
			w.create(manifest(t, name, namespace))
		}
	}
	for _, namespace := range watched {
		w.serves(namespace)
	}
	w.edit(watched[0])
	w.metricsAreRefused(o)
	for _, want := range []string{"may not read IngressClasses", "schema of MCPServers is not checked"} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	for line := range strings.Lines(logs.String()) {
		if strings.Contains(line, "denied request") {
			t.Errorf("a policy stands in the way: %s", line)
		}
	}
	stop()
	if got := requests.In(other); len(got) > 0 {
		t.Errorf("the operator asked for a namespace that is not its: %q", got)
	}
	w.untouched(other)

	// A restart, and an edit that changes nothing.
	before := reconciles(t)
	o = options(t, watched)
	requests, _, stop = w.start(o)
	w.waitReady(o)
	w.eventually(func() string {
		if seen := reconciles(t) - before; seen < 4 {
			return fmt.Sprintf("%v of 4 servers were looked at", seen)
		}
		return ""
	})
	stop()
	for _, namespace := range watched {
		if got := requests.In(namespace); len(got) > 0 {
			t.Errorf("a restart asked %d times for namespace %q beside its watches, want never: %q", len(got), namespace, got)
		}
	}
}

// TestNamespaceThatMayNotBeWatched: one that does not exist, or where the
// operator has no Role, takes no other down, and is served once it has.
func TestNamespaceThatMayNotBeWatched(t *testing.T) { //nolint:paralleltest // It is alone.
	w := newWorld(t)
	watched := []string{"shop", "late", "gone"}
	for _, namespace := range watched[:2] {
		w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	w.grant(watched[:1])
	o := options(t, watched)
	_, logs, stop := w.start(o)
	defer stop()
	w.waitReady(o)
	for _, namespace := range watched[:2] {
		w.create(manifest(t, "orders", namespace))
	}
	w.serves("shop")
	w.untouched("late")
	code, body := w.get("http://"+o.HealthProbeBindAddress+"/readyz", "")
	for _, want := range []string{`namespace "gone" is not watched: the operator may not list`, `namespace "late" is not watched: the operator may not list`, "watch mcpservers.fairlead.dev"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("/readyz: %d %s, want ok and %s", code, body, want)
		}
	}
	if strings.Contains(body, `"shop"`) {
		t.Errorf("/readyz: %s", body)
	}
	for _, namespace := range watched[1:] {
		if got := strings.Count(logs.String(), `"watched":"`+namespace+`"`); got != 1 {
			t.Errorf("the log tells %d times of namespace %q:\n%s", got, namespace, logs)
		}
	}
	w.grant(watched[1:2])
	w.serves("late")
	w.eventually(func() string {
		if _, body := w.get("http://"+o.HealthProbeBindAddress+"/readyz", ""); strings.Contains(body, `"late"`) {
			return body
		}
		return ""
	})
}

func options(t *testing.T, watched []string) manager.Options {
	t.Helper()
	return manager.Options{
		RuntimeImage: "fairlead.invalid/fairlead-runtime:dev", DefaultReplicas: 2, ClusterDomain: "cluster.local",
		MetricsBindAddress: freeAddress(t), HealthProbeBindAddress: freeAddress(t),
		MaxConcurrentReconciles: 4, MaxConcurrentRollouts: 5, Verification: manager.VerificationRequired,
		Namespace: home, WatchNamespaces: watched, LeaderElect: true,
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// reconciles returns how often controllers have run in this process.
func reconciles(t *testing.T) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == "controller_runtime_reconcile_total" {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func manifest(t *testing.T, name, namespace string) *fairleadv1alpha1.MCPServer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(apiserver.Root(), "controllers", "resources", "testdata", name, "server.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.UnmarshalStrict(data, server); err != nil {
		t.Fatal(err)
	}
	server.Name, server.Namespace, server.UID = name, namespace, ""
	return server
}

// world is the API server, as an administrator and as the operator see it.
type world struct {
	*testing.T
	admin    client.Client
	operator *rest.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := apiserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme, err := manager.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if err := rbacv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t}
	if w.admin, err = client.New(server.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "fairlead-operator"}})
	clients, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	token, err := clients.CoreV1().ServiceAccounts(home).CreateToken(t.Context(), "fairlead-operator", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.operator = rest.AnonymousClientConfig(server.Config)
	w.operator.BearerToken = token.Status.Token
	return w
}

func (w *world) create(object client.Object) {
	w.Helper()
	if err := w.admin.Create(w.Context(), object); err != nil {
		w.Fatal(err)
	}
}

// ensure creates an object that may be there.
func (w *world) ensure(object client.Object) {
	w.Helper()
	if err := client.IgnoreAlreadyExists(w.admin.Create(w.Context(), object)); err != nil {
		w.Fatal(err)
	}
}

// grant gives the rules of config/rbac as Roles: those of the ClusterRole in
// each watched namespace, those of the Role at home.
func (w *world) grant(watched []string) {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(apiserver.Root(), "config", "rbac", "role.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	for document := range strings.SplitSeq(strings.TrimPrefix(string(data), "---\n"), "\n---\n") {
		var role rbacv1.Role
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			w.Fatal(err)
		}
		places := []string{home}
		if role.Kind == "ClusterRole" {
			places = watched
		}
		for _, namespace := range places {
			name := metav1.ObjectMeta{Namespace: namespace, Name: "fairlead-operator"}
			w.ensure(&rbacv1.Role{ObjectMeta: name, Rules: role.Rules})
			w.ensure(&rbacv1.RoleBinding{
				ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "fairlead-operator"},
				Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: home, Name: "fairlead-operator"}},
			})
		}
	}
}

// start runs an operator whose pods serve all that they should.
func (w *world) start(o manager.Options) (requests *apiserver.Recorder, logs *apiserver.Log, stop func()) {
	w.Helper()
	if err := o.Validate(); err != nil {
		w.Fatal(err)
	}
	requests, logs = &apiserver.Recorder{}, &apiserver.Log{}
	cfg := rest.CopyConfig(w.operator)
	cfg.Wrap(requests.Wrap)
	logger := logr.FromSlogHandler(slog.NewJSONHandler(logs, nil))
	ctx, cancel := context.WithCancel(w.Context())
	mgr, err := manager.New(ctx, cfg, o, logger, prometheus.NewRegistry(), func(r *controllers.Reconciler) {
		r.Convergence, r.Verifier = current{}, served{}
	})
	if err != nil {
		cancel()
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return requests, logs, func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("%v\n%s", err, logs)
		}
	}
}

// enforce installs the admission policies, under which all of this must work.
func (w *world) enforce() {
	w.Helper()
	for _, policy := range []string{"secrets", "pods", "children", "deployments"} {
		data, err := os.ReadFile(filepath.Join(apiserver.Root(), "config", "admission", policy+".yaml"))
		if err != nil {
			w.Fatal(err)
		}
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				w.Fatal(err)
			}
			w.create(object)
		}
	}
	operator, err := client.New(w.operator, client.Options{Scheme: w.admin.Scheme()})
	if err != nil {
		w.Fatal(err)
	}
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "probe"}}
	w.eventually(func() string {
		if err := operator.Create(w.Context(), probe.DeepCopy(), client.DryRunAll); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return fmt.Sprintf("the policies are not minded yet: %v", err)
		}
		return ""
	})
}

// edit changes a server in all the ways that write differently: live, by new
// pods, by an autoscaler and back, and by taking the Ingress away.
func (w *world) edit(namespace string) {
	w.Helper()
	for _, patch := range []string{
		`{"spec":{"instructions":"Look up orders."}}`,
		`{"spec":{"auth":{"apiKeys":{"secretRef":{"name":"other-keys"}}}}}`,
		`{"spec":{"replicas":null,"autoscaling":{"maxReplicas":4}}}`,
		`{"spec":{"replicas":3,"autoscaling":null}}`,
		`{"spec":{"exposure":null}}`,
	} {
		for _, name := range []string{"orders", "ingress-traefik"} {
			server := &fairleadv1alpha1.MCPServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			if err := w.admin.Patch(w.Context(), server, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
				w.Fatal(err)
			}
		}
		w.serves(namespace)
	}
	var ingresses networkingv1.IngressList
	if err := w.admin.List(w.Context(), &ingresses, client.InNamespace(namespace)); err != nil {
		w.Fatal(err)
	}
	if len(ingresses.Items) > 0 {
		w.Errorf("%d Ingresses are left", len(ingresses.Items))
	}
}

// current says of all pods that they are.
type current struct{}

func (current) Observe(t convergence.Target) convergence.Report {
	return convergence.Report{Revision: t.Revision, State: convergence.Converged, KeyIDs: t.KeyIDs, Refreshed: t.Refresh}
}

func (current) Forget(types.NamespacedName) {}

// served says of all clients that they are.
type served struct{}

func (served) Observe(t verify.Target) verify.Report {
	return verify.Report{Revision: t.Revision, State: verify.Passed}
}

func (served) Forget(types.NamespacedName) {}

func (w *world) eventually(check func() string) {
	w.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		problem := check()
		if problem == "" {
			return
		}
		select {
		case <-deadline:
			w.Fatalf("after %s: %s", patience, problem)
		case <-tick.C:
		}
	}
}

// get returns the status and the beginning of a page.
func (w *world) get(url, token string) (int, string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		w.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	web := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // Self-signed.
	resp, err := web.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (w *world) waitReady(o manager.Options) {
	w.Helper()
	w.eventually(func() string {
		if code, body := w.get("http://"+o.HealthProbeBindAddress+"/readyz", ""); code != http.StatusOK {
			return fmt.Sprintf("/readyz: %d %s", code, body)
		}
		return ""
	})
}

func (w *world) metricsAreRefused(o manager.Options) {
	w.Helper()
	code, body := w.get("https://"+o.MetricsBindAddress+"/metrics", "any")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "tokenreviews") {
		w.Errorf("/metrics answers %d %s, want 503 and what is missing", code, body)
	}
}

// serves makes the pods of a namespace's servers ready, as the Deployment
// controller does elsewhere, and waits until both servers are Ready.
func (w *world) serves(namespace string) {
	w.Helper()
	w.eventually(func() string {
		var deployments appsv1.DeploymentList
		if err := w.admin.List(w.Context(), &deployments, client.InNamespace(namespace)); err != nil {
			w.Fatal(err)
		}
		for i := range deployments.Items {
			w.rollOut(&deployments.Items[i])
		}
		var servers fairleadv1alpha1.MCPServerList
		if err := w.admin.List(w.Context(), &servers, client.InNamespace(namespace)); err != nil {
			w.Fatal(err)
		}
		for i := range servers.Items {
			ready := meta.FindStatusCondition(servers.Items[i].Status.Conditions, fairleadv1alpha1.ConditionReady)
			if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != servers.Items[i].Generation {
				return fmt.Sprintf("%s/%s is not Ready: %+v", namespace, servers.Items[i].Name, servers.Items[i].Status.Conditions)
			}
		}
		return ""
	})
}

func (w *world) rollOut(d *appsv1.Deployment) {
	w.Helper()
	if d.Status.ObservedGeneration == d.Generation {
		return
	}
	before, n := d.DeepCopy(), ptr.Deref(d.Spec.Replicas, 1)
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
	if err := w.admin.Status().Patch(w.Context(), d, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
}

// untouched checks that nothing was made for the servers of a namespace.
func (w *world) untouched(namespace string) {
	w.Helper()
	var deployments appsv1.DeploymentList
	var servers fairleadv1alpha1.MCPServerList
	for _, list := range []client.ObjectList{&deployments, &servers} {
		if err := w.admin.List(w.Context(), list, client.InNamespace(namespace)); err != nil {
			w.Fatal(err)
		}
	}
	if len(deployments.Items) > 0 {
		w.Errorf("%d Deployments were made in a namespace that is not watched", len(deployments.Items))
	}
	for i := range servers.Items {
		if len(servers.Items[i].Status.Conditions) > 0 {
			w.Errorf("server %q in a namespace that is not watched has a status", servers.Items[i].Name)
		}
	}
}
