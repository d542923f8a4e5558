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
	corev1 "k8s.io/api/core/v1"

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
	writes := len(suite.writes.writesIn(s.namespace))
	describeTool(s, server, "three")
	s.want(server, "Ready=True/Serving")
	if got := suite.writes.writesIn(s.namespace)[writes:]; len(got) != 3 {
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
	before := len(suite.writes.in(s.namespace))
	describeTool(s, server, "two")
	s.want(server, "Ready=True/Serving")
	prefix := "/namespaces/" + s.namespace + "/"
	want := []string{
		"GET /api/v1" + prefix + "configmaps/" + name,
		"PATCH /api/v1" + prefix + "configmaps/" + name,
		"POST /apis/apps/v1" + prefix + "controllerrevisions",
		"PATCH /apis/fairlead.dev/v1alpha1" + prefix + "mcpservers/orders/status",
	}
	if diff := cmp.Diff(want, suite.writes.in(s.namespace)[before:]); diff != "" {
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
	writes := len(suite.writes.writesIn(s.namespace))
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
	if got := suite.writes.writesIn(s.namespace)[writes:]; len(got) != 1 {
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
// none that is leaving or of an older template.
func TestStoryPodsAreAsked(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	configMap := slices.Collect(maps.Keys(s.configMaps(server)))[0]
	s.pod(server, "orders-mcp-new", configMap)
	s.pod(server, "orders-mcp-old", "orders-mcp-11111111")
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
	s.read(s.deployment(server))
	deployment := s.deployment(server)
	s.read(deployment)
	pod.Labels = deployment.Spec.Template.Labels
	pod.Spec.Containers = []corev1.Container{{Name: "runtime", Image: "x"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "server", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: configMap},
	}}}}
	s.create(pod)
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := suite.admin.Status().Update(s.ctx, pod); err != nil {
		s.Fatal(err)
	}
	return pod
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
}
