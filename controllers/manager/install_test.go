// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	podsecurityapi "k8s.io/pod-security-admission/api"
	podsecurity "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// read reads the first document of a file of config.
func read(t *testing.T, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "config"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(string(data), "---\n"), "\n---\n")
	if err := yaml.UnmarshalStrict([]byte(first), into); err != nil {
		t.Fatal(err)
	}
}

// What config/manager starts is what this program takes: its options, its
// ports, and a pod that the namespace admits.
func TestInstalledOperator(t *testing.T) {
	t.Parallel()
	var deployment appsv1.Deployment
	read(t, &deployment, "manager", "deployment.yaml")
	pod := deployment.Spec.Template
	container := pod.Spec.Containers[0]
	o := parse(t, container.Args...)
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
	if !o.LeaderElect {
		t.Error("two operators would work at once while one is replaced by the next: --leader-elect is missing")
	}
	ports := map[string]string{"metrics": o.MetricsBindAddress, "health": o.HealthProbeBindAddress}
	for _, port := range container.Ports {
		if _, number, _ := strings.Cut(ports[port.Name], ":"); number != strconv.Itoa(int(port.ContainerPort)) {
			t.Errorf("port %q is %d, but the options say %q", port.Name, port.ContainerPort, ports[port.Name])
		}
	}
	if container.Image != strings.ReplaceAll(DefaultRuntimeImage, "runtime", "operator") {
		t.Errorf("image %q is not beside %q", container.Image, DefaultRuntimeImage)
	}
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
	var service corev1.Service
	read(t, &service, "manager", "metrics_service.yaml")
	for key, value := range service.Spec.Selector {
		if pod.Labels[key] != value {
			t.Errorf("the metrics Service selects %s=%s, which the pod has not", key, value)
		}
	}
}

// The operator's rights are listed here once more, so that a marker that widens
// them is noticed in review.
func TestRightsAreLeast(t *testing.T) {
	t.Parallel()
	var role rbacv1.ClusterRole
	read(t, &role, "rbac", "role.yaml")
	readOnly := []string{"get", "list", "watch"}
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				switch {
				case resource == "*" || verb == "*" || slices.Contains(rule.APIGroups, "*"):
					t.Errorf("a wildcard: %v", rule)
				case strings.HasPrefix(resource, "roles") || strings.HasPrefix(resource, "clusterroles"):
					t.Errorf("the operator needs nothing of %s: %v", resource, rule)
				case resource == "secrets" && verb != "create" && verb != "patch":
					t.Errorf("the operator does not %s Secrets: it applies session keys without reading them", verb)
				case resource == "pods/status" && verb != "patch":
					t.Errorf("the operator only patches the status of pods, and does not %s it", verb)
				case resource == "customresourcedefinitions" && !slices.Equal(rule.ResourceNames, []string{"mcpservers.fairlead.dev"}):
					t.Errorf("the operator reads its own CustomResourceDefinition only: %v", rule)
				case slices.Contains([]string{"pods", "mcpservers", "ingressclasses", "customresourcedefinitions"}, resource) && !slices.Contains(readOnly, verb):
					t.Errorf("the operator only reads %s, and does not %s them", resource, verb)
				case verb == "update" && resource != "mcpservers/finalizers", verb == "deletecollection", verb == "escalate", verb == "bind", verb == "impersonate":
					t.Errorf("the operator does not %s %s", verb, resource)
				}
			}
		}
	}
}
