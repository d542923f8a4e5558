// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/controllers/manager"
)

func TestHelmLint(t *testing.T) {
	t.Parallel()
	for _, values := range combinations(t) {
		args := []string{"lint", "--strict", chart}
		if values != "" {
			args = append(args, "--values", valuesFile(values))
		}
		out, err := run(t, "helm", args...)
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "[") && !strings.Contains(line, "icon is recommended") {
				t.Errorf("%s: %s", values, line)
			}
		}
	}
}

// A value that is misspelt or out of bounds is refused with its path, before
// anything reaches a cluster.
func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  string
		want string
	}{
		{name: "unknown at the top", set: "replicaCount=2", want: "additional properties 'replicaCount' not allowed"},
		{name: "unknown below", set: "image.tagg=v1", want: "at '/image': additional properties 'tagg' not allowed"},
		{name: "unknown deep", set: "monitoring.rules.on=true", want: "at '/monitoring/rules': additional properties 'on' not allowed"},
		{name: "not a number", set: "replicas=two", want: "at '/replicas': got string, want integer"},
		{name: "beyond a bound", set: "operator.maxConcurrentRollouts=0", want: "at '/operator/maxConcurrentRollouts': minimum: got 0, want 1"},
		{name: "not of the choice", set: "operator.verification=off", want: "at '/operator/verification': value must be one of 'Required', 'Off'"},
		{name: "not a namespace", set: "watchNamespaces={Team_A}", want: "at '/watchNamespaces/0': 'Team_A' does not match pattern"},
		{name: "twice", set: "watchNamespaces={a,a}", want: "at '/watchNamespaces': items at 0 and 1 are equal"},
		{name: "a text for a list", set: "monitoring.from=prometheus", want: "at '/monitoring/from': got string, want array"},
		{name: "a digest that is none", set: "image.digest=sha256:12", want: "at '/image/digest': 'sha256:12' does not match pattern"},
		{name: "a tag in the repository", set: "image.repository=example.com/operator:v1", want: "at '/image/repository'"},
		{name: "a comma in a list of the operator's", set: `limits.hostSuffixes={.a\,.b}`, want: "at '/limits/hostSuffixes/0'"},
		{name: "the label of the selector", set: `podLabels.app\.kubernetes\.io/name=x`, want: "at '/podLabels/app.kubernetes.io~1name': false schema"},
		{name: "an alert that is not", set: "monitoring.rules.enabled=true,monitoring.rules.disabled={FairleadNoSuch}", want: `monitoring.rules.disabled names "FairleadNoSuch"; the alerts are FairleadOperatorDown, `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := template(t, "--set", tt.set)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("--set %s: %v, want %q", tt.set, err, tt.want)
			}
		})
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The values that the guides show are taken.
func TestValuesOfTheGuidesAreTaken(t *testing.T) {
	t.Parallel()
	for _, guide := range []string{"install.md", "monitoring.md"} {
		blocks := yamlBlock.FindAllStringSubmatch(string(readFile(t, "docs", "guides", guide)), -1)
		if len(blocks) == 0 {
			t.Errorf("%s shows no values", guide)
		}
		for _, block := range blocks {
			if isOverlay(block[1]) {
				continue
			}
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := template(t, "--values", file); err != nil {
				t.Errorf("%s: %v\n%s", guide, err, block[1])
			}
		}
	}
}

func TestOldClustersAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := template(t, "--kube-version", "1.32.9"); err == nil || !strings.Contains(err.Error(), "kubeVersion: >=1.33.0-0") {
		t.Errorf("Kubernetes 1.32: %v", err)
	}
	if _, err := template(t, "--kube-version", "v1.33.0-gke.1"); err != nil {
		t.Errorf("Kubernetes 1.33 of a provider: %v", err)
	}
}

// The schema knows the values that there are, and every value has a comment.
func TestSchemaIsAboutTheValues(t *testing.T) {
	t.Parallel()
	var values map[string]any
	if err := yaml.UnmarshalStrict(readFile(t, chart, "values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(readFile(t, chart, "values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	sameFields(t, "", values, schema)
	commented := false
	for line := range strings.Lines(string(readFile(t, chart, "values.yaml"))) {
		top := !strings.HasPrefix(line, " ") && strings.Contains(line, ":") && !strings.HasPrefix(line, "#")
		switch {
		case strings.HasPrefix(line, "#"):
			commented = true
		case strings.TrimSpace(line) == "":
			commented = false
		case top && !commented:
			t.Errorf("values.yaml says nothing about %q", strings.TrimSpace(line))
		}
	}
}

func sameFields(t *testing.T, path string, values, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if properties == nil {
		return // A map of the user's own keys, or what Kubernetes defines.
	}
	if more, set := schema["additionalProperties"].(bool); more || !set {
		t.Errorf("%s: the schema takes fields that are misspelt", path)
	}
	want := slices.Sorted(maps.Keys(properties))
	if path == "" {
		want = slices.DeleteFunc(want, func(name string) bool { return name == "global" })
	}
	got := slices.Sorted(maps.Keys(values))
	if diff := cmp.Diff(want, got); diff != "" && path != "/resources" && path != "/affinity" {
		t.Errorf("%s (-schema +values.yaml):\n%s", path, diff)
	}
	for name, value := range values {
		below, isMap := value.(map[string]any)
		of, _ := properties[name].(map[string]any)
		if isMap && of != nil {
			sameFields(t, path+"/"+name, below, of)
		}
	}
}

// fixed flags are the chart's own business: it has probes, a Service and a Role
// for exactly these.
var fixed = []string{"leader-elect", "leader-election-namespace", "namespace", "metrics-bind-address", "health-probe-bind-address"}

// Every flag of the operator is a value of the chart.
func TestEveryFlagIsAValue(t *testing.T) {
	t.Parallel()
	args := deployment(t, find(t, rendered(t, "everything.yaml"), "Deployment", "streams-operator")).Spec.Template.Spec.Containers[0].Args
	given := map[string]bool{}
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		given[name] = true
	}
	var o manager.Options
	flags := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	o.BindFlags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if !given[f.Name] && !slices.Contains(fixed, f.Name) {
			t.Errorf("no value of the chart sets --%s", f.Name)
		}
	})
	got := options(t, args)
	want := &manager.Options{
		RuntimeImage: "registry.example.com/mcp/fairlead-runtime:v1.2.3", DefaultReplicas: 3, ClusterDomain: "cluster.example",
		MetricsBindAddress: ":8443", MetricsCertDir: "/etc/fairlead/metrics-cert", HealthProbeBindAddress: ":8081", LeaderElect: true,
		MaxConcurrentReconciles: 4, MaxConcurrentRollouts: 2, Verification: manager.VerificationOff, LogLevel: got.LogLevel,
		WatchNamespaces: []string{"team-a", "team-b"}, MonitoringNamespaces: []string{"monitoring"},
		AllowedIngressClasses: []string{"nginx"}, AllowedHostSuffixes: []string{".apps.example.com"},
		AllowedAnnotationPrefixes: []string{"example.com/"}, AllowedImagePrefixes: []string{"registry.example.com/mcp/"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if got.LogLevel.String() != "DEBUG" {
		t.Errorf("log level %s, want DEBUG", got.LogLevel)
	}
}

// What is named in everything.yaml reaches the pod and its policies.
func TestEverythingArrives(t *testing.T) {
	t.Parallel()
	objects := rendered(t, "everything.yaml")
	d := deployment(t, find(t, objects, "Deployment", "streams-operator"))
	pod := d.Spec.Template
	got := map[string]any{
		"replicas": *d.Spec.Replicas, "image": pod.Spec.Containers[0].Image, "pull": string(pod.Spec.Containers[0].ImagePullPolicy),
		"secret": pod.Spec.ImagePullSecrets[0].Name, "priority": pod.Spec.PriorityClassName, "label": pod.Labels["team"],
		"annotation": pod.Annotations["example.com/note"], "node": pod.Spec.NodeSelector["kubernetes.io/os"],
		"toleration": pod.Spec.Tolerations[0].Key, "spread": pod.Spec.TopologySpreadConstraints[0].MaxSkew,
		"memory": pod.Spec.Containers[0].Resources.Limits.Memory().String(), "affinity": pod.Spec.Affinity != nil,
		"account": pod.Spec.ServiceAccountName, "certificate": pod.Spec.Volumes[0].Secret.SecretName,
	}
	want := map[string]any{
		"replicas": int32(3), "image": "registry.example.com:5000/mcp/fairlead-operator@sha256:" + strings.Repeat("0123456789abcdef", 4),
		"pull": "Always", "secret": "registry", "priority": "system-cluster-critical", "label": "platform", "annotation": "yes",
		"node": "linux", "toleration": "dedicated", "spread": int32(1), "memory": "1Gi", "affinity": true, "account": "streams",
		"certificate": "metrics-tls",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the pod (-want +got):\n%s", diff)
	}
	find(t, objects, "PodDisruptionBudget", "streams-operator")
	policies := 0
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		policies++
		text, err := json.Marshal(object.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(object.GetName(), "streams-operator-") || !strings.Contains(string(text), ":streams'") || strings.Contains(string(text), ":fairlead-operator'") {
			t.Errorf("%s is about another identity than the operator's: %s", object.GetName(), text)
		}
	}
	if policies < 2 {
		t.Errorf("%d admission policies", policies)
	}
}
