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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/verify"
	"fairlead.dev/fairlead/runtime/config"
)

// describeTool edits the text of the first tool: a live edit.
func describeTool(s *story, server *fairleadv1alpha1.MCPServer, text string) {
	s.Helper()
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Tools[0].Description = text })
}

// lagging is what convergence says while one pod does not follow.
func lagging(t convergence.Target) convergence.Report {
	return convergence.Report{Revision: t.Revision, State: convergence.Lagging, Lagging: []string{"orders-mcp-1"}, Message: "1 pod serves an older configuration"}
}

// files returns the descriptions of the first tool in server.yaml and in
// last-good.yaml of the server's only ConfigMap.
func (s *story) files(server *fairleadv1alpha1.MCPServer) [2]string {
	s.Helper()
	found := slices.Collect(maps.Values(s.configMaps(server)))
	if len(found) != 1 {
		s.Fatalf("%d ConfigMaps", len(found))
	}
	var texts [2]string
	for i, key := range []string{resources.ServerFile, resources.LastGoodFile} {
		if found[0].Data[key] == "" {
			continue
		}
		parsed, err := config.Decode([]byte(found[0].Data[key]))
		if err != nil {
			s.Fatal(err)
		}
		texts[i] = parsed.Tools[0].Description
	}
	return texts
}

func (s *story) wantFiles(server *fairleadv1alpha1.MCPServer, current, good string) {
	s.Helper()
	s.eventually(func() string {
		if got := s.files(server); got != [2]string{current, good} {
			return fmt.Sprintf("server.yaml and last-good.yaml are of %q, want %q and %q", got, current, good)
		}
		return ""
	})
}

// What all pods served is the last good configuration; what some refused never
// becomes it.
func TestStoryLastGood(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	first := server.Spec.Tools[0].Description
	s.wantFiles(server, first, "")
	describeTool(s, server, "two")
	s.want(server, "Ready=True/Serving", "Converged=True/AllPodsCurrent")
	s.wantFiles(server, "two", first)

	served := server.Status.Tools.Revision
	s.podsSay(func(t convergence.Target) convergence.Report {
		if t.Revision == served {
			return convergence.Report{Revision: t.Revision, State: convergence.Converged, KeyIDs: t.KeyIDs}
		}
		return convergence.Report{Revision: t.Revision, State: convergence.Refused, Lagging: []string{"a"}, Message: "a pod cannot use it"}
	})
	describeTool(s, server, "three")
	s.want(server, "Ready=False/ConfigRefused", "Converged=False/ConfigRefused", "Stalled=True/ConfigRefused", "Verified=Unknown/Pending")
	if diff := cmp.Diff([]string{"a"}, server.Status.Tools.Lagging); diff != "" {
		t.Errorf("lagging (-want +got):\n%s", diff)
	}
	s.wantFiles(server, "three", "two")
	describeTool(s, server, "four")
	s.want(server, "Ready=False/ConfigRefused")
	s.wantFiles(server, "four", "two")

	s.podsSay(nil)
	s.want(server, "Ready=True/Serving", "Verified=True/ToolsListed", "Stalled=")
	if server.Status.Tools.Lagging != nil {
		t.Errorf("lagging = %v, though none does", server.Status.Tools.Lagging)
	}
	describeTool(s, server, "five")
	s.wantFiles(server, "five", "four")
}

// Either file is put right again when somebody changes it.
func TestStoryLastGoodDrifts(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	first := server.Spec.Tools[0].Description
	describeTool(s, server, "two")
	s.want(server, "Ready=True/Serving")
	for _, key := range []string{resources.ServerFile, resources.LastGoodFile} {
		configMap := slices.Collect(maps.Values(s.configMaps(server)))[0]
		edit(s, configMap, func(o *corev1.ConfigMap) { o.Data[key] = "broken" })
		s.eventually(func() string {
			s.read(configMap)
			if configMap.Data[key] == "broken" {
				return key + " is still broken"
			}
			return ""
		})
		if key == resources.ServerFile {
			s.wantFiles(server, "two", first)
		}
	}
	// Whose last good one it was is not known any more: it is what serves now.
	s.wantFiles(server, "two", "two")
	writes := len(suite.writes.WritesIn(s.namespace))
	describeTool(s, server, "three")
	s.want(server, "Ready=True/Serving")
	if got := suite.writes.WritesIn(s.namespace)[writes:]; len(got) != 3 {
		t.Errorf("an edit cost these writes, want one ConfigMap, one record and one status: %q", got)
	}
}

// A live edit costs one look at the bytes that the cache does not have, and its
// status is written when all is over, if that is soon.
func TestStoryLiveEditCosts(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	name := slices.Collect(maps.Keys(s.configMaps(server)))[0]
	before := len(suite.writes.In(s.namespace))
	describeTool(s, server, "two")
	s.want(server, "Ready=True/Serving")
	prefix := "/namespaces/" + s.namespace + "/"
	want := []string{
		"GET /api/v1" + prefix + "configmaps/" + name,
		"PATCH /api/v1" + prefix + "configmaps/" + name,
		"POST /apis/apps/v1" + prefix + "controllerrevisions",
		"PATCH /apis/fairlead.dev/v1alpha1" + prefix + "mcpservers/orders/status",
	}
	if diff := cmp.Diff(want, suite.writes.In(s.namespace)[before:]); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// Who lags is told once it takes longer, and gone when nobody does.
func TestStoryLagging(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	s.podsSay(lagging)
	describeTool(s, server, "two")
	s.want(server, "Converged=False/Propagating", "Ready=False/Propagating", "Reconciling=True/Propagating", "Verified=Unknown/Pending", "Available=True/Serving")
	if diff := cmp.Diff([]string{"orders-mcp-1"}, server.Status.Tools.Lagging); diff != "" {
		t.Errorf("lagging (-want +got):\n%s", diff)
	}
	slow := func(t convergence.Target) convergence.Report {
		report := lagging(t)
		report.Slow = true
		return report
	}
	s.podsSay(slow)
	s.want(server, "Converged=False/SlowPropagation", "Ready=False/SlowPropagation")
	s.podsSay(nil)
	s.want(server, "Converged=True/AllPodsCurrent", "Verified=True/ToolsListed", "Ready=True/Serving")
	if server.Status.Tools.Lagging != nil {
		t.Errorf("lagging = %v, though none does", server.Status.Tools.Lagging)
	}
}

// Nobody can be reached: not known is not wrong.
func TestStoryUnreachable(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	s.clientsSay(func(t verify.Target) verify.Report {
		return verify.Report{Revision: t.Revision, State: verify.Unreachable, Message: "open port 8080 to the operator"}
	})
	s.want(server, "Converged=True/AllPodsCurrent", "Verified=Unknown/Unreachable", "Ready=Unknown/Unreachable", "Stalled=", "Reconciling=")
	if got := message(server, "Ready"); got != "open port 8080 to the operator" {
		t.Errorf("message = %q", got)
	}
	s.clientsSay(func(t verify.Target) verify.Report {
		return verify.Report{Revision: t.Revision, State: verify.Failed, Message: "tool get_order is missing"}
	})
	s.want(server, "Verified=False/VerificationFailed", "Ready=False/VerificationFailed")
	s.clientsSay(nil)
	s.want(server, "Ready=True/Serving")
}

// A Secret that is missing breaks what needs it, not the server.
func TestStoryDegraded(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Converged, KeyIDs: t.KeyIDs, Problems: []convergence.Problem{{
			Code: "SecretMissing", Secret: "orders-api", Key: "token", Message: "tool get_order fails",
		}}}
	})
	s.want(server, "Degraded=True/SecretMissing", "Ready=True/Serving")
	want := `Secret "orders-api", key "token": tool get_order fails: create or mend it, then run: kubectl fairlead refresh orders --namespace ` + s.namespace
	if got := message(server, "Degraded"); got != want {
		t.Errorf("message = %q, want %q", got, want)
	}
	s.podsSay(nil)
	s.want(server, "Degraded=", "Ready=True/Serving")
}

// A request to read Secrets again reaches the pods, and the status says when
// they have.
func TestStoryRefresh(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	writes := len(suite.writes.WritesIn(s.namespace))
	const at = "2026-11-21T12:00:00Z"
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Annotations = map[string]string{fairleadv1alpha1.AnnotationRefreshRequestedAt: at}
	})
	s.eventually(func() string {
		s.read(server)
		if server.Status.RefreshedAt != at {
			return "refreshedAt = " + server.Status.RefreshedAt
		}
		return ""
	})
	if got := suite.writes.WritesIn(s.namespace)[writes:]; len(got) != 1 {
		t.Errorf("a refresh cost these writes, want one status: %q", got)
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Annotations[fairleadv1alpha1.AnnotationRefreshRequestedAt] = "now"
	})
	describeTool(s, server, "two")
	s.want(server, "Ready=True/Serving")
	if server.Status.RefreshedAt != at || s.pods.target(server).Refresh != "" {
		t.Errorf("refreshedAt = %q, asked for %q, after a request that is no time", server.Status.RefreshedAt, s.pods.target(server).Refresh)
	}
}

// TestStoryPodsAreAsked: those that are ready and mount the configuration of now,
// none that is leaving or of an older template, nor one that only looks alike.
func TestStoryPodsAreAsked(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	configMap := slices.Collect(maps.Keys(s.configMaps(server)))[0]
	s.pod(server, "orders-mcp-old", "orders-mcp-11111111")
	alike := named(s, &corev1.Pod{}, "of-somebody-else")
	s.own(server, alike)
	alike.OwnerReferences[0].Name = "other-" + alike.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	alike.Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: "runtime", Image: "x"}}, Volumes: []corev1.Volume{serverVolume(configMap)}}
	s.start(alike)
	s.pod(server, "orders-mcp-new", configMap) // The last that the cache hears of.
	s.eventually(func() string {
		var names []string
		for _, pod := range s.pods.target(server).Pods {
			names = append(names, pod.Name+" "+pod.IP)
		}
		if got := strings.Join(names, ","); got != "orders-mcp-new 10.0.0.7" {
			return "asked: " + got
		}
		return ""
	})
}

// pod creates a ready one of the server that mounts a ConfigMap.
func (s *story) pod(server *fairleadv1alpha1.MCPServer, name, configMap string) *corev1.Pod {
	s.Helper()
	pod := named(s, &corev1.Pod{}, name)
	s.own(server, pod)
	pod.Spec.Containers = []corev1.Container{{Name: "runtime", Image: "x"}}
	pod.Spec.Volumes = []corev1.Volume{serverVolume(configMap)}
	s.start(pod)
	return pod
}

// serverVolume is that of a configuration.
func serverVolume(configMap string) corev1.Volume {
	return corev1.Volume{Name: "server", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: configMap},
	}}}
}

// own makes a pod look as the ReplicaSet controller does.
func (s *story) own(server *fairleadv1alpha1.MCPServer, pod *corev1.Pod) {
	s.Helper()
	const hash = "5d4f8c7b9"
	deployment := s.deployment(server)
	s.read(deployment)
	pod.Labels = maps.Clone(deployment.Spec.Template.Labels)
	pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: deployment.Name + "-" + hash, UID: deployment.UID, Controller: new(true),
	}}
}

// start creates a pod that is ready at once.
func (s *story) start(pod *corev1.Pod) {
	s.Helper()
	s.create(pod)
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := suite.admin.Status().Update(s.ctx, pod); err != nil {
		s.Fatal(err)
	}
}

// A pod that serves and was not asked yet is one whose configuration nobody
// knows.
func TestStoryAPodIsNotAskedYet(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	configMap := slices.Collect(maps.Keys(s.configMaps(server)))[0]
	s.pod(server, "orders-mcp-one", configMap)
	s.wantAsked(server, 1)
	describeTool(s, server, "two")
	s.want(server, "Converged=False/Propagating", "Ready=False/Propagating", "Verified=Unknown/Pending")
	s.pod(server, "orders-mcp-two", configMap)
	s.want(server, "Converged=True/AllPodsCurrent", "Ready=True/Serving")
	s.wantAsked(server, 2)
}

func (s *story) wantAsked(server *fairleadv1alpha1.MCPServer, want int) {
	s.Helper()
	s.eventually(func() string {
		if got := len(s.pods.target(server).Pods); got != want {
			return fmt.Sprintf("%d pods are asked, want %d", got, want)
		}
		return ""
	})
}

// Pods are asked for what they mount, whatever the status told last: here it
// never told of the edit that they have.
func TestStoryBrokenEditAfterAGoodOne(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	first := server.Status.Tools.Revision
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Pending}
	})
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Tools[0].Name = "renamed" })
	s.eventually(func() string {
		if s.given(server) == first {
			return "the edit is not applied"
		}
		return ""
	})
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].Name = "broken"
		m.Spec.Tools[0].HTTP.Query = map[string]fairleadv1alpha1.TemplateString{"a": "${"}
	})
	s.want(server, "Accepted=False/InvalidSpec", "Ready=False/InvalidSpec")
	s.wantGiven(server)
	if got := server.Status.Tools.Names; !slices.Contains(got, "renamed") {
		t.Errorf("the tools are %q, want those that the pods were given", got)
	}
	s.podsSay(nil)
	s.want(server, "Converged=True/AllPodsCurrent")
	s.wantGiven(server)
}

// The same when the API server refuses a part of an edit, whatever part of it has
// reached the pods.
func TestStoryEditIsRefusedHalfway(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("minimal")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].Description = "two"
		m.Spec.Pod = &fairleadv1alpha1.Pod{Tolerations: []corev1.Toleration{{Key: "a", Operator: "Sometimes"}}}
	})
	s.want(server, "Accepted=False/ApplyRefused", "Converged=True/AllPodsCurrent")
	s.wantGiven(server)
}

// given returns the revision in the server's only ConfigMap.
func (s *story) given(server *fairleadv1alpha1.MCPServer) string {
	s.Helper()
	for _, configMap := range s.configMaps(server) {
		parsed, err := config.Decode([]byte(configMap.Data[resources.ServerFile]))
		if err != nil {
			s.Fatal(err)
		}
		return parsed.Revision
	}
	s.Fatal("there is no ConfigMap")
	return ""
}

// wantGiven waits until pods are asked for the revision that they mount, and the
// status tells of it.
func (s *story) wantGiven(server *fairleadv1alpha1.MCPServer) {
	s.Helper()
	s.eventually(func() string {
		s.read(server)
		given, asked, told := s.given(server), s.pods.target(server).Revision, server.Status.Tools.Revision
		if given != asked || given != told {
			return fmt.Sprintf("pods mount %s and are asked for %s, the status tells of %s", given, asked, told)
		}
		return ""
	})
}

// What served is the last good configuration although nobody asks at the moment.
func TestStoryLastGoodAfterAPause(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	first := server.Spec.Tools[0].Description
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.ManagementState = fairleadv1alpha1.Paused })
	s.want(server, "Converged=Unknown/Paused")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.ManagementState, m.Spec.Tools[0].Description = fairleadv1alpha1.Managed, "two"
	})
	s.wantFiles(server, "two", first)
	s.want(server, "Ready=True/Serving")

	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Unreachable, Message: "open port 8081"}
	})
	s.want(server, "Converged=Unknown/Unreachable")
	describeTool(s, server, "three")
	s.wantFiles(server, "three", "two")
	// Whether all pods took this one is not known.
	s.want(server, "Converged=Unknown/Unreachable")
	describeTool(s, server, "four")
	s.wantFiles(server, "four", "two")
}

// While nobody asks, nobody is known to lag.
func TestStoryLaggingWhilePaused(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	s.podsSay(lagging)
	describeTool(s, server, "two")
	s.want(server, "Converged=False/Propagating")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.ManagementState = fairleadv1alpha1.Paused })
	s.want(server, "Converged=Unknown/Paused")
	if server.Status.Tools.Lagging != nil {
		t.Errorf("lagging = %v, though nobody asks", server.Status.Tools.Lagging)
	}
}

// Clients ask only where the pods serve: not a server without pods, nor one whose
// pods lag. What clients got of a revision before is still known.
func TestStoryClientsAskWhereItServes(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	wantAsked := func(want bool) {
		t.Helper()
		s.eventually(func() string {
			if got := s.pods.verified(server); got != want {
				return fmt.Sprintf("a client asks: %t, want %t", got, want)
			}
			return ""
		})
	}
	wantAsked(true)
	s.podsSay(lagging)
	wantAsked(false)
	s.want(server, "Converged=False/Propagating", "Verified=True/ToolsListed")
	s.podsSay(nil)
	wantAsked(true)
	s.want(server, "Ready=True/Serving")
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"team": "a"}}
	})
	wantAsked(false)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.NoPods}
	})
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec.Replicas = new(int32(0)) })
	s.want(server, "Accepted=True/Accepted")
	s.rollOut(server)
	s.want(server, "Ready=False/ScaledToZero")
	wantAsked(false)
}

// An operator that cannot reach Services runs without verification, and Ready
// does without it.
func TestStoryVerificationOff(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	_, stop := s.operator(setting{label: s.namespace, unverified: true})
	defer stop()
	server := s.labelled("orders")
	s.want(server, "Ready=True/Serving", "Verified=Unknown/VerificationOff", "Converged=True/AllPodsCurrent")
	if server.Status.ServerInfo != nil {
		t.Errorf("serverInfo = %v, though nobody asked", server.Status.ServerInfo)
	}
	// Ready is no proof of what pods serve that nobody can ask.
	first := server.Spec.Tools[0].Description
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Unreachable, Message: "open port 8081"}
	})
	for _, text := range []string{"two", "three"} {
		describeTool(s, server, text)
		s.want(server, "Ready=True/Serving", "Converged=Unknown/Unreachable")
		s.wantFiles(server, text, first)
	}
}
