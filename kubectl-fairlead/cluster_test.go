// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
)

// fakeCluster is an API server that holds one MCPServer, its history and pods.
type fakeCluster struct {
	t          *testing.T
	kubeconfig string

	mu      sync.Mutex
	server  *fairleadv1alpha1.MCPServer // nil: there is none
	records []appsv1.ControllerRevision
	pods    []corev1.Pod
	// mayProxy lets the pods be asked; conflict refuses patches.
	mayProxy, conflict bool
	// refreshes answers a request as the operator does.
	refreshes bool
	patches   []string
}

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	c := &fakeCluster{t: t, mayProxy: true}
	const servers = "/apis/fairlead.dev/v1alpha1/namespaces/{ns}/mcpservers/{name}"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+servers, c.get)
	mux.HandleFunc("PATCH "+servers, c.patch)
	mux.HandleFunc("GET /apis/apps/v1/namespaces/{ns}/controllerrevisions", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, appsv1.ControllerRevisionList{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ControllerRevisionList"}, Items: c.records})
	})
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/pods", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: c.pods})
	})
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/pods/{pod}/proxy/status", func(w http.ResponseWriter, r *http.Request) {
		if !c.mayProxy {
			refusal(w, http.StatusForbidden, metav1.StatusReasonForbidden)
			return
		}
		if !strings.HasSuffix(r.PathValue("pod"), ":8081") {
			t.Errorf("asked %s", r.PathValue("pod"))
		}
		fmt.Fprint(w, `{"revision":"x","streams":20,"inFlight":1}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me, namespace: shop}}]
clusters: [{name: here, cluster: {server: %q}}]
users: [{name: me, user: {}}]
`, server.URL)
	if err := os.WriteFile(c.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refusal(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason,
		Message: "the API server's words", Details: &metav1.StatusDetails{Name: "orders", Kind: "mcpservers"},
	})
}

func (c *fakeCluster) get(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil || r.PathValue("ns") != "shop" || r.PathValue("name") != "orders" {
		refusal(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	answer(w, c.server)
}

func (c *fakeCluster) patch(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	c.patches = append(c.patches, r.Header.Get("Content-Type")+" "+r.URL.Query().Get("fieldManager")+" "+string(body))
	if c.conflict {
		refusal(w, http.StatusConflict, metav1.StatusReasonConflict)
		return
	}
	if c.refreshes {
		var patch struct {
			Metadata struct{ Annotations map[string]string }
		}
		_ = json.Unmarshal(body, &patch)
		c.server.Status.RefreshedAt = patch.Metadata.Annotations[fairleadv1alpha1.AnnotationRefreshRequestedAt]
	}
	next := c.server.DeepCopy()
	next.Generation++
	answer(w, next)
}

// ordersManifest is what the fake cluster's server is made from.
const ordersManifest = `apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: orders, namespace: shop}
spec:
  auth: {anonymousAccess: Allowed}
  limits: {maxInFlightCalls: 100}
  tools:
  - name: list_orders
    description: List orders.
    http: {url: "http://orders-api.shop.svc/orders"}
  - name: greet
    description: Greet.
    static: {content: [{text: Hello}]}
`

// parse gives the manifest's object after replacements, as the cluster has it.
func parse(t *testing.T, oldNew ...string) *fairleadv1alpha1.MCPServer {
	t.Helper()
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.UnmarshalStrict([]byte(strings.NewReplacer(oldNew...).Replace(ordersManifest)), server); err != nil {
		t.Fatal(err)
	}
	server.UID, server.Generation, server.ResourceVersion = "11111111-1111-1111-1111-111111111111", 4, "77"
	return server
}

// recorded makes the history of these servers, the oldest first.
func recorded(t *testing.T, servers ...*fairleadv1alpha1.MCPServer) []appsv1.ControllerRevision {
	t.Helper()
	var records []appsv1.ControllerRevision
	for i, server := range servers {
		server.Status.Tools = &fairleadv1alpha1.ToolsStatus{Revision: fmt.Sprintf("%016x", i+1)}
		record, _, err := history.Next(records, server)
		if err != nil {
			t.Fatal(err)
		}
		record.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Duration(len(servers)-i)*time.Hour - time.Second))
		records = append(records, *record)
	}
	return records
}

func pods(n int) []corev1.Pod {
	var all []corev1.Pod
	for i := range n {
		all = append(all, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("orders-mcp-%d", i), Namespace: "shop"},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		})
	}
	return all
}

func TestDiff(t *testing.T) {
	t.Parallel()
	lastApplied := func(text string) map[string]string {
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{corev1.LastAppliedConfigAnnotation: string(data)}
	}
	secret := []string{`svc/orders"}`, `svc/orders", headersFrom: [{name: Authorization, secretKeyRef: {name: orders-api, key: token}}]}`}
	tests := []struct {
		name    string
		cluster func(*fakeCluster)
		edit    []string // replacements in the manifest
		text    string   // instead of the manifest
		args    []string
		code    int
	}{
		{name: "same"},
		{name: "live", edit: []string{"List orders.", "List the orders of a customer.", "name: greet", "name: welcome", "maxInFlightCalls: 100", "maxInFlightCalls: 200"}, code: 1},
		{name: "rolls", edit: secret, code: 1},
		{name: "rolls-may-not-ask", edit: secret, cluster: func(c *fakeCluster) { c.mayProxy = false }, code: 1},
		{name: "rolls-no-pods", edit: secret, cluster: func(c *fakeCluster) { c.pods = nil }, code: 1},
		{name: "objects-only", edit: []string{"spec:\n", "spec:\n  replicas: 5\n"}, code: 1},
		{name: "of-others", cluster: func(c *fakeCluster) {
			c.server.Annotations = lastApplied(ordersManifest)
			c.server.Spec.Replicas = new(int32(7))
		}},
		{name: "no-longer-in-the-manifest", edit: []string{"  limits: {maxInFlightCalls: 100}\n", ""}, cluster: func(c *fakeCluster) {
			c.server.Annotations = lastApplied(ordersManifest)
			c.server.Spec.Replicas = new(int32(7))
		}, code: 1},
		{name: "new", cluster: func(c *fakeCluster) { c.server = nil }, code: 1},
		{name: "wrong", edit: []string{"static:", "statik:"}, code: 2},
		{name: "no-server", text: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", code: 2},
		{name: "two-namespaces", args: []string{"-n", "other"}, code: 2},
		{name: "mends", edit: []string{"List orders.", "List them."}, cluster: func(c *fakeCluster) {
			c.server.Spec.Tools[1].Static.Content[0].Text = new("${nobody}")
		}, code: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster(t)
			c.server, c.pods = parse(t), pods(3)
			if tt.cluster != nil {
				tt.cluster(c)
			}
			text := tt.text
			if text == "" {
				text = strings.NewReplacer(tt.edit...).Replace(ordersManifest)
			}
			code, out, errs := command(t, text, append([]string{"diff", "-f", "-", "--kubeconfig", c.kubeconfig}, tt.args...)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			golden(t, filepath.Join("diff", tt.name+".txt"), "--- stdout\n"+out+"--- stderr\n"+errs)
		})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	first, second := parse(t), parse(t, "List orders.", "List the orders.", "name: greet", "name: welcome")
	third := parse(t, "List orders.", "List the orders.", "name: greet", "name: welcome", "maxInFlightCalls: 100", "maxInFlightCalls: 5")
	broken := parse(t, "Hello", `"${nobody}"`)
	broken.Status.ObservedGeneration = 4
	broken.Status.Conditions = []metav1.Condition{{
		Type: fairleadv1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: 4,
		Reason: fairleadv1alpha1.ReasonInvalidSpec, Message: "spec.tools[1].static.content[0].text: undeclared reference to 'nobody'",
	}}
	tests := []struct {
		name    string
		server  *fairleadv1alpha1.MCPServer
		records []*fairleadv1alpha1.MCPServer
		args    []string
		code    int
	}{
		{name: "three", server: third, records: []*fairleadv1alpha1.MCPServer{first, second, third}},
		{name: "json", server: third, records: []*fairleadv1alpha1.MCPServer{first, third}, args: []string{"-o", "json"}},
		{name: "a-bad-edit", server: broken, records: []*fairleadv1alpha1.MCPServer{first, second}},
		{name: "unseen", server: second, records: []*fairleadv1alpha1.MCPServer{second, first}},
		{name: "none-yet", server: first},
		{name: "no-server", code: codeUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster(t)
			c.server = tt.server
			for i := range tt.records {
				tt.records[i] = tt.records[i].DeepCopy()
			}
			c.records = recorded(t, tt.records...)
			code, out, errs := command(t, "", append([]string{"history", "orders", "--kubeconfig", c.kubeconfig}, tt.args...)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			golden(t, filepath.Join("history", tt.name+".txt"), created.ReplaceAllString("--- stdout\n"+out+"--- stderr\n"+errs, `"createdAt": "TIME"`))
		})
	}
}

func TestRollback(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		cluster func(*fakeCluster)
		args    []string
		code    int
		patches int
	}{
		{name: "last", patches: 1},
		{name: "dry-run", args: []string{"--dry-run"}},
		{name: "to", args: []string{"--to", "1"}, patches: 1},
		{name: "to-now", args: []string{"--to", "2"}, code: codeFailed},
		{name: "to-nothing", args: []string{"--to", "9"}, code: codeFailed},
		{name: "no-history", cluster: func(c *fakeCluster) { c.records = nil }, code: codeFailed},
		{name: "only-now", cluster: func(c *fakeCluster) { c.records = c.records[1:] }, code: codeFailed},
		{name: "conflict", cluster: func(c *fakeCluster) { c.conflict = true }, code: codeUnreachable, patches: 1},
		{name: "paused-argo", cluster: func(c *fakeCluster) {
			c.server.Spec.ManagementState = fairleadv1alpha1.Paused
			c.server.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "x"}
		}, patches: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster(t)
			first, second := parse(t), parse(t, "List orders.", "List the orders.")
			c.server, c.records = second, recorded(t, first, second.DeepCopy())
			c.server.Spec.Replicas = new(int32(7))
			if tt.cluster != nil {
				tt.cluster(c)
			}
			code, out, errs := command(t, "", append([]string{"rollback", "shop/orders", "--kubeconfig", c.kubeconfig}, tt.args...)...)
			if code != tt.code || len(c.patches) != tt.patches {
				t.Errorf("exit code %d, want %d; patches %q", code, tt.code, c.patches)
			}
			golden(t, filepath.Join("rollback", tt.name+".txt"), "--- stdout\n"+out+"--- stderr\n"+errs)
			for _, patch := range c.patches {
				for _, want := range []string{"application/json-patch+json kubectl-fairlead [", `"path":"/metadata/resourceVersion","value":"77"`, `"List orders."`, `"replicas":7`} {
					if !strings.Contains(patch, want) {
						t.Errorf("no %s in the patch %s", want, patch)
					}
				}
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		cluster func(*fakeCluster)
		args    []string
		code    int
		out     string
		errs    string
	}{
		{name: "honoured", cluster: func(c *fakeCluster) { c.refreshes = true }, out: "The pods of shop/orders have read their Secrets, after "},
		{name: "no waiting", args: []string{"--timeout", "0"}, out: "Asked the pods of shop/orders to read their Secrets; status.refreshedAt will be 2"},
		{
			name: "not in time", args: []string{"--timeout", "300ms"}, code: codeFailed,
			errs: "Error: not all pods of shop/orders have read their Secrets after 300ms: the operator has not seen it; is it running?; `kubectl describe flmcp -n shop orders` says more\n",
		},
		{
			name: "paused", cluster: func(c *fakeCluster) { c.server.Spec.ManagementState = fairleadv1alpha1.Paused }, code: codeFailed,
			errs: "Error: MCPServer shop/orders is paused, so the request waits: set spec.managementState to Managed\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newFakeCluster(t)
			c.server = parse(t)
			if tt.cluster != nil {
				tt.cluster(c)
			}
			code, out, errs := command(t, "", append([]string{"refresh", "orders", "--kubeconfig", c.kubeconfig}, tt.args...)...)
			if code != tt.code || !strings.HasPrefix(out, tt.out) || errs != tt.errs {
				t.Errorf("code %d\n%s%s\nwant %d\n%s%s", code, out, errs, tt.code, tt.out, tt.errs)
			}
			if len(c.patches) != 1 || !strings.Contains(c.patches[0], `application/merge-patch+json kubectl-fairlead {"metadata":{"annotations":{"fairlead.dev/refresh-requested-at":"2`) {
				t.Errorf("patches = %q", c.patches)
			}
		})
	}
}
