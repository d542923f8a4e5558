// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/test/apiserver"
)

// nextImage is of a newer operator.
const nextImage = "fairlead.invalid/fairlead-runtime:next"

// wave is a fleet of servers that an operator of the story's own has brought to
// Ready, and that a newer one finds.
func (s *story) wave(n int, edit func(i int, m *fairleadv1alpha1.MCPServer)) []*fairleadv1alpha1.MCPServer {
	s.Helper()
	_, stop := s.operator(setting{label: s.namespace})
	var servers []*fairleadv1alpha1.MCPServer
	for i := range n {
		server := s.manifest("orders")
		server.Name = fmt.Sprintf("orders-%02d", i)
		server.Labels = map[string]string{operatorLabel: s.namespace}
		if edit != nil {
			edit(i, server)
		}
		s.create(server)
		servers = append(servers, server)
	}
	for _, server := range servers {
		s.rollOut(server)
		s.want(server, "Ready=True/Serving")
	}
	stop()
	return servers
}

// upgraded returns which servers have pods of the next image, and which of them
// are not rolled out yet.
func (s *story) upgraded(servers []*fairleadv1alpha1.MCPServer) (all, rolling []*fairleadv1alpha1.MCPServer) {
	s.Helper()
	for _, server := range servers {
		deployment := s.deployment(server)
		s.read(deployment)
		if deployment.Spec.Template.Spec.Containers[0].Image != nextImage {
			continue
		}
		all = append(all, server)
		if deployment.Status.ObservedGeneration < deployment.Generation {
			rolling = append(rolling, server)
		}
	}
	return all, rolling
}

// wantUpgraded waits until so many servers have the next image, and holds that
// never more than three roll out.
func (s *story) wantUpgraded(servers []*fairleadv1alpha1.MCPServer, want int) (rolling []*fairleadv1alpha1.MCPServer) {
	s.Helper()
	s.eventually(func() string {
		var all []*fairleadv1alpha1.MCPServer
		all, rolling = s.upgraded(servers)
		if len(rolling) > 3 {
			s.Fatalf("%d servers roll out at once, want at most 3", len(rolling))
		}
		if len(all) != want {
			return fmt.Sprintf("%d servers are upgraded, want %d", len(all), want)
		}
		return ""
	})
	return rolling
}

// fail makes the new pods of a server never ready.
func (s *story) fail(server *fairleadv1alpha1.MCPServer) {
	s.Helper()
	deployment := s.deployment(server)
	s.read(deployment)
	s.setStatus(deployment, appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: 4, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2,
		Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"}},
	})
}

func without(servers, less []*fairleadv1alpha1.MCPServer) []*fairleadv1alpha1.MCPServer {
	return slices.DeleteFunc(slices.Clone(servers), func(m *fairleadv1alpha1.MCPServer) bool { return slices.Contains(less, m) })
}

// An upgrade of the operator rolls a few servers at a time, the next when one
// serves; whoever waits stays Ready.
func TestStoryUpgradeIsPaced(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	servers := s.wave(12, nil)
	_, stop := s.operator(setting{label: s.namespace, image: nextImage})
	defer stop()
	rolling := s.wantUpgraded(servers, 3)
	waiting := without(servers, rolling)
	for _, server := range waiting {
		s.want(server, "UpgradePending=True/Queued", "Ready=True/Serving", "Reconciling=")
	}
	// A user's own edit does not queue.
	eager := waiting[8]
	edit(s, eager, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"team": "a"}}
	})
	s.want(eager, "UpgradePending=", "Ready=False/PodsNotReady")
	s.rollOut(eager)
	s.want(eager, "Ready=True/Serving")
	for done := 4; done < 12; done++ {
		_, rolling = s.upgraded(servers)
		s.rollOut(rolling[0])
		s.wantUpgraded(servers, done+1)
	}
	_, rolling = s.upgraded(servers)
	for _, server := range rolling {
		s.rollOut(server)
	}
	for _, server := range servers {
		s.want(server, "UpgradePending=", "Ready=True/Serving")
	}
}

// An image that does not start stops the wave, also for the operator that comes
// after a restart; when it is mended, the wave goes on.
func TestStoryFailingUpgradeStops(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	servers := s.wave(6, nil)
	_, stop := s.operator(setting{label: s.namespace, image: nextImage})
	rolling := s.wantUpgraded(servers, 3)
	for _, server := range rolling {
		s.fail(server)
	}
	for _, server := range rolling {
		s.want(server, "Ready=False/ProgressDeadlineExceeded", "Available=True/Serving")
	}
	waiting := without(servers, rolling)
	for _, server := range waiting {
		s.want(server, "UpgradePending=True/WaveStopped", "Ready=True/Serving")
		// Those that failed may be another team's: the operator's log names them.
		if said := message(server, "UpgradePending"); strings.Contains(said, "orders-") {
			t.Errorf("%s is told of others: %s", server.Name, said)
		}
	}
	for _, server := range rolling {
		line := `"msg":"Failed to roll out the operator's new pod template"`
		if name := fmt.Sprintf(`"server":"%s/%s"`, s.namespace, server.Name); !slices.ContainsFunc(strings.Split(suite.logs.String(), "\n"), func(logged string) bool {
			return strings.Contains(logged, line) && strings.Contains(logged, name)
		}) {
			t.Errorf("the log does not name %s", server.Name)
		}
	}
	stop()
	requests, stop := s.operator(setting{label: s.namespace, image: nextImage})
	defer stop()
	describeTool(s, waiting[0], "two")
	s.want(waiting[0], "UpgradePending=True/WaveStopped", "Ready=True/Serving")
	s.wantUpgraded(servers, 3)
	for _, write := range requests.WritesIn(s.namespace) {
		if deployment := "/deployments/" + resources.Name(waiting[0].Name); len(write) > len(deployment) && write[len(write)-len(deployment):] == deployment {
			t.Errorf("a live edit of a server that waits wrote its Deployment: %s", write)
		}
	}
	s.rollOut(rolling[0])
	s.want(rolling[0], "Ready=True/Serving")
	s.wantUpgraded(servers, 4)
}

// admission creates a configuration of the API server's admission that holds for
// this story's namespace, and waits until it is in force: until it refuses the
// Deployment of a server the next image.
func (s *story) admission(server *fairleadv1alpha1.MCPServer, objects ...map[string]any) (remove func()) {
	s.Helper()
	var created []*unstructured.Unstructured
	for _, object := range objects {
		object["apiVersion"], object["metadata"] = "admissionregistration.k8s.io/v1", map[string]any{"name": s.namespace}
		created = append(created, &unstructured.Unstructured{Object: object})
		s.create(created[len(created)-1])
	}
	takes := func(want bool) {
		s.Helper()
		s.eventually(func() string {
			deployment := s.deployment(server)
			s.read(deployment)
			before := deployment.DeepCopy()
			deployment.Spec.Template.Spec.Containers[0].Image = nextImage
			if err := suite.admin.Patch(s.ctx, deployment, client.MergeFrom(before), client.DryRunAll); (err == nil) != want {
				return fmt.Sprintf("the API server says to the next image: %v", err)
			}
			return ""
		})
	}
	takes(false)
	return sync.OnceFunc(func() {
		for _, object := range created {
			s.delete(object)
		}
		takes(true)
	})
}

// unsigned refuses the next image.
func (s *story) unsigned(server *fairleadv1alpha1.MCPServer) (remove func()) {
	s.Helper()
	return s.admission(server, map[string]any{"kind": "ValidatingAdmissionPolicy", "spec": map[string]any{
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{"apps"}, "apiVersions": []any{"*"}, "resources": []any{"deployments"}, "operations": []any{"CREATE", "UPDATE"},
		}}},
		"matchConditions": []any{map[string]any{"name": "here", "expression": "request.namespace == '" + s.namespace + "'"}},
		"validations": []any{map[string]any{
			"expression": "object.spec.template.spec.containers.all(c, !c.image.endsWith(':next'))", "message": "image is not signed",
		}},
	}}, map[string]any{"kind": "ValidatingAdmissionPolicyBinding", "spec": map[string]any{
		"policyName": s.namespace, "validationActions": []any{"Deny"},
	}})
}

// deadWebhook makes every write of a Deployment an internal error.
func (s *story) deadWebhook(server *fairleadv1alpha1.MCPServer) (remove func()) {
	s.Helper()
	return s.admission(server, map[string]any{"kind": "ValidatingWebhookConfiguration", "webhooks": []any{map[string]any{
		"name": "dead.example.com", "clientConfig": map[string]any{"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
		"admissionReviewVersions": []any{"v1"}, "failurePolicy": "Fail", "timeoutSeconds": int64(1),
		"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": s.namespace}},
		"rules": []any{map[string]any{
			"apiGroups": []any{"apps"}, "apiVersions": []any{"v1"}, "resources": []any{"deployments"}, "operations": []any{"CREATE", "UPDATE"},
		}},
	}}})
}

// A new pod template that the API server does not take costs nobody his server:
// those whose turn it is keep theirs and count as failed, the others wait.
func TestStoryRefusedUpgrade(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, reason, says string
		refuse             func(*story, *fairleadv1alpha1.MCPServer) func()
	}{
		{"by a policy", "ApplyRefused", "image is not signed", (*story).unsigned},
		{"by a webhook that is down", "ApplyFailed", "dead.example.com", (*story).deadWebhook},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			servers := s.wave(5, nil)
			allow := tt.refuse(s, servers[0])
			defer allow()
			var later atomic.Int64
			requests, stop := s.operator(setting{label: s.namespace, image: nextImage, now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
			defer stop()
			var refused []*fairleadv1alpha1.MCPServer
			s.eventually(func() string {
				refused = slices.DeleteFunc(slices.Clone(servers), func(m *fairleadv1alpha1.MCPServer) bool {
					s.read(m)
					return condition(m, "UpgradePending") != "True/"+tt.reason
				})
				if len(refused) != 3 {
					return fmt.Sprintf("%d servers say %s, want 3", len(refused), tt.reason)
				}
				return ""
			})
			for _, server := range without(servers, refused) {
				s.want(server, "UpgradePending=True/WaveStopped")
			}
			for _, server := range servers {
				s.want(server, "Ready=True/Serving", "Accepted=True/Accepted", "Reconciling=")
			}
			if said := message(refused[0], "UpgradePending"); !strings.Contains(said, tt.says) {
				t.Errorf("message = %q, want the API server's words: %q", said, tt.says)
			}
			// It goes on taking edits, and is not tried again on each look.
			before := len(requests.WritesIn(s.namespace))
			describeTool(s, refused[0], "two")
			s.want(refused[0], "Ready=True/Serving", "UpgradePending=True/"+tt.reason)
			s.wantFiles(refused[0], "two", "Fetch one order.")
			for _, write := range requests.WritesIn(s.namespace)[before:] {
				if strings.Contains(write, "/deployments/") {
					t.Errorf("an edit tried the new template again: %s", write)
				}
			}
			allow()
			s.wantUpgraded(servers, 0)
			later.Add(int64(time.Minute))
			s.eventually(func() string {
				s.lookAgain()
				_, rolling := s.upgraded(servers)
				for _, server := range rolling {
					s.rollOut(server)
				}
				if all, _ := s.upgraded(servers); len(all) != len(servers) {
					return fmt.Sprintf("%d servers are upgraded, want all", len(all))
				}
				return ""
			})
			for _, server := range servers {
				s.rollOut(server)
				s.want(server, "Ready=True/Serving", "UpgradePending=")
			}
		})
	}
}

// An API server that fails for more than a moment is told, once, and what serves
// is not said to be this generation.
func TestStoryFailingAPIServer(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.wave(1, nil)[0]
	revive := s.deadWebhook(server)
	defer revive()
	requests, stop := s.operator(setting{label: s.namespace})
	defer stop()
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"team": "a"}}
	})
	s.want(server, "Ready=False/ApplyFailed", "Accepted=Unknown/ApplyFailed", "Reconciling=True/ApplyFailed", "Stalled=", "Available=True/Serving", "Converged=True/AllPodsCurrent")
	if said := message(server, "Reconciling"); !strings.Contains(said, "dead.example.com") {
		t.Errorf("message = %q, want the API server's words", said)
	}
	told, tried := statusWrites(requests, s.namespace), requests.CountOf("/deployments/"+resources.Name(server.Name))
	s.eventually(func() string {
		s.lookAgain()
		if requests.CountOf("/deployments/"+resources.Name(server.Name)) < tried+3 {
			return "it is not tried again"
		}
		return ""
	})
	if now := statusWrites(requests, s.namespace); now != told {
		t.Errorf("%d more statuses say the same", now-told)
	}
	revive()
	s.eventually(func() string {
		s.lookAgain()
		s.read(server)
		return strings.TrimPrefix(condition(server, "Accepted"), "True/Accepted")
	})
	s.rollOut(server)
	s.want(server, "Ready=True/Serving", "Reconciling=")
}

func statusWrites(requests *apiserver.Recorder, namespace string) (n int) {
	for _, write := range requests.WritesIn(namespace) {
		if strings.HasSuffix(write, "/status") {
			n++
		}
	}
	return n
}

// Servers that did not serve before say nothing about the new template: they stop
// nobody, however they end.
func TestStoryAilingServersStopNoUpgrade(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	servers := s.wave(7, nil)
	ailing := servers[:3]
	for _, server := range ailing {
		s.fail(server)
	}
	_, stop := s.operator(setting{label: s.namespace, image: nextImage})
	defer stop()
	s.eventually(func() string {
		_, rolling := s.upgraded(servers)
		for _, server := range rolling {
			if slices.Contains(ailing, server) {
				s.fail(server)
			} else {
				s.rollOut(server)
			}
		}
		if all, _ := s.upgraded(servers); len(all) != len(servers) {
			return fmt.Sprintf("%d servers are upgraded, want all", len(all))
		}
		return ""
	})
	for i, server := range servers {
		if i < len(ailing) {
			s.fail(server)
			s.want(server, "Ready=False/ProgressDeadlineExceeded", "UpgradePending=")
		} else {
			s.rollOut(server)
			s.want(server, "Ready=True/Serving", "UpgradePending=")
		}
	}
}

// What tells a restarted operator whose roll-out it finds stays while others
// change the Deployment.
func TestStoryPacedTemplateIsRemembered(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.wave(1, nil)[0]
	_, stop := s.operator(setting{label: s.namespace, image: nextImage})
	defer stop()
	s.wantUpgraded([]*fairleadv1alpha1.MCPServer{server}, 1)
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(5)) })
	s.eventually(func() string {
		if got := s.replicas(server); got != 5 {
			return fmt.Sprintf("%d replicas, want 5", got)
		}
		return ""
	})
	deployment := s.deployment(server)
	s.read(deployment)
	if paced := deployment.Annotations["fairlead.dev/paced-template"]; paced == "" || paced != deployment.Annotations[resources.AnnotationTemplateHash] {
		t.Errorf("paced template = %q, want %q", paced, deployment.Annotations[resources.AnnotationTemplateHash])
	}
}

// A server that is held keeps its pods and still takes edits and numbers.
func TestStoryHold(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.wave(1, func(_ int, m *fairleadv1alpha1.MCPServer) {
		m.Spec.Rollout = &fairleadv1alpha1.Rollout{OnOperatorUpgrade: fairleadv1alpha1.UpgradeHold}
	})[0]
	configMap := slices.Collect(maps.Keys(s.configMaps(server)))[0]
	requests, stop := s.operator(setting{label: s.namespace, image: nextImage})
	defer stop()
	s.want(server, "UpgradePending=True/Held", "Ready=True/Serving")
	if got := requests.WritesIn(s.namespace); len(got) != 1 {
		t.Errorf("holding a server cost these writes, want one status: %q", got)
	}
	describeTool(s, server, "two")
	s.want(server, "UpgradePending=True/Held", "Ready=True/Serving")
	if found := s.configMaps(server); len(found) != 1 || found[configMap] == nil {
		t.Errorf("ConfigMaps = %v, want %s alone", slices.Collect(maps.Keys(found)), configMap)
	}
	s.wantFiles(server, "two", "Fetch one order.")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(5)) })
	s.eventually(func() string {
		if got := s.replicas(server); got != 5 {
			return fmt.Sprintf("%d replicas, want 5", got)
		}
		return ""
	})
	s.rollOut(server)
	s.want(server, "UpgradePending=True/Held", "Ready=True/Serving")
	s.wantUpgraded([]*fairleadv1alpha1.MCPServer{server}, 0)

	// A runtime that reads nothing that this operator writes keeps what it has.
	edit(s, s.deployment(server), func(o *appsv1.Deployment) { o.Annotations[resources.AnnotationContract] = "99" })
	s.want(server, "Accepted=False/RuntimeTooOld", "UpgradePending=True/Held")
	describeTool(s, server, "three")
	s.want(server, "Accepted=False/RuntimeTooOld")
	s.wantFiles(server, "two", "Fetch one order.")

	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Rollout = nil })
	s.wantUpgraded([]*fairleadv1alpha1.MCPServer{server}, 1)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving", "UpgradePending=", "Accepted=True/Accepted")
}

// What the operator's configuration does not allow is refused, and the message
// says what it allows; a server that serves goes on.
func TestStoryNotPermitted(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.wave(1, func(_ int, m *fairleadv1alpha1.MCPServer) {
		m.Spec.Pod = &fairleadv1alpha1.Pod{Image: "elsewhere.example.com/runtime:1"}
	})[0]
	_, stop := s.operator(setting{label: s.namespace, limits: resources.Limits{ImagePrefixes: []string{"registry.example.com/mcp/"}}})
	defer stop()
	s.want(server, "Accepted=False/NotPermitted", "Ready=False/NotPermitted", "Stalled=True/NotPermitted", "Available=True/Serving", "Converged=True/AllPodsCurrent")
	if got := message(server, "Accepted"); !strings.Contains(got, "spec.pod.image") || !strings.Contains(got, "registry.example.com/mcp/") {
		t.Errorf("message = %q names neither the field nor what is allowed", got)
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Pod.Image = "registry.example.com/mcp/runtime:1" })
	s.want(server, "Accepted=True/Accepted")
}
