// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/cluster"
	"fairlead.dev/fairlead/test/apiserver"
)

const manifest = `
metadata: {name: orders, namespace: default}
spec:
  auth: {anonymousAccess: Allowed}
  replicas: 3
  tools: [{name: greet, description: Greet., static: {content: [{text: Hello}]}}]
`

// open writes a kubeconfig for a user and opens the cluster with it.
func open(t *testing.T, config *rest.Config) *cluster.Cluster {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	data, err := clientcmd.Write(clientcmdapi.Config{
		CurrentContext: "here",
		Contexts:       map[string]*clientcmdapi.Context{"here": {Cluster: "here", AuthInfo: "me"}},
		Clusters:       map[string]*clientcmdapi.Cluster{"here": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"me": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Open(cluster.Options{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAgainstAnAPIServer is one story: what is written by patches must be what a
// real API server takes.
func TestAgainstAnAPIServer(t *testing.T) {
	t.Parallel()
	api, err := apiserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Stop() })
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{fairleadv1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := client.New(api.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.UnmarshalStrict([]byte(manifest), server); err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	c, ctx := open(t, api.Config), t.Context()
	key, err := c.Key("orders")
	if err != nil || key.String() != "default/orders" {
		t.Fatalf("Key() = %s, %v", key, err)
	}
	live, err := c.Server(ctx, key)
	if err != nil || live.UID != server.UID {
		t.Fatalf("Server() = %+v, %v", live, err)
	}
	record, _, err := history.Next(nil, live)
	if err != nil {
		t.Fatal(err)
	}
	foreign := record.DeepCopy()
	foreign.Name, foreign.OwnerReferences[0].UID = "orders-mcp-other", "another"
	for _, r := range []*appsv1.ControllerRevision{record, foreign} {
		if err := admin.Create(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	records, err := c.Records(ctx, live)
	if err != nil || len(records) != 1 || records[0].Name != record.Name {
		t.Fatalf("Records() = %v, %v", records, err)
	}

	edited := live.DeepCopy()
	edited.Spec.Tools[0].Static.Content[0].Text = new("Good day")
	edited.Spec.Limits = &fairleadv1alpha1.Limits{MaxInFlightCalls: new(int32(5))}
	changed, err := c.ReplaceSpec(ctx, edited)
	if err != nil || changed.Generation != 2 || changed.Spec.Limits == nil {
		t.Fatalf("ReplaceSpec() = %+v, %v", changed, err)
	}
	if _, err := c.ReplaceSpec(ctx, edited); !errors.Is(err, cluster.ErrChanged) {
		t.Errorf("ReplaceSpec() of what was read before the edit = %v, want ErrChanged", err)
	}
	restored, err := history.Restore(changed, &records[0])
	if err != nil {
		t.Fatal(err)
	}
	back, err := c.ReplaceSpec(ctx, restored)
	if err != nil || back.Spec.Limits != nil || *back.Spec.Replicas != 3 {
		t.Fatalf("after the way back: %+v, %v", back, err)
	}
	if again, err := history.Record(back); err != nil || again.Name != record.Name {
		t.Errorf("the spec of now has record %s, %v, want %s", again.Name, err, record.Name)
	}
	if noted, err := c.Annotate(ctx, key, fairleadv1alpha1.AnnotationRefreshRequestedAt, "now"); err != nil || noted.Annotations[fairleadv1alpha1.AnnotationRefreshRequestedAt] != "now" || noted.Generation != back.Generation {
		t.Errorf("Annotate() = %+v, %v", noted, err)
	}
	if load, err := c.Load(ctx, key); err != nil || load.Pods != 0 {
		t.Errorf("Load() = %+v, %v", load, err)
	}
	t.Run("errors name the next act", func(t *testing.T) { refused(t, api, c, live) })
}

func refused(t *testing.T, api *apiserver.Server, c *cluster.Cluster, live *fairleadv1alpha1.MCPServer) {
	t.Helper()
	ctx := t.Context()
	_, err := c.Server(ctx, types.NamespacedName{Namespace: "default", Name: "nobody"})
	if _, ok := errors.AsType[*cluster.NotFoundError](err); !ok {
		t.Errorf("a server that is not there: %v", err)
	}
	user, err := api.User("nobody")
	if err != nil {
		t.Fatal(err)
	}
	stranger, key := open(t, user), types.NamespacedName{Namespace: "default", Name: "orders"}
	calls := map[string]func() error{
		`you may not get mcpservers.fairlead.dev in namespace "default"`: func() error { _, err := stranger.Server(ctx, key); return err },
		`you may not patch mcpservers.fairlead.dev`:                      func() error { _, err := stranger.ReplaceSpec(ctx, live); return err },
		`you may not list controllerrevisions.apps`:                      func() error { _, err := stranger.Records(ctx, live); return err },
		`you may not list pods in namespace "default"`:                   func() error { _, err := stranger.Load(ctx, key); return err },
	}
	for want, call := range calls {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	admin, err := client.New(api.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	definition := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: "mcpservers.fairlead.dev"},
	}
	if err := admin.Delete(ctx, definition); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for { // The API server takes a moment to forget the kind.
		_, err := c.Server(waiting, key)
		if err != nil && strings.Contains(err.Error(), "install Fairlead") {
			return
		}
		if waiting.Err() != nil {
			t.Fatalf("without the CRD: %v", err)
		}
	}
}

// TestNoCluster: the error names the file that was looked for. It is not
// parallel, for the environment is its input.
func TestNoCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", "/no/such/file")
	t.Setenv("HOME", t.TempDir())
	_, err := cluster.Open(cluster.Options{})
	want := "there is no cluster to ask: name one by --kubeconfig or --context: no kubeconfig file names a cluster: /no/such/file does not exist"
	if err == nil || err.Error() != want {
		t.Errorf("Open = %v, want %s", err, want)
	}
}
