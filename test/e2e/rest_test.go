// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// operatorPod returns the one running pod of the operator.
func (c *cluster) operatorPod(ctx context.Context) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/name": "fairlead-operator"}); err != nil {
		return nil, err
	}
	var running []*corev1.Pod
	for i, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
				running = append(running, &pods.Items[i])
			}
		}
	}
	if len(running) != 1 {
		return nil, fmt.Errorf("%d operator pods are ready", len(running))
	}
	return running[0], nil
}

// metrics reads the operator's metrics with a token; an empty token is anonymous.
func metrics(ctx context.Context, pod *corev1.Pod, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+pod.Status.PodIP+":8443/metrics", http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// The certificate is self-signed: what is tested is who may read.
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer insecure.CloseIdleConnections()
	response, err := insecure.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	return response.StatusCode, string(body), err
}

// metricsToken makes a ServiceAccount that may read metrics, and its token.
func (c *cluster) metricsToken(t *testing.T, namespace string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "scraper"}}
	if err := c.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-scraper"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "fairlead-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account.Name}},
	}
	if err := c.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context()), binding); err != nil {
			t.Errorf("failed to delete the binding: %v", err)
		}
	})
	token, err := c.core.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// TestMetricsAreProtected: the operator's metrics need a token with the right.
func TestMetricsAreProtected(t *testing.T) {
	t.Parallel()
	c := connect(t)
	token := c.metricsToken(t, c.namespace(t))
	eventually(t, "protected metrics", func(ctx context.Context) error {
		pod, err := c.operatorPod(ctx)
		if err != nil {
			return err
		}
		for name, presented := range map[string]string{"nobody": "", "a wrong token": "wrong", "a good token": token} {
			got, _, err := metrics(ctx, pod, presented)
			if err != nil {
				return err
			}
			if allowed := got == http.StatusOK; allowed != (presented == token) {
				return fmt.Errorf("%s got status %d", name, got)
			}
		}
		return nil
	})
}

// kinds are what the operator writes, and the object that it writes them for.
var kinds = []schema.GroupVersionKind{
	{Group: "fairlead.dev", Version: "v1alpha1", Kind: "MCPServer"},
	{Group: "apps", Version: "v1", Kind: "Deployment"},
	{Version: "v1", Kind: "ConfigMap"},
	{Version: "v1", Kind: "Service"},
	{Version: "v1", Kind: "ServiceAccount"},
	{Version: "v1", Kind: "Secret"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
	{Group: "apps", Version: "v1", Kind: "ControllerRevision"},
}

// list lists the objects of all kinds in a namespace.
func (c *cluster) list(ctx context.Context, namespace string, kinds []schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, kind := range kinds {
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(kind)
		if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

func (c *cluster) versions(t *testing.T, namespace string) map[string]string {
	t.Helper()
	objects, err := c.list(t.Context(), namespace, kinds)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, o := range objects {
		versions[o.GetKind()+"/"+o.GetName()] = o.GetResourceVersion()
	}
	return versions
}

// TestRestartWritesNothing: an operator that starts anew finds all as it should
// be and leaves it.
func TestRestartWritesNothing(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	token := c.metricsToken(t, ns)
	c.apply(t, ns, plain("^a$", "x"))
	c.ready(t, ns, "plain")
	before := c.versions(t, ns)

	old, err := c.operatorPod(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new operator's first pass over all servers", func(ctx context.Context) error {
		pod, err := c.operatorPod(ctx)
		if err != nil {
			return err
		}
		if pod.UID == old.UID {
			return fmt.Errorf("pod %s is still there", pod.Name)
		}
		_, text, err := metrics(ctx, pod, token)
		if err != nil {
			return err
		}
		if reconciled(text) == 0 || busy(text) {
			return fmt.Errorf("operator %s has not reconciled yet", pod.Name)
		}
		return nil
	})
	if after := c.versions(t, ns); !maps.Equal(before, after) {
		t.Errorf("the restart wrote:\nbefore %v\nafter  %v", before, after)
	}
}

// reconciled counts the passes that ended well.
func reconciled(text string) int {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, `controller_runtime_reconcile_total{controller="mcpserver",result="success"} `); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				return n
			}
		}
	}
	return 0
}

// busy says whether a work queue still holds something.
func busy(text string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "workqueue_depth{") && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
			return true
		}
	}
	return false
}

// TestSecretsStaySecret: a canary in every Secret that a server uses appears in
// no other object, log, event, metric or status.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, greeter)
	server := c.ready(t, ns, "greeter")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	seen := map[string]string{}
	objects, err := c.list(ctx, ns, append([]schema.GroupVersionKind{
		{Version: "v1", Kind: "Pod"}, {Version: "v1", Kind: "Event"}, {Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	}, kinds...))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		data, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		seen[o.GetKind()+"/"+o.GetName()] = string(data)
	}
	pods := c.pods(t, ns, server.Status.Selector)
	if len(pods) == 0 {
		t.Fatalf("the selector %q finds no pods", server.Status.Selector)
	}
	for _, pod := range pods {
		get(t, "http://"+pod.Status.PodIP+":8080/mcp", apiKey)
		get(t, "http://"+pod.Status.PodIP+":8080/sse?token="+apiKey, "")
		seen["log of "+pod.Name] = c.logs(ctx, ns, pod.Name)
		for _, path := range []string{"/metrics", "/status"} {
			seen[pod.Name+path] = get(t, "http://"+pod.Status.PodIP+":8081"+path, "")
		}
	}
	if operator, err := c.operatorPod(ctx); err == nil {
		seen["log of the operator"] = c.logs(ctx, systemNamespace, operator.Name)
	}
	for where, text := range seen {
		if strings.Contains(text, apiKey) {
			t.Errorf("the secret appears in %s", where)
		}
		if text == "" {
			t.Errorf("%s is empty: nothing was checked there", where)
		}
	}
}

func get(t *testing.T, url, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	plain := &http.Client{}
	defer plain.CloseIdleConnections()
	response, err := plain.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	_, _ = io.Copy(&body, io.LimitReader(response.Body, 8<<20))
	return body.String()
}
