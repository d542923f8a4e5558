// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

func TestStoryCreate(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	s.create(server)
	s.want(server, "Accepted=True/Accepted", "Ready=False/PodsNotReady", "Reconciling=True/PodsNotReady",
		"Available=False/PodsNotReady", "Stalled=")
	s.rollOut(server)
	s.want(server, "Accepted=True/Accepted", "Ready=True/Serving", "Available=True/Serving", "Reconciling=", "Stalled=")

	for _, object := range s.children(server) {
		owner := metav1.GetControllerOf(object)
		if owner == nil || owner.UID != server.UID || !ptr.Deref(owner.BlockOwnerDeletion, false) {
			t.Errorf("%T %s is owned by %v", object, object.GetName(), owner)
		}
	}
	want := fairleadv1alpha1.MCPServerStatus{
		Address:            &fairleadv1alpha1.Address{URL: "http://orders-mcp." + s.namespace + ".svc/mcp"},
		Tools:              &fairleadv1alpha1.ToolsStatus{Count: 2, Names: []string{"get_order", "refund"}, Revision: server.Status.Tools.Revision},
		ServerInfo:         &fairleadv1alpha1.ServerInfo{Name: "orders", Version: "dev"},
		Replicas:           2,
		Selector:           "fairlead.dev/server=orders",
		ObservedGeneration: server.Generation,
	}
	got := server.Status
	got.Conditions = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	// One apply for each child, one status on the way, one when it serves, one
	// record of what serves; and one look behind the cache for each name that may
	// be read.
	prefix := "/namespaces/" + s.namespace + "/"
	wantRequests := []string{
		"GET /api/v1" + prefix + "configmaps/" + slices.Collect(maps.Keys(s.configMaps(server)))[0],
		"GET /api/v1" + prefix + "serviceaccounts/orders-mcp",
		"GET /api/v1" + prefix + "services/orders-mcp",
		"GET /api/v1" + prefix + "services/orders-mcp-peers",
		"GET /apis/apps/v1" + prefix + "deployments/orders-mcp",
		"GET /apis/networking.k8s.io/v1" + prefix + "networkpolicies/orders-mcp",
		"GET /apis/policy/v1" + prefix + "poddisruptionbudgets/orders-mcp",
		"PATCH /api/v1" + prefix + "configmaps/" + slices.Collect(maps.Keys(s.configMaps(server)))[0],
		"PATCH /api/v1" + prefix + "secrets/orders-mcp-session",
		"PATCH /api/v1" + prefix + "serviceaccounts/orders-mcp",
		"PATCH /api/v1" + prefix + "services/orders-mcp",
		"PATCH /api/v1" + prefix + "services/orders-mcp-peers",
		"PATCH /apis/apps/v1" + prefix + "deployments/orders-mcp",
		"PATCH /apis/fairlead.dev/v1alpha1" + prefix + "mcpservers/orders/status",
		"PATCH /apis/fairlead.dev/v1alpha1" + prefix + "mcpservers/orders/status",
		"PATCH /apis/networking.k8s.io/v1" + prefix + "networkpolicies/orders-mcp",
		"PATCH /apis/policy/v1" + prefix + "poddisruptionbudgets/orders-mcp",
		"POST /apis/apps/v1" + prefix + "controllerrevisions",
	}
	requests := suite.writes.In(s.namespace)
	slices.Sort(requests)
	if diff := cmp.Diff(wantRequests, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func (s *story) children(server *fairleadv1alpha1.MCPServer) []client.Object {
	s.Helper()
	name := resources.Name(server.Name)
	children := []client.Object{
		s.read(named(s, &corev1.ServiceAccount{}, name)), s.read(named(s, &corev1.Service{}, name)),
		s.read(named(s, &corev1.Service{}, resources.PeersName(server.Name))), s.read(named(s, &appsv1.Deployment{}, name)),
	}
	for _, configMap := range s.configMaps(server) {
		children = append(children, configMap)
	}
	return children
}

func TestStoryLiveEdit(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	before := s.read(s.deployment(server)).GetResourceVersion()
	names := slices.Collect(maps.Keys(s.configMaps(server)))
	revision := server.Status.Tools.Revision
	writes := len(suite.writes.WritesIn(s.namespace))

	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Tools[0].Description = "A better text." })
	s.want(server, "Ready=True/Serving")

	if server.Status.Tools.Revision == revision {
		t.Errorf("the revision is still %q", revision)
	}
	after := s.configMaps(server)
	if diff := cmp.Diff(names, slices.Collect(maps.Keys(after))); diff != "" {
		t.Errorf("ConfigMaps (-before +after):\n%s", diff)
	}
	if data := after[names[0]].Data[resources.ServerFile]; !strings.Contains(data, "A better text.") || !strings.Contains(data, server.Status.Tools.Revision) {
		t.Errorf("the ConfigMap has neither the text nor the revision:\n%s", data)
	}
	if got := s.read(s.deployment(server)).GetResourceVersion(); got != before {
		t.Error("the Deployment was written: a tool's text must not touch it")
	}
	if got := suite.writes.WritesIn(s.namespace)[writes:]; len(got) != 3 {
		t.Errorf("an edit of a text cost these writes, want one ConfigMap, one record and one status: %q", got)
	}
}

func TestStoryRollingEditKeepsTheOldConfigMap(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	old := slices.Collect(maps.Keys(s.configMaps(server)))[0]
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].HTTP.HeadersFrom[0].SecretKeyRef.Name = "another"
	})
	// Two old pods still run beside two new ones that are not ready yet.
	deployment := s.deployment(server)
	s.want(server, "Accepted=True/Accepted", "Ready=False/PodsNotReady")
	s.read(deployment)
	s.setStatus(deployment, appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: 4, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2, UnavailableReplicas: 2,
	})
	s.want(server, "Ready=False/RollingOut", "Reconciling=True/RollingOut", "Available=True/Serving")
	if found := s.configMaps(server); len(found) != 2 || found[old] == nil {
		t.Fatalf("ConfigMaps while rolling out: %v, want the old %q and a new one", slices.Collect(maps.Keys(found)), old)
	}
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	s.eventually(func() string {
		if found := s.configMaps(server); len(found) != 1 || found[old] != nil {
			return fmt.Sprintf("ConfigMaps after the roll-out: %v", slices.Collect(maps.Keys(found)))
		}
		return ""
	})
}

func TestStoryBreakAndMend(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	before := s.children(server)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].InputSchema = &runtime.RawExtension{Raw: []byte(`{"type":"object","required":["id"],"properties":{"id":{"type":"string","pattern":"("}}}`)}
	})
	s.want(server, "Accepted=False/InvalidSpec", "Ready=False/InvalidSpec", "Stalled=True/InvalidSpec", "Available=True/Serving", "Reconciling=")
	if got, want := message(server, "Accepted"), "spec.tools[0].inputSchema.properties.id.pattern: "; !strings.HasPrefix(got, want) {
		t.Errorf("message = %q, want it to begin with %q", got, want)
	}
	if server.Status.Tools == nil || server.Status.Tools.Count != 2 {
		t.Errorf("status.tools = %v, want the catalog that still serves", server.Status.Tools)
	}
	for i, after := range s.children(server) {
		if before[i].GetResourceVersion() != after.GetResourceVersion() {
			t.Errorf("%T %s was written for a spec that does not compile", after, after.GetName())
		}
	}

	// The number of pods still follows.
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(5)) })
	s.eventually(func() string {
		deployment := s.deployment(server)
		s.read(deployment)
		if *deployment.Spec.Replicas != 5 {
			return fmt.Sprintf("replicas = %d, want 5", *deployment.Spec.Replicas)
		}
		return ""
	})
	s.want(server, "Accepted=False/InvalidSpec")

	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].InputSchema = &runtime.RawExtension{Raw: []byte(`{"type":"object","required":["id"],"properties":{"id":{"type":"string"}}}`)}
		m.Spec.Replicas = new(int32(3))
	})
	s.want(server, "Accepted=True/Accepted", "Stalled=")
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	if deployment := s.deployment(server); *s.read(deployment).(*appsv1.Deployment).Spec.Replicas != 3 {
		t.Errorf("replicas = %d after mending, want 3", *deployment.Spec.Replicas)
	}
}

func TestStoryBrokenFromTheStart(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("minimal")
	server.Spec.Tools[0].Static.Content[0].Text = new("${arguments.")
	s.create(server)
	s.want(server, "Accepted=False/InvalidSpec", "Ready=False/InvalidSpec", "Stalled=True/InvalidSpec", "Available=False/PodsNotReady")
	if s.exists(s.deployment(server)) || len(s.configMaps(server)) > 0 {
		t.Error("objects were written for a spec that never compiled")
	}
}

func TestStoryForeignObject(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"orders-mcp", resources.PeersName("orders")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			foreignService(t, name)
		})
	}
}

// foreignService has a stranger's Service under the name of a child.
func foreignService(t *testing.T, name string) {
	t.Helper()
	s := newStory(t)
	foreign := named(s, &corev1.Service{}, name)
	foreign.Spec = corev1.ServiceSpec{Selector: map[string]string{"app": "mine"}, Ports: []corev1.ServicePort{{Port: 80}}}
	s.create(foreign)
	version := foreign.ResourceVersion
	server := s.manifest("orders")
	s.create(server)
	s.want(server, "Accepted=False/NameConflict", "Ready=False/NameConflict", "Stalled=True/NameConflict")
	if got := message(server, "Accepted"); !strings.Contains(got, fmt.Sprintf("Service %q", name)) || !strings.Contains(got, "rename") {
		t.Errorf("message = %q names neither the object nor the next act", got)
	}
	for _, write := range suite.writes.WritesIn(s.namespace) {
		if !strings.HasSuffix(write, "/mcpservers/orders/status") {
			t.Errorf("written although a name is taken: %s", write)
		}
	}
	if got := s.read(foreign).GetResourceVersion(); got != version {
		t.Error("the foreign Service was changed")
	}
	s.delete(foreign)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Title = "Again" })
	s.want(server, "Accepted=True/Accepted")
}

// Another server's child is as foreign as a stranger's object.
func TestStoryForeignServer(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	service := named(s, &corev1.Service{}, "hello-mcp")
	edit(s, service, func(o *corev1.Service) {
		o.OwnerReferences[0].Name, o.OwnerReferences[0].UID = "other", "00000000-0000-0000-0000-000000000001"
	})
	s.want(server, "Accepted=False/NameConflict", "Available=True/Serving")
	if got, want := message(server, "Accepted"), `belongs to MCPServer "other"`; !strings.Contains(got, want) {
		t.Errorf("message = %q, want it to say %q", got, want)
	}
}

func TestStoryDelete(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	s.delete(server)
	writes := suite.writes.WritesIn(s.namespace)
	// No garbage collector runs here; the event of a child must bring nothing back.
	service := named(s, &corev1.Service{}, "hello-mcp")
	s.read(service)
	s.delete(service)
	other := s.manifest("large")
	s.create(other)
	s.want(other, "Accepted=True/Accepted")
	if s.exists(service) {
		t.Error("the Service of a deleted server came back")
	}
	for _, write := range suite.writes.WritesIn(s.namespace)[len(writes):] {
		if strings.Contains(write, "/hello") {
			t.Errorf("written for a deleted server: %s", write)
		}
	}
}

func TestStoryDriftIsHealed(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	configMap := slices.Collect(maps.Values(s.configMaps(server)))[0]
	want := configMap.Data[resources.ServerFile]
	edit(s, configMap, func(o *corev1.ConfigMap) { o.Data[resources.ServerFile] = "broken" })
	s.eventually(func() string {
		if got := s.read(configMap).(*corev1.ConfigMap).Data[resources.ServerFile]; got != want {
			return "the configuration is " + got
		}
		return ""
	})
	service := named(s, &corev1.Service{}, "hello-mcp")
	edit(s, service, func(o *corev1.Service) {
		o.Spec.Selector["app"] = "other"
		o.Spec.Selector[resources.LabelServer] = "other"
	})
	s.eventually(func() string {
		s.read(service)
		if service.Spec.Selector[resources.LabelServer] != "hello" {
			return fmt.Sprintf("the selector is %v", service.Spec.Selector)
		}
		return ""
	})
	deployment := s.deployment(server)
	edit(s, deployment, func(o *appsv1.Deployment) {
		o.Spec.Template.Spec.Containers[0].Args = append(o.Spec.Template.Spec.Containers[0].Args, "--evil")
	})
	s.eventually(func() string {
		s.read(deployment)
		if slices.Contains(deployment.Spec.Template.Spec.Containers[0].Args, "--evil") {
			return fmt.Sprintf("args %q", deployment.Spec.Template.Spec.Containers[0].Args)
		}
		return ""
	})
	// An object without our label leaves the cache; it is found behind it.
	account := named(s, &corev1.ServiceAccount{}, "hello-mcp")
	edit(s, account, func(o *corev1.ServiceAccount) { delete(o.Labels, resources.LabelManagedBy) })
	s.eventually(func() string {
		if s.read(account).GetLabels()[resources.LabelManagedBy] != resources.ManagedBy {
			return "the label is not back"
		}
		return ""
	})
	s.delete(account)
	s.eventually(func() string {
		if !s.exists(account) {
			return "the ServiceAccount is not back"
		}
		return ""
	})
}

// What others add is theirs, and no reason to write.
func TestStoryOthersMayAdd(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	writes := len(suite.writes.WritesIn(s.namespace))
	service := named(s, &corev1.Service{}, "hello-mcp")
	edit(s, service, func(o *corev1.Service) {
		o.Annotations["example.com/theirs"] = "yes"
		o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{Name: "theirs", Port: 8080})
	})
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Title = "Later" })
	s.want(server, "Ready=True/Serving")
	s.read(service)
	if service.Annotations["example.com/theirs"] != "yes" || len(service.Spec.Ports) != 2 {
		t.Errorf("what somebody added is gone: %v %v", service.Annotations, service.Spec.Ports)
	}
	for _, write := range suite.writes.WritesIn(s.namespace)[writes:] {
		if strings.Contains(write, "/services/") {
			t.Errorf("written because somebody added something: %s", write)
		}
	}
}

// A field that is rendered no longer leaves the live object too.
func TestStoryRemovedFieldsGo(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("minimal")
	server.Spec.Pod = &fairleadv1alpha1.Pod{
		Labels:       map[string]fairleadv1alpha1.LabelValue{"team": "shop", "tier": "one"},
		NodeSelector: map[string]fairleadv1alpha1.LabelValue{"disk": "ssd"},
	}
	server.Spec.Exposure = &fairleadv1alpha1.Exposure{
		Profile: fairleadv1alpha1.ProfileTraefik, Ingress: &fairleadv1alpha1.IngressExposure{Hosts: []string{"a.example", "b.example"}},
	}
	s.create(server)
	s.want(server, "Accepted=True/Accepted")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"team": "shop"}}
		m.Spec.Exposure.Profile = fairleadv1alpha1.ProfileNone
		m.Spec.Exposure.Ingress.Hosts = []string{"a.example"}
	})
	s.want(server, "Accepted=True/Accepted")
	deployment := s.deployment(server)
	s.read(deployment)
	if template := deployment.Spec.Template; template.Labels["tier"] != "" || template.Labels["team"] != "shop" || len(template.Spec.NodeSelector) > 0 {
		t.Errorf("the pod template still has labels %v and node selector %v", template.Labels, template.Spec.NodeSelector)
	}
	if service := named(s, &corev1.Service{}, "hello-mcp"); len(s.read(service).GetAnnotations()) != 1 {
		t.Errorf("the Service still has annotations %v", service.Annotations)
	}
	if ingress := named(s, &networkingv1.Ingress{}, "hello-mcp"); len(s.read(ingress).(*networkingv1.Ingress).Spec.Rules) != 1 {
		t.Errorf("the Ingress still has rules %v", ingress.Spec.Rules)
	}
}

func TestStoryPause(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.ManagementState = fairleadv1alpha1.Paused
		m.Spec.Replicas = new(int32(4))
	})
	s.want(server, "Accepted=Unknown/Paused", "Ready=Unknown/Paused", "Available=True/Serving", "Reconciling=", "Stalled=")
	deployment := s.deployment(server)
	edit(s, deployment, func(o *appsv1.Deployment) { o.Spec.Replicas = new(int32(1)) })
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Title = "Still paused" })
	s.want(server, "Ready=Unknown/Paused")
	s.read(deployment)
	if *deployment.Spec.Replicas != 1 {
		t.Errorf("replicas = %d: a paused server was written", *deployment.Spec.Replicas)
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.ManagementState = fairleadv1alpha1.Managed })
	s.want(server, "Accepted=True/Accepted")
	s.read(deployment)
	if *deployment.Spec.Replicas != 4 {
		t.Errorf("replicas = %d after the pause, want 4", *deployment.Spec.Replicas)
	}
}

func TestStoryScaleToZero(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(0)) })
	s.eventually(func() string {
		deployment := s.deployment(server)
		s.read(deployment)
		if *deployment.Spec.Replicas != 0 {
			return "not scaled"
		}
		return ""
	})
	s.rollOut(server)
	s.want(server, "Ready=False/ScaledToZero", "Available=False/ScaledToZero", "Reconciling=", "Stalled=")
}

func TestStoryPodFailure(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("minimal")
	s.create(server)
	s.want(server, "Accepted=True/Accepted")
	pod := named(s, &corev1.Pod{}, "hello-mcp-1")
	s.own(server, pod)
	pod.Spec.Containers = []corev1.Container{{Name: "runtime", Image: "x"}}
	s.create(pod)
	fail := func(state corev1.ContainerState, last corev1.ContainerState) {
		before := pod.DeepCopy()
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "runtime", State: state, LastTerminationState: last}}
		if err := suite.admin.Status().Patch(s.ctx, pod, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	fail(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "random 1234"}}, corev1.ContainerState{})
	s.want(server, "Ready=False/PodFailure", "Reconciling=True/PodFailure", "Stalled=")
	if got := message(server, "Ready"); !strings.HasPrefix(got, `ImagePullBackOff: image "fairlead.invalid/fairlead-runtime:dev" cannot be pulled`) {
		t.Errorf("message = %q", got)
	}
	fail(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}})
	s.eventually(func() string {
		s.read(server)
		if got := message(server, "Ready"); !strings.Contains(got, "exits with code 3") {
			return "message = " + got
		}
		return ""
	})
	deployment := s.deployment(server)
	s.read(deployment)
	s.setStatus(deployment, appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: 2, UpdatedReplicas: 2,
		Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"}},
	})
	s.want(server, "Ready=False/PodFailure", "Stalled=True/ProgressDeadlineExceeded", "Reconciling=")
}

// What the API server refuses is told to the user, not only to a log.
func TestStoryRefusedByTheAPIServer(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("minimal")
	server.Spec.Pod = &fairleadv1alpha1.Pod{Tolerations: []corev1.Toleration{{Key: "a", Operator: "Sometimes"}}}
	s.create(server)
	s.want(server, "Accepted=False/ApplyRefused", "Stalled=True/ApplyRefused")
	if got := message(server, "Accepted"); !strings.Contains(got, `Deployment "hello-mcp"`) || !strings.Contains(got, "tolerations") {
		t.Errorf("message = %q names neither the object nor the field", got)
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Pod = nil })
	s.want(server, "Accepted=True/Accepted")
}

// TestStoryRefusedEdit: an edit of which the API server refuses a part must not
// go live in its other parts, such as a tool without the policy that fences it.
func TestStoryRefusedEdit(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	before := s.configMaps(server)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].Description = "Not yet."
		m.Spec.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{EgressTo: []networkingv1.NetworkPolicyEgressRule{{
			Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(808000))}},
		}}}
	})
	s.want(server, "Accepted=False/ApplyRefused", "Available=True/Serving")
	for name, configMap := range s.configMaps(server) {
		if configMap.ResourceVersion != before[name].ResourceVersion {
			t.Errorf("ConfigMap %s was written although the NetworkPolicy was refused", name)
		}
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.NetworkPolicy = nil })
	s.want(server, "Accepted=True/Accepted", "Ready=True/Serving")
}

// TestStoryNamespaceEnds: a namespace that is being deleted takes no new
// objects; that is no failure, and trying again is of no use.
func TestStoryNamespaceEnds(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	s.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})
	service := named(s, &corev1.Service{}, "hello-mcp")
	tries := func() (n int) {
		for _, request := range suite.writes.WritesIn(s.namespace) {
			if strings.Contains(request, "/services/hello-mcp") {
				n++
			}
		}
		return n
	}
	before := tries()
	s.delete(service)
	for want := before + 1; want <= before+2; want++ {
		s.eventually(func() string {
			if got := tries(); got < want {
				return fmt.Sprintf("%d tries, want %d", got, want)
			}
			return ""
		})
		edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Title = fmt.Sprint("Edit ", want) })
	}
	if text := suite.logs.String(); strings.Contains(text, "unable to create new content in namespace "+s.namespace) {
		t.Errorf("the end of a namespace was logged as an error:\n%s", lastLines(text, 5))
	}
}

func TestStoryIngress(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	class := &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}, Spec: networkingv1.IngressClassSpec{Controller: "example.com/unknown"}}
	s.create(class)
	server := s.manifest("minimal")
	server.Spec.Exposure = &fairleadv1alpha1.Exposure{Ingress: &fairleadv1alpha1.IngressExposure{
		ClassName: class.Name, Hosts: []string{"hello.example.com"}, TLS: &fairleadv1alpha1.IngressTLS{SecretName: "tls"},
	}}
	s.create(server)
	s.want(server, "Accepted=True/Accepted")
	if got, want := server.Status.URL, "https://hello.example.com/mcp"; got != want {
		t.Errorf("url = %q, want %q", got, want)
	}
	ingress := named(s, &networkingv1.Ingress{}, "hello-mcp")
	s.read(ingress)
	if got := slices.Collect(maps.Keys(ingress.Annotations)); len(got) != 1 {
		t.Errorf("annotations for an unknown implementation: %v", got)
	}
	// Another implementation comes behind the class: spec.controller cannot be
	// changed, so that the class is made anew.
	s.delete(class)
	class.ResourceVersion, class.UID, class.Spec.Controller = "", "", "k8s.io/ingress-nginx"
	s.create(class)
	s.eventually(func() string {
		s.read(ingress)
		if ingress.Annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] != "3600" {
			return fmt.Sprintf("annotations = %v", ingress.Annotations)
		}
		return ""
	})
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Exposure = nil })
	s.eventually(func() string {
		if s.exists(ingress) {
			return "the Ingress is still there"
		}
		return ""
	})
	s.want(server, "Accepted=True/Accepted")
	if server.Status.URL != "" {
		t.Errorf("url = %q without an exposure", server.Status.URL)
	}
}
