// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/resources"
)

type deployment = appsv1.Deployment

// attack is what somebody could do who has stolen the operator's token.
type attack struct {
	name string
	// policy is the one of config/admission that refuses it.
	policy string
	// more are rights beyond config/rbac, for what only a wider role would
	// allow: the policy holds then, too.
	more []rbacv1.PolicyRule
	// namespace is where; empty: a new one.
	namespace string
	// victims are there before, made by others.
	victims []client.Object
	do      func(ctx context.Context, c client.Client, namespace string) error
}

func mergePatch(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }

// patching patches a victim with a merge patch.
func patching(object client.Object, text string) func(context.Context, client.Client, string) error {
	return func(ctx context.Context, c client.Client, namespace string) error {
		target := object.DeepCopyObject().(client.Object)
		target.SetNamespace(namespace)
		return c.Patch(ctx, target, mergePatch(text))
	}
}

// patchingStatus does the same through the status.
func patchingStatus(object client.Object, text string) func(context.Context, client.Client, string) error {
	return func(ctx context.Context, c client.Client, namespace string) error {
		target := object.DeepCopyObject().(client.Object)
		target.SetNamespace(namespace)
		return c.Status().Patch(ctx, target, mergePatch(text))
	}
}

func deleting(object client.Object) func(context.Context, client.Client, string) error {
	return func(ctx context.Context, c client.Client, namespace string) error {
		target := object.DeepCopyObject().(client.Object)
		target.SetNamespace(namespace)
		return c.Delete(ctx, target)
	}
}

func creating(object client.Object) func(context.Context, client.Client, string) error {
	return func(ctx context.Context, c client.Client, namespace string) error {
		target := object.DeepCopyObject().(client.Object)
		target.SetNamespace(namespace)
		return c.Create(ctx, target)
	}
}

// applying applies with force, as the operator does, what has our labels and an
// owner reference: those can be claimed by whoever writes.
func applying(object client.Object) func(context.Context, client.Client, string) error {
	return func(ctx context.Context, c client.Client, namespace string) error {
		target := object.DeepCopyObject().(client.Object)
		claim(target)
		target.SetNamespace(namespace)
		gvk, err := c.GroupVersionKindFor(target)
		if err != nil {
			return err
		}
		target.GetObjectKind().SetGroupVersionKind(gvk)
		data, err := json.Marshal(target)
		if err != nil {
			return err
		}
		return c.Patch(ctx, target, client.RawPatch(types.ApplyPatchType, data), client.ForceOwnership, client.FieldOwner("fairlead-operator"))
	}
}

// claim gives an object the labels and the owner of a child of the MCPServer
// "orders".
func claim(object client.Object) {
	labels := map[string]string{resources.LabelManagedBy: resources.ManagedBy, resources.LabelServer: "orders"}
	maps.Copy(labels, object.GetLabels())
	object.SetLabels(labels)
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: "fairlead.dev/v1alpha1", Kind: "MCPServer", Name: "orders", UID: "6c1d7f0e-5a0c-4f0b-9a53-0d6d0b6f1d11", Controller: new(true),
	}})
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func somePod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{"example.com/mesh": "on"}, Finalizers: []string{"example.com/lease"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/shop:1"}}},
	}
}

// ownPod looks like a pod of an MCPServer.
func ownPod() *corev1.Pod {
	return somePod("orders-mcp-1", map[string]string{resources.LabelManagedBy: resources.ManagedBy, resources.LabelServer: "orders"})
}

func someDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: named(name), Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: somePod("", nil).Spec},
	}}
}

// foreignDeployment is as restricted as ours, but nobody's child.
func foreignDeployment() *appsv1.Deployment {
	return ownDeployment("", func(d *deployment) { d.Labels, d.OwnerReferences = nil, nil })
}

// ownDeployment is one that the operator may create, but for what change does.
func ownDeployment(namespace string, change func(*deployment)) *appsv1.Deployment {
	d := someDeployment("orders-mcp")
	d.Namespace = namespace
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: resources.Selector("orders")}
	d.Spec.Template.Labels = resources.Selector("orders")
	claim(d)
	d.Spec.Template.Spec = corev1.PodSpec{
		ServiceAccountName: "orders-mcp", AutomountServiceAccountToken: new(false),
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true)},
		Containers: []corev1.Container{{
			Name: "runtime", Image: "registry.example.com/runtime:1",
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)},
		}},
	}
	change(d)
	return d
}

func creatingDeployment(change func(*deployment)) func(context.Context, client.Client, string) error {
	return creating(ownDeployment("", change))
}

func service(name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: named(name), Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Port: 80}}}}
}

func ingress(name string) *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: named(name), Spec: networkingv1.IngressSpec{
		DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}}},
	}}
}

var (
	password = &corev1.Secret{ObjectMeta: named("database"), StringData: map[string]string{"password": "hunter2"}}
	victim   = somePod("shop-1", map[string]string{"app": "shop"})
	// disguised wears our labels, but is nobody's child.
	disguised = &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "orders-mcp-1", Labels: map[string]string{resources.LabelManagedBy: resources.ManagedBy, resources.LabelServer: "orders"}},
		Data:       map[string]string{"a": "b"},
	}
)

// readSecret reads through an empty patch, whose answer is the whole object.
func readSecret(ctx context.Context, c client.Client, namespace string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: password.Name}}
	if err := c.Get(ctx, client.ObjectKeyFromObject(secret), secret); err == nil {
		return errors.New("the operator may get Secrets: there is nothing to attack")
	}
	if err := c.Patch(ctx, secret, mergePatch(`{}`)); err != nil {
		return err
	}
	if string(secret.Data["password"]) != "hunter2" {
		return errors.New("the answer does not have the password")
	}
	return nil
}

func attacks() []attack {
	return slices.Concat(secretAttacks(), podAttacks(), childAttacks(), inventedAttacks(), deploymentAttacks())
}

func secretAttacks() []attack {
	session := corev1.SecretType("fairlead.dev/session-keys")
	return []attack{
		{name: "a Secret is read by an empty patch", policy: "secrets", victims: []client.Object{password}, do: readSecret},
		{name: "a foreign Secret is overwritten", policy: "secrets", victims: []client.Object{password}, do: patching(password, `{"data":{"password":"eA=="}}`)},
		{
			name: "a foreign Secret is applied onto", policy: "secrets", victims: []client.Object{password},
			do: applying(&corev1.Secret{ObjectMeta: named("database"), Data: map[string][]byte{"password": []byte("x")}}),
		},
		{
			name: "a foreign Secret with a name like ours is read", policy: "secrets",
			victims: []client.Object{&corev1.Secret{ObjectMeta: named("orders-mcp-session"), StringData: map[string]string{"a": "b"}}},
			do:      patching(&corev1.Secret{ObjectMeta: named("orders-mcp-session")}, `{}`),
		},
		{name: "a Secret of another type is created", policy: "secrets", do: creating(&corev1.Secret{ObjectMeta: named("orders-mcp-session")})},
		{name: "a Secret of another name is created", policy: "secrets", do: creating(&corev1.Secret{ObjectMeta: named("ca"), Type: session})},
		{name: "a Secret with a name too much like ours is created", policy: "secrets", do: creating(&corev1.Secret{ObjectMeta: named("orders-mcp-session2"), Type: session})},
		{
			name: "a token of another ServiceAccount is ordered", policy: "secrets",
			victims: []client.Object{&corev1.ServiceAccount{ObjectMeta: named("deployer")}},
			do: creating(&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "stolen", Annotations: map[string]string{corev1.ServiceAccountNameKey: "deployer"}},
				Type:       corev1.SecretTypeServiceAccountToken,
			}),
		},
		{
			name: "the master key is set in another namespace", policy: "secrets",
			do: creating(&corev1.Secret{ObjectMeta: named("fairlead-master-key"), Type: "fairlead.dev/master-key"}),
		},
		{
			name: "the master key is read by a patch and its label changed", policy: "secrets", namespace: operatorNamespace,
			victims: []client.Object{&corev1.Secret{ObjectMeta: named("fairlead-master-key"), Type: "fairlead.dev/master-key", StringData: map[string]string{"key": "k"}}},
			do:      patching(&corev1.Secret{ObjectMeta: named("fairlead-master-key")}, `{"metadata":{"labels":{"a":"b"}}}`),
		},
		{
			name: "a Secret is deleted", policy: "secrets", victims: []client.Object{password},
			more: deletes("", "secrets"),
			do:   deleting(password),
		},
	}
}

func podAttacks() []attack {
	pods := func(resource string, verbs ...string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{resource}, Verbs: verbs}}
	}
	image := `{"spec":{"containers":[{"name":"main","image":"registry.example.com/evil:1"}]}}`
	return []attack{
		{name: "a pod's image is patched", policy: "pods", more: pods("pods", "patch"), victims: []client.Object{victim}, do: patching(victim, image)},
		{name: "the image of our own pod is patched", policy: "pods", more: pods("pods", "patch"), victims: []client.Object{ownPod()}, do: patching(ownPod(), image)},
		{name: "a foreign pod is annotated", policy: "pods", victims: []client.Object{victim}, do: patchingStatus(victim, `{"metadata":{"annotations":{"fairlead.dev/config-revision":"1-1"}}}`)},
		{name: "a foreign pod is made the first to go", policy: "pods", victims: []client.Object{victim}, do: patchingStatus(victim, `{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"-1"}}}`)},
		{
			name: "a pod's image is patched with its deletion cost", policy: "pods", more: pods("pods", "patch"), victims: []client.Object{ownPod()},
			do: patching(ownPod(), `{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"1"}},"spec":{"containers":[{"name":"main","image":"registry.example.com/evil:1"}]}}`),
		},
		{name: "a label is set with the deletion cost", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"labels":{"app":"payments"},"annotations":{"controller.kubernetes.io/pod-deletion-cost":"1"}}}`)},
		{name: "another annotation of Kubernetes is set", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"annotations":{"kubectl.kubernetes.io/default-container":"x"}}}`)},
		{
			name: "a foreign pod is given our label and annotated", policy: "pods", victims: []client.Object{victim},
			do: patchingStatus(victim, `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"fairlead","fairlead.dev/server":"orders"},"annotations":{"fairlead.dev/config-revision":"1-1"}}}`),
		},
		{name: "a pod is put behind another Service", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"labels":{"app":"payments"}}}`)},
		{name: "a pod loses its labels", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"labels":null}}`)},
		{name: "a pod is said to be ready", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)},
		{name: "a pod is given another address", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"status":{"podIP":"10.0.0.7","podIPs":[{"ip":"10.0.0.7"}]}}`)},
		{name: "a foreign annotation is set", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"annotations":{"example.com/other":"x"}}}`)},
		{name: "a foreign annotation is changed", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"annotations":{"example.com/mesh":"off"}}}`)},
		{name: "a foreign annotation is removed", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"annotations":{"example.com/mesh":null}}}`)},
		{name: "a finalizer is removed", policy: "pods", victims: []client.Object{ownPod()}, do: patchingStatus(ownPod(), `{"metadata":{"finalizers":null}}`)},
		{name: "a pod is deleted", policy: "pods", more: pods("pods", "delete"), victims: []client.Object{ownPod()}, do: deleting(ownPod())},
		{name: "a pod is created", policy: "pods", more: pods("pods", "create"), do: creating(ownPod())},
		{
			name: "a container is put into a running pod", policy: "pods", more: pods("pods/ephemeralcontainers", "patch"), victims: []client.Object{ownPod()},
			do: func(ctx context.Context, c client.Client, namespace string) error {
				pod := ownPod()
				pod.Namespace = namespace
				return c.SubResource("ephemeralcontainers").Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType,
					[]byte(`{"spec":{"ephemeralContainers":[{"name":"spy","image":"registry.example.com/spy:1","terminationMessagePolicy":"File","imagePullPolicy":"Always"}]}}`)))
			},
		},
	}
}

// deletes is the right to delete, which config/rbac does not give.
func deletes(group, resource string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{"delete"}}}
}

func childAttacks() []attack {
	shop := service("shop", map[string]string{"app": "shop"})
	settings := &corev1.ConfigMap{ObjectMeta: named("settings"), Data: map[string]string{"a": "b"}}
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: named("shop"), Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1))}}
	wall := &networkingv1.NetworkPolicy{ObjectMeta: named("shop"), Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}
	scaler := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: named("shop"), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop"}, MaxReplicas: 2,
	}}
	own := service("orders-mcp", map[string]string{"app": "orders"})
	claim(own)
	return []attack{
		{name: "a foreign Service is applied onto", policy: "children", victims: []client.Object{shop}, do: applying(service("shop", map[string]string{"fairlead.dev/server": "orders"}))},
		{name: "a foreign Service's selector is patched", policy: "children", victims: []client.Object{shop}, do: patching(shop, `{"spec":{"selector":{"app":"evil"}}}`)},
		{name: "a foreign ConfigMap is changed", policy: "children", victims: []client.Object{settings}, do: patching(settings, `{"data":{"a":"c"}}`)},
		{name: "a foreign ConfigMap is deleted", policy: "children", victims: []client.Object{settings}, do: deleting(settings)},
		{name: "a foreign ConfigMap with our labels is deleted", policy: "children", victims: []client.Object{disguised}, do: deleting(disguised)},
		{name: "a foreign ServiceAccount is changed", policy: "children", victims: []client.Object{&corev1.ServiceAccount{ObjectMeta: named("deployer")}}, do: patching(&corev1.ServiceAccount{ObjectMeta: named("deployer")}, `{"metadata":{"annotations":{"iam.example.com/role":"admin"}}}`)},
		{name: "the pods of a foreign Deployment are changed", policy: "children", victims: []client.Object{foreignDeployment()}, do: patching(foreignDeployment(), `{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}`)},
		{
			name: "a foreign Deployment is given our labels and owner", policy: "children", victims: []client.Object{foreignDeployment()},
			do: patching(foreignDeployment(), `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"fairlead","fairlead.dev/server":"orders"},
				"ownerReferences":[{"apiVersion":"fairlead.dev/v1alpha1","kind":"MCPServer","name":"orders","uid":"1","controller":true}]}}`),
		},
		{name: "a foreign Ingress is changed", policy: "children", victims: []client.Object{ingress("shop")}, do: patching(ingress("shop"), `{"spec":{"defaultBackend":{"service":{"name":"evil"}}}}`)},
		{name: "a foreign Ingress is deleted", policy: "children", victims: []client.Object{ingress("shop")}, do: deleting(ingress("shop"))},
		{name: "a foreign NetworkPolicy is opened", policy: "children", victims: []client.Object{wall}, do: patching(wall, `{"spec":{"ingress":[{}]}}`)},
		{name: "a foreign NetworkPolicy is deleted", policy: "children", more: deletes("networking.k8s.io", "networkpolicies"), victims: []client.Object{wall}, do: deleting(wall)},
		{name: "a foreign PodDisruptionBudget is deleted", policy: "children", more: deletes("policy", "poddisruptionbudgets"), victims: []client.Object{budget}, do: deleting(budget)},
		{name: "a foreign HorizontalPodAutoscaler is changed", policy: "children", victims: []client.Object{scaler}, do: patching(scaler, `{"spec":{"maxReplicas":1}}`)},
		{name: "an object without an owner is created", policy: "children", do: creating(&corev1.ConfigMap{ObjectMeta: named("orders-mcp-1")})},
		{name: "an object of another name is created", policy: "children", do: applying(service("payments", map[string]string{"app": "payments"}))},
		{name: "a child is given away", policy: "children", victims: []client.Object{own}, do: patching(own, `{"metadata":{"ownerReferences":null}}`)},
	}
}

// inventedAttacks are new objects of an MCPServer that need not exist: they have
// its name, labels and owner, and reach what is not its own.
func inventedAttacks() []attack {
	const name = "orders-mcp"
	own := resources.Selector("orders")
	foreign := map[string]string{"app": "shop"}
	invented := func(object client.Object) func(context.Context, client.Client, string) error {
		claim(object)
		return creating(object)
	}
	wall := func(selector metav1.LabelSelector) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: named(name), Spec: networkingv1.NetworkPolicySpec{
			PodSelector: selector, PolicyTypes: []networkingv1.PolicyType{"Ingress"}, Ingress: []networkingv1.NetworkPolicyIngressRule{{}},
		}}
	}
	budget := func(selector *metav1.LabelSelector) *policyv1.PodDisruptionBudget {
		return &policyv1.PodDisruptionBudget{ObjectMeta: named(name), Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(0)), Selector: selector}}
	}
	scaler := func(kind, target string) *autoscalingv2.HorizontalPodAutoscaler {
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: named(name), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kind, Name: target}, MaxReplicas: 100,
		}}
	}
	reaching := func(change func(*corev1.ServiceSpec)) *corev1.Service {
		s := service(name, own)
		change(&s.Spec)
		return s
	}
	front := func(host, backend string) *networkingv1.Ingress {
		return &networkingv1.Ingress{ObjectMeta: named(name), Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
			Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: "/", PathType: new(networkingv1.PathTypePrefix),
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: backend, Port: networkingv1.ServiceBackendPort{Number: 80}}},
			}}}},
		}}}}
	}
	behindDefault := ingress(name)
	behindDefault.Spec.Rules = front("a.example.com", name).Spec.Rules
	wide := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: resources.LabelServer, Operator: metav1.LabelSelectorOpExists}}}
	catching := ownDeployment("", func(d *deployment) {
		d.Spec.Selector, d.Spec.Template.Labels = &metav1.LabelSelector{MatchLabels: foreign}, foreign
	})
	list := []attack{
		{name: "a NetworkPolicy opens all pods to everybody", do: invented(wall(metav1.LabelSelector{}))},
		{name: "a NetworkPolicy opens the pods of another server", do: invented(wall(metav1.LabelSelector{MatchLabels: resources.Selector("payments")}))},
		{name: "a NetworkPolicy opens the pods of all servers", do: invented(wall(wide))},
		{name: "a Service takes the traffic of foreign pods", do: invented(service(name, foreign))},
		{name: "a Service without a selector takes endpoints of anybody's", do: invented(service(name, nil))},
		{name: "a Service takes the traffic to a foreign address", do: invented(reaching(func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"192.0.2.7"} }))},
		{name: "a Service is published by a load balancer", do: invented(reaching(func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeLoadBalancer }))},
		{name: "a Service is published on all nodes", do: invented(reaching(func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }))},
		{name: "a Service is another name", do: invented(reaching(func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "evil.example.com"
		}))},
		{name: "a foreign Deployment is scaled", do: invented(scaler("Deployment", "shop"))},
		{name: "a StatefulSet of the Deployment's name is scaled", do: invented(scaler("StatefulSet", name))},
		{name: "evictions of all pods are blocked", do: invented(budget(&metav1.LabelSelector{}))},
		{name: "evictions of foreign pods are blocked", do: invented(budget(&metav1.LabelSelector{MatchLabels: foreign}))},
		{name: "a Deployment adopts foreign pods", do: creating(catching)},
		{name: "an Ingress leads to a foreign Service", do: invented(front("shop.example.com", "shop"))},
		{name: "an Ingress takes every host", do: invented(front("", name))},
		{name: "an Ingress leads the rest to a foreign Service", do: invented(behindDefault)},
	}
	for i := range list {
		list[i].policy = "children"
	}
	return list
}

func deploymentAttacks() []attack {
	pod := func(change func(*corev1.PodSpec)) func(context.Context, client.Client, string) error {
		return creatingDeployment(func(d *deployment) { change(&d.Spec.Template.Spec) })
	}
	return []attack{
		{name: "a pod runs with another ServiceAccount", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.ServiceAccountName = "deployer" })},
		{name: "a pod has a token", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.AutomountServiceAccountToken = nil })},
		{name: "a pod has a projected token", policy: "deployments", do: pod(func(p *corev1.PodSpec) {
			p.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
			}}}}
		})},
		{name: "a pod reads the node's files", policy: "deployments", do: pod(func(p *corev1.PodSpec) {
			p.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		})},
		{name: "a pod is on the node's network", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.HostNetwork = true })},
		{name: "a pod sees the node's processes", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.HostPID = true })},
		{name: "a pod may be root", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.SecurityContext = nil })},
		{name: "a container is root", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsUser = ptr.To[int64](0) })},
		{name: "a container may be root in a pod that may not", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsNonRoot = new(false) })},
		{name: "a container is privileged", policy: "deployments", do: pod(func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		})},
		{name: "a container may gain privileges", policy: "deployments", do: pod(func(p *corev1.PodSpec) { p.Containers[0].SecurityContext = nil })},
		{name: "a container has capabilities", policy: "deployments", do: pod(func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities = &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}
		})},
		{name: "an init container may gain privileges", policy: "deployments", do: pod(func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "init", Image: "registry.example.com/init:1"}}
		})},
		{name: "a container takes a port of the node", policy: "deployments", do: pod(func(p *corev1.PodSpec) {
			p.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 80}}
		})},
	}
}

// TestAttacks runs every attack twice: it succeeds with the rights of
// config/rbac alone, and the policy refuses it. Then what the operator does all
// day is tried.
//
// Not parallel: the policies are installed in between.
func TestAttacks(t *testing.T) { //nolint:paralleltest // See above.
	list := attacks()
	for _, a := range list {
		t.Run("without the policies "+a.name, func(t *testing.T) { //nolint:paralleltest // All of this before the policies.
			if err := a.run(t); err != nil {
				t.Errorf("it fails without the policy, so that nothing is shown: %v", err)
			}
		})
	}
	enforce(t)
	for _, a := range list {
		t.Run("with the policies "+a.name, func(t *testing.T) { //nolint:paralleltest // One API server, two cores.
			if problem := refusal(a.policy, a.run(t)); problem != "" {
				t.Error(problem)
			}
		})
	}
	t.Run("what the operator does", legitimate)
	t.Run("others", others)
}

func (a attack) run(t *testing.T) error {
	t.Helper()
	namespace := a.namespace
	if namespace == "" {
		namespace = newNamespace(t)
	}
	for _, object := range a.victims {
		create(t, namespace, object.DeepCopyObject().(client.Object))
	}
	if a.more == nil {
		return a.do(t.Context(), cluster.operator, namespace)
	}
	allow(t, namespace, a.more...)
	var err error
	// A new right is known to the API server a moment later.
	eventually(t, func() string {
		if err = a.do(t.Context(), cluster.operator, namespace); err != nil && isUnauthorized(err) {
			return err.Error()
		}
		return ""
	})
	return err
}
