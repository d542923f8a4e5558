// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	podsecurityapi "k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"fairlead.dev/fairlead/test/apiserver"
)

var started struct {
	sync.Mutex
	server *apiserver.Server
	client client.Client
}

// connect starts an API server with the CRDs of the product and of the
// Prometheus Operator, once.
func connect(t *testing.T) client.Client {
	t.Helper()
	started.Lock()
	defer started.Unlock()
	if started.client != nil {
		return started.client
	}
	server, err := apiserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	started.server = server
	folder := filepath.Join(monitoringModule(t), "example", "prometheus-operator-crd")
	var paths []string
	for _, kind := range []string{"podmonitors", "servicemonitors", "prometheusrules"} {
		paths = append(paths, filepath.Join(folder, "monitoring.coreos.com_"+kind+".yaml"))
	}
	if _, err := envtest.InstallCRDs(server.Config, envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(server.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{namespace, "team-a", "team-b", "monitoring"} {
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	started.client = c
	return c
}

func stopServer() error {
	started.Lock()
	defer started.Unlock()
	if started.server == nil {
		return nil
	}
	return started.server.Stop()
}

// monitoringModule is the folder of the Prometheus Operator's source, which
// test/monitoring requires.
func monitoringModule(t *testing.T) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator")
	command.Dir = filepath.Join(apiserver.Root(), "test", "monitoring")
	command.Env = append(command.Environ(), "GOWORK=off")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("failed to download the Prometheus Operator's source: %v\n%s", err, out)
	}
	command = exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus-operator/prometheus-operator")
	command.Dir = filepath.Join(apiserver.Root(), "test", "monitoring")
	command.Env = append(command.Environ(), "GOWORK=off")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("failed to find the Prometheus Operator's source: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// A real API server takes every object that any combination of values renders,
// with strict validation of fields.
func TestAPIServerTakesWhatTheChartRenders(t *testing.T) {
	t.Parallel()
	c := connect(t)
	for _, values := range combinations(t) {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			objects := rendered(t, values)
			if len(objects) < 5 {
				t.Fatalf("%d objects are rendered", len(objects))
			}
			for _, object := range objects {
				err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("install"), client.DryRunAll, client.ForceOwnership)
				if err != nil {
					t.Errorf("%s: %v", key(object), err)
				}
				if object.GetKind() == "Deployment" {
					d := deployment(t, object)
					options(t, d.Spec.Template.Spec.Containers[0].Args)
					restricted(t, &d.Spec.Template)
				}
			}
		})
	}
}

// restricted holds a pod against the level that the namespace enforces.
func restricted(t *testing.T, pod *corev1.PodTemplateSpec) {
	t.Helper()
	evaluator, err := podsecurity.NewEvaluator(podsecurity.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := podsecurityapi.LevelVersion{Level: podsecurityapi.LevelRestricted, Version: podsecurityapi.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
}

// With watchNamespaces only what has no namespace stays in the ClusterRole, and
// the operator loses nothing in the namespaces that it serves.
func TestWatchedNamespacesNarrowTheRights(t *testing.T) {
	t.Parallel()
	mapper := connect(t).RESTMapper()
	whole := rules(t, find(t, rendered(t, ""), "ClusterRole", "fairlead-operator"))
	objects := rendered(t, "namespaces.yaml")
	wide := rules(t, find(t, objects, "ClusterRole", "fairlead-operator"))
	for _, rule := range wide {
		for _, resource := range rule.Resources {
			if namespaced(t, mapper, rule.APIGroups[0], resource) {
				t.Errorf("the ClusterRole still has %s of every namespace: %v", resource, rule)
			}
		}
	}
	served := map[string][]rbacv1.PolicyRule{}
	for _, object := range objects {
		if object.GetKind() == "Role" && object.GetName() == "fairlead-operator-servers" {
			served[object.GetNamespace()] = rules(t, object)
		}
	}
	for _, rule := range served["team-a"] {
		for _, resource := range rule.Resources {
			if !namespaced(t, mapper, rule.APIGroups[0], resource) {
				t.Errorf("a Role grants nothing of %s, which has no namespace: %v", resource, rule)
			}
		}
	}
	for _, ns := range []string{"team-a", namespace} {
		if got := len(served[ns]) + len(wide); got != len(whole) {
			t.Errorf("%d rules reach namespace %s, want the %d of the whole", got, ns, len(whole))
		}
		for _, rule := range whole {
			same := func(other rbacv1.PolicyRule) bool { return rule.String() == other.String() }
			if !slices.ContainsFunc(wide, same) && !slices.ContainsFunc(served[ns], same) {
				t.Errorf("namespace %s lacks %v", ns, rule)
			}
		}
	}
	if len(served) != 2 {
		t.Errorf("Roles in %d namespaces, want 2", len(served))
	}
}

func rules(t *testing.T, object *unstructured.Unstructured) []rbacv1.PolicyRule {
	t.Helper()
	var role rbacv1.ClusterRole
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// namespaced says whether the objects of a resource have a namespace.
func namespaced(t *testing.T, mapper meta.RESTMapper, group, resource string) bool {
	t.Helper()
	resource, _, _ = strings.Cut(resource, "/")
	kind, err := mapper.KindFor(schema.GroupVersionResource{Group: group, Resource: resource})
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		t.Fatal(err)
	}
	return mapping.Scope.Name() == meta.RESTScopeNameNamespace
}
