// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/test/apiserver"
)

// claims are the lines of docs/security.md on what an MCPServer can and cannot,
// each with the test that holds it.
var claims = map[string]func(*tenant){
	"have any Secret of its namespace sent as a header to any address that its pods reach, or used as a list of API keys": (*tenant).mountsNamedSecrets,
	"run any image in its namespace, which sees the Secrets that the spec names":                                          (*tenant).runsAnyImage,
	"pull images with any pull Secret, and terminate TLS at the ingress with any TLS Secret, of its namespace":            (*tenant).usesPullAndTLSSecrets,
	"choose nodes, tolerate taints and name a priority class":                                                             (*tenant).choosesNodes,
	"give its pods labels and annotations, and so stand behind another Service of its namespace that selects by them":     (*tenant).labelsPods,
	"claim any host, path and class of an Ingress, with annotations":                                                      (*tenant).claimsHosts,
	"reach a Secret or ConfigMap of another namespace":                                                                    (*tenant).staysInNamespace,
	"use the session keys of a server as a header or as API keys":                                                         (*tenant).cannotUseSessionKeys,
	"have a token of the Kubernetes API, or a ServiceAccount other than its own, which has no rights":                     (*tenant).hasNoToken,
	"have a volume of the node, its network, processes or ports, root or a capability":                                    (*tenant).hasNothingOfTheNode,
	"wear the labels `fairlead.dev/` and `app.kubernetes.io/` as it likes, by which other servers are selected":           (*tenant).cannotWearOurLabels,
	"inject configuration or authentication into an ingress controller":                                                   (*tenant).cannotInject,
	"take over an object that exists already under a child's name":                                                        nil, // controllers: the stories about foreign objects.
}

// The lists of the document and the tests are the same.
func TestSecurityDocumentIsTested(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(apiserver.Root(), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## What create on mcpservers means\n")
	section, _, _ = strings.Cut(section, "\n## ")
	section = strings.ReplaceAll(section, "\n  ", " ")
	found := 0
	for line := range strings.Lines(section) {
		text, item := strings.CutPrefix(strings.TrimRight(line, "\n"), "- ")
		if !item {
			continue
		}
		found++
		if _, tested := claims[strings.TrimRight(text, ";.")]; !tested {
			t.Errorf("no test holds the line %q", text)
		}
	}
	if found != len(claims) {
		t.Errorf("the document has %d lines, the test %d", found, len(claims))
	}
}

// tenant is a user who may create and patch MCPServers in one namespace.
type tenant struct {
	*testing.T
	client    client.Client
	namespace string
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	namespace := newNamespace(t)
	create(t, namespace,
		&corev1.ServiceAccount{ObjectMeta: named("tenant")},
		&rbacv1.Role{ObjectMeta: named("tenant"), Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"fairlead.dev"}, Resources: []string{"mcpservers"}, Verbs: []string{"create", "patch"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: named("tenant"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "tenant"}},
		})
	c, err := account(t.Context(), cluster.admin.Scheme(), namespace, "tenant")
	if err != nil {
		t.Fatal(err)
	}
	return &tenant{T: t, client: c, namespace: namespace}
}

func TestTenant(t *testing.T) { //nolint:paralleltest // One API server, two cores.
	for claim, test := range claims {
		if test == nil {
			continue
		}
		t.Run(claim, func(t *testing.T) { test(newTenant(t)) }) //nolint:paralleltest // See above.
	}
	t.Run("gains no right", func(t *testing.T) { newTenant(t).gainsNoRight() }) //nolint:paralleltest // See above.
}

// base is a server without anything special.
const base = `
tools:
- name: hello
  description: Greet.
  static: {content: [{text: Hello}]}
auth: {anonymousAccess: Allowed}
`

// server creates one with a spec of base and more, as the tenant. The API server
// decodes strictly, as kubectl asks it to.
func (w *tenant) server(more string) (*fairleadv1alpha1.MCPServer, error) {
	w.Helper()
	spec := map[string]any{}
	for _, part := range []string{base, more} {
		if err := yaml.Unmarshal([]byte(part), &spec); err != nil {
			w.Fatal(err)
		}
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "fairlead.dev/v1alpha1", "kind": "MCPServer", "spec": spec,
		"metadata": map[string]any{"generateName": "orders-", "namespace": w.namespace},
	}}
	var err error
	eventually(w.T, func() string { // The right is known to the API server a moment later.
		if err = w.client.Create(w.Context(), object, client.FieldValidation(metav1.FieldValidationStrict)); err != nil && isUnauthorized(err) {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := cluster.admin.Get(w.Context(), client.ObjectKeyFromObject(object), server); err != nil {
		w.Fatal(err)
	}
	return server, nil
}

// built returns what the operator would apply for such a server.
func (w *tenant) built(more string) *resources.Objects {
	w.Helper()
	server, err := w.server(more)
	if err != nil {
		w.Fatal(err)
	}
	return build(w.T, server)
}

// refused checks that a spec is refused, by the API server or by the builders.
func (w *tenant) refused(more, why string, limits resources.Limits) {
	w.Helper()
	server, err := w.server(more)
	if err == nil {
		in := resources.Input{Server: server, Defaults: defaults()}
		in.Defaults.Limits = limits
		_, err = resources.Build(in)
	}
	if err == nil || !strings.Contains(err.Error(), why) {
		w.Errorf("%s\nis not refused for %q: %v", strings.TrimSpace(more), why, err)
	}
}

func secretsOf(pod *corev1.PodSpec) []string {
	var names []string
	for _, volume := range pod.Volumes {
		if volume.Secret != nil {
			names = append(names, volume.Secret.SecretName)
		}
	}
	slices.Sort(names)
	return names
}

const withSecrets = `
tools:
- name: get
  description: Get.
  http:
    url: http://backend.example.com/x
    headersFrom: [{name: Authorization, secretKeyRef: {name: database, key: password}}]
auth: {apiKeys: {secretRef: {name: registry}}}
`

func (w *tenant) mountsNamedSecrets() {
	objects := w.built(withSecrets)
	name := objects.Service.Name
	want := []string{"database", name + "-credentials", name + "-session", "registry"}
	slices.Sort(want)
	if got := secretsOf(&objects.Deployment.Spec.Template.Spec); !slices.Equal(got, want) {
		w.Errorf("Secrets %q are mounted, want %q", got, want)
	}
}

func (w *tenant) runsAnyImage() {
	objects := w.built("pod: {image: 'registry.example.com/evil:1'}")
	if got := objects.Deployment.Spec.Template.Spec.Containers[0].Image; got != "registry.example.com/evil:1" {
		w.Errorf("image %q", got)
	}
	w.refused("pod: {image: 'registry.example.com/evil:1'}", "spec.pod.image", resources.Limits{ImagePrefixes: []string{"registry.example.com/mcp/"}})
}

func (w *tenant) usesPullAndTLSSecrets() {
	objects := w.built("{pod: {imagePullSecrets: [{name: pull}]}, exposure: {ingress: {hosts: [a.example.com], tls: {secretName: wildcard}}}}")
	if got := objects.Deployment.Spec.Template.Spec.ImagePullSecrets; len(got) != 1 || got[0].Name != "pull" {
		w.Errorf("pull Secrets %v", got)
	}
	if got := objects.Ingress.Spec.TLS; len(got) != 1 || got[0].SecretName != "wildcard" {
		w.Errorf("TLS %v", got)
	}
}

func (w *tenant) choosesNodes() {
	pod := w.built("pod: {nodeSelector: {gpu: 'true'}, tolerations: [{operator: Exists}], priorityClassName: high}").Deployment.Spec.Template.Spec
	if pod.NodeSelector["gpu"] != "true" || len(pod.Tolerations) != 1 || pod.PriorityClassName != "high" {
		w.Errorf("pod %+v", pod)
	}
}

func (w *tenant) labelsPods() {
	template := w.built("pod: {labels: {app: payments}, annotations: {example.com/mesh: 'on'}}").Deployment.Spec.Template
	if template.Labels["app"] != "payments" || template.Annotations["example.com/mesh"] != "on" {
		w.Errorf("labels %v, annotations %v", template.Labels, template.Annotations)
	}
}

func (w *tenant) claimsHosts() {
	const spec = "exposure: {profile: None, ingress: {className: public, hosts: [www.example.com], path: /login, annotations: {example.com/a: b}}}"
	ingress := w.built(spec).Ingress
	if ingress.Spec.Rules[0].Host != "www.example.com" || *ingress.Spec.IngressClassName != "public" || ingress.Annotations["example.com/a"] != "b" {
		w.Errorf("Ingress %+v", ingress)
	}
	for path, limits := range map[string]resources.Limits{
		"spec.exposure.ingress.className":   {IngressClasses: []string{"internal"}},
		"spec.exposure.ingress.hosts[0]":    {HostSuffixes: []string{".apps.example.com"}},
		"spec.exposure.ingress.annotations": {AnnotationPrefixes: []string{"cert-manager.io/"}},
	} {
		w.refused(spec, path, limits)
	}
}

// staysInNamespace: a name has no place for a namespace, and every object that
// is built is in the server's.
func (w *tenant) staysInNamespace() {
	w.refused("auth: {apiKeys: {secretRef: {name: registry, namespace: kube-system}}}", "namespace", resources.Limits{})
	w.refused("auth: {apiKeys: {secretRef: {name: kube-system/registry}}}", "should match", resources.Limits{})
	for _, object := range w.built(withSecrets).List() {
		if object.GetNamespace() != w.namespace {
			w.Errorf("%T %s is in namespace %q", object, object.GetName(), object.GetNamespace())
		}
	}
}

func (w *tenant) cannotUseSessionKeys() {
	w.refused("auth: {apiKeys: {secretRef: {name: other-mcp-session}}}", "spec.auth.apiKeys.secretRef.name", resources.Limits{})
	w.refused(strings.ReplaceAll(withSecrets, "database", "other-mcp-session"), "headersFrom[0].secretKeyRef.name", resources.Limits{})
}

func (w *tenant) hasNoToken() {
	w.refused("pod: {serviceAccountName: deployer}", "serviceAccountName", resources.Limits{})
	objects := w.built(base)
	pod := objects.Deployment.Spec.Template.Spec
	if pod.ServiceAccountName != objects.ServiceAccount.Name || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		w.Errorf("ServiceAccount %q, token %v", pod.ServiceAccountName, pod.AutomountServiceAccountToken)
	}
	var bindings rbacv1.RoleBindingList
	if err := cluster.admin.List(w.Context(), &bindings, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	for i := range bindings.Items {
		for _, subject := range bindings.Items[i].Subjects {
			if subject.Name == pod.ServiceAccountName {
				w.Errorf("%s is bound to %s", subject.Name, bindings.Items[i].Name)
			}
		}
	}
}

// hasNothingOfTheNode: no field leads there, and the policy of Deployments says
// so again of what is built; see TestAttacks.
func (w *tenant) hasNothingOfTheNode() {
	for _, field := range []string{
		"hostNetwork: true", "hostPID: true", "volumes: [{name: v, hostPath: {path: /}}]", "securityContext: {runAsUser: 0}",
		"containers: [{name: x}]", "initContainers: [{name: x}]", "runtimeClassName: kata",
	} {
		name, _, _ := strings.Cut(field, ":")
		w.refused("pod: {"+field+"}", name, resources.Limits{})
	}
	pod := w.built(withSecrets).Deployment.Spec.Template.Spec
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || !*pod.SecurityContext.RunAsNonRoot {
		w.Errorf("pod %+v", pod)
	}
	for _, volume := range pod.Volumes {
		if volume.ConfigMap == nil && volume.Secret == nil && volume.EmptyDir == nil {
			w.Errorf("volume %+v", volume)
		}
	}
	for i := range pod.Containers {
		c := pod.Containers[i].SecurityContext
		if *c.AllowPrivilegeEscalation || c.Privileged != nil || len(c.Capabilities.Add) > 0 || !*c.ReadOnlyRootFilesystem {
			w.Errorf("container %+v", c)
		}
	}
}

func (w *tenant) cannotWearOurLabels() {
	w.refused("pod: {labels: {fairlead.dev/server: payments}}", "spec.pod.labels", resources.Limits{})
	w.refused("pod: {labels: {app.kubernetes.io/instance: payments}}", "spec.pod.labels", resources.Limits{})
	w.refused("pod: {annotations: {fairlead.dev/config-revision: x}}", "spec.pod.annotations", resources.Limits{})
}

func (w *tenant) cannotInject() {
	for _, key := range []string{"nginx.ingress.kubernetes.io/configuration-snippet", "nginx.org/location-snippets", "haproxy-ingress.github.io/config-backend", "nginx.ingress.kubernetes.io/auth-url"} {
		w.refused("exposure: {ingress: {hosts: [a.example.com], annotations: {"+key+": x}}}", "annotations", resources.Limits{})
	}
}

// gainsNoRight: with his servers there, the API server refuses the tenant what
// it refused before.
func (w *tenant) gainsNoRight() {
	objects := w.built(withSecrets)
	create(w.T, w.namespace, password.DeepCopy(), objects.ServiceAccount, objects.Service)
	pod := ownPod()
	create(w.T, w.namespace, pod)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: password.Name}}
	tries := map[string]error{
		"get a Secret":          w.client.Get(w.Context(), client.ObjectKeyFromObject(secret), secret.DeepCopy()),
		"patch a Secret":        w.client.Patch(w.Context(), secret.DeepCopy(), mergePatch(`{}`)),
		"list Secrets":          w.client.List(w.Context(), &corev1.SecretList{}, client.InNamespace(w.namespace)),
		"get a pod":             w.client.Get(w.Context(), client.ObjectKeyFromObject(pod), pod.DeepCopy()),
		"patch a pod":           w.client.Patch(w.Context(), pod.DeepCopy(), mergePatch(`{"metadata":{"labels":{"a":"b"}}}`)),
		"patch a pod's status":  w.client.Status().Patch(w.Context(), pod.DeepCopy(), mergePatch(`{"metadata":{"labels":{"a":"b"}}}`)),
		"create a pod":          w.client.Create(w.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "x"}, Spec: ownPod().Spec}),
		"patch a child":         w.client.Patch(w.Context(), objects.Service.DeepCopy(), mergePatch(`{"spec":{"selector":{"app":"x"}}}`)),
		"order a child's token": w.client.SubResource("token").Create(w.Context(), objects.ServiceAccount.DeepCopy(), &authenticationv1.TokenRequest{}),
		"read elsewhere":        w.client.Get(w.Context(), client.ObjectKey{Namespace: operatorNamespace, Name: "fairlead-master-key"}, &corev1.Secret{}),
	}
	for what, err := range tries {
		if !apierrors.IsForbidden(err) {
			w.Errorf("the tenant may %s: %v", what, err)
		}
	}
}
