// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/verify"
)

func server() *fairleadv1alpha1.MCPServer {
	return &fairleadv1alpha1.MCPServer{ObjectMeta: metav1.ObjectMeta{Name: "orders", Namespace: "shop", Generation: 7}}
}

// deployment returns one of three replicas with a status.
func deployment(replicas int32, status appsv1.DeploymentStatus) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: status}
	d.Spec.Replicas = &replicas
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "runtime", Image: "img:1"}}
	return d
}

func pods(all, updated, available int32) appsv1.DeploymentStatus {
	return appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: all, UpdatedReplicas: updated, AvailableReplicas: available}
}

func late(status appsv1.DeploymentStatus) appsv1.DeploymentStatus {
	status.Conditions = []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded",
	}}
	return status
}

func TestConditions(t *testing.T) {
	t.Parallel()
	invalid := &rejection{reason: fairleadv1alpha1.ReasonInvalidSpec, message: "spec.tools[0].http.url: wrong"}
	stale := pods(3, 3, 3)
	stale.ObservedGeneration = 1
	agreed := &convergence.Report{State: convergence.Converged}
	listed := &verify.Report{State: verify.Passed}
	all := func(edit func(*observation)) *observation {
		seen := &observation{deployment: deployment(3, pods(3, 3, 3)), converged: agreed, verified: listed}
		edit(seen)
		return seen
	}
	pending := &convergence.Report{State: convergence.Pending}
	serving := []string{"Accepted=True/Accepted", "Available=True/Serving"}
	tests := []struct {
		name string
		seen *observation
		// want are all conditions but what the witnesses say.
		want []string
		// witnesses are Converged and Verified; nobody was asked without them.
		witnesses []string
		// kstatus is what Argo CD, Flux and kubectl wait make of it.
		kstatus string
	}{
		{"no pods yet", &observation{deployment: deployment(3, appsv1.DeploymentStatus{})}, []string{
			"Accepted=True/Accepted", "Available=False/PodsNotReady", "Ready=False/PodsNotReady", "Reconciling=True/PodsNotReady",
		}, nil, "InProgress"},
		{"some pods", &observation{deployment: deployment(3, pods(3, 3, 1))}, []string{
			"Accepted=True/Accepted", "Available=True/Serving", "Ready=False/PodsNotReady", "Reconciling=True/PodsNotReady",
		}, nil, "InProgress"},
		{"all pods", all(func(*observation) {}), append(serving[:2:2], "Ready=True/Serving"), []string{"Converged=True/AllPodsCurrent", "Verified=True/ToolsListed"}, "Current"},
		{
			"nobody was asked", all(func(seen *observation) { seen.converged, seen.verified = nil, nil }),
			append(serving[:2:2], "Ready=False/PodsNotReady", "Reconciling=True/PodsNotReady"), nil, "InProgress",
		},
		{
			"pods are asked", all(func(seen *observation) { seen.converged, seen.verified = pending, nil }),
			append(serving[:2:2], "Ready=False/Propagating", "Reconciling=True/Propagating"),
			[]string{"Converged=False/Propagating", "Verified=Unknown/Pending"},
			"InProgress",
		},
		{
			"a pod lags", all(func(seen *observation) {
				seen.converged, seen.verified = &convergence.Report{State: convergence.Lagging, Message: "m"}, nil
			}),
			append(serving[:2:2], "Ready=False/Propagating", "Reconciling=True/Propagating"),
			[]string{"Converged=False/Propagating", "Verified=Unknown/Pending"},
			"InProgress",
		},
		{"a pod lags and cannot be poked", all(func(seen *observation) {
			seen.converged, seen.verified = &convergence.Report{State: convergence.Lagging, Slow: true, Message: "m"}, nil
		}), append(serving[:2:2], "Ready=False/SlowPropagation", "Reconciling=True/SlowPropagation"), []string{"Converged=False/SlowPropagation", "Verified=Unknown/Pending"}, "InProgress"},
		{
			"a pod refuses the configuration", all(func(seen *observation) {
				seen.converged, seen.verified = &convergence.Report{State: convergence.Refused, Message: "m"}, nil
			}),
			append(serving[:2:2], "Ready=False/ConfigRefused", "Stalled=True/ConfigRefused"),
			[]string{"Converged=False/ConfigRefused", "Verified=Unknown/Pending"},
			"Failed",
		},
		{
			"no pod can be reached", all(func(seen *observation) {
				seen.converged, seen.verified = &convergence.Report{State: convergence.Unreachable, Message: "m"}, nil
			}),
			append(serving[:2:2], "Ready=Unknown/Unreachable"),
			[]string{"Converged=Unknown/Unreachable", "Verified=Unknown/Pending"},
			"InProgress",
		},
		{
			"a client is asking", all(func(seen *observation) { seen.verified = &verify.Report{State: verify.Pending} }),
			append(serving[:2:2], "Ready=False/Pending", "Reconciling=True/Pending"),
			[]string{"Converged=True/AllPodsCurrent", "Verified=Unknown/Pending"},
			"InProgress",
		},
		{
			"a client gets something else", all(func(seen *observation) { seen.verified = &verify.Report{State: verify.Failed, Message: "m"} }),
			append(serving[:2:2], "Ready=False/VerificationFailed", "Reconciling=True/VerificationFailed"),
			[]string{"Converged=True/AllPodsCurrent", "Verified=False/VerificationFailed"},
			"InProgress",
		},
		{
			"no client gets through", all(func(seen *observation) { seen.verified = &verify.Report{State: verify.Unreachable, Message: "m"} }),
			append(serving[:2:2], "Ready=Unknown/Unreachable"),
			[]string{"Converged=True/AllPodsCurrent", "Verified=Unknown/Unreachable"},
			"InProgress",
		},
		{
			"no client asks", all(func(seen *observation) { seen.verified, seen.unverified = nil, true }),
			append(serving[:2:2], "Ready=True/Serving"),
			[]string{"Converged=True/AllPodsCurrent", "Verified=Unknown/VerificationOff"},
			"Current",
		},
		{
			"nobody asks, since nobody could", all(func(seen *observation) {
				seen.verified, seen.unverified = nil, true
				seen.converged = &convergence.Report{State: convergence.Unreachable, Message: "m"}
			}),
			append(serving[:2:2], "Ready=True/Serving"),
			[]string{"Converged=Unknown/Unreachable", "Verified=Unknown/VerificationOff"},
			"Current",
		},
		{"a Secret is missing", all(func(seen *observation) {
			seen.converged = &convergence.Report{State: convergence.Converged, Problems: []convergence.Problem{{Code: "SecretInvalid", Secret: "a"}, {Code: "SecretMissing", Secret: "b", Key: "k", Message: "m"}}}
		}), append(serving[:2:2], "Ready=True/Serving", "Degraded=True/SecretMissing"), []string{"Converged=True/AllPodsCurrent", "Verified=True/ToolsListed"}, "Current"},
		{
			"an upgrade waits", all(func(seen *observation) { seen.upgrade = &upgrade{"Queued", "m"} }),
			append(serving[:2:2], "Ready=True/Serving", "UpgradePending=True/Queued"),
			[]string{"Converged=True/AllPodsCurrent", "Verified=True/ToolsListed"},
			"Current",
		},
		{"all pods of the template before", &observation{deployment: deployment(3, stale)}, []string{
			"Accepted=True/Accepted", "Available=True/Serving", "Ready=False/PodsNotReady", "Reconciling=True/PodsNotReady",
		}, nil, "InProgress"},
		{"rolling out", &observation{deployment: deployment(3, pods(6, 3, 4))}, []string{
			"Accepted=True/Accepted", "Available=True/Serving", "Ready=False/RollingOut", "Reconciling=True/RollingOut",
		}, nil, "InProgress"},
		{"a pod fails", &observation{deployment: deployment(3, pods(6, 3, 3)), failure: "why"}, []string{
			"Accepted=True/Accepted", "Available=True/Serving", "Ready=False/PodFailure", "Reconciling=True/PodFailure",
		}, nil, "InProgress"},
		{"too late", &observation{deployment: deployment(3, late(pods(6, 3, 3)))}, []string{
			"Accepted=True/Accepted", "Available=True/Serving", "Ready=False/ProgressDeadlineExceeded", "Stalled=True/ProgressDeadlineExceeded",
		}, nil, "Failed"},
		{"too late because a pod fails", &observation{deployment: deployment(3, late(pods(3, 3, 0))), failure: "why"}, []string{
			"Accepted=True/Accepted", "Available=False/PodsNotReady", "Ready=False/PodFailure", "Stalled=True/ProgressDeadlineExceeded",
		}, nil, "Failed"},
		{
			"late, and ready all the same", all(func(seen *observation) { seen.deployment = deployment(3, late(pods(3, 3, 3))) }),
			append(serving[:2:2], "Ready=True/Serving"),
			[]string{"Converged=True/AllPodsCurrent", "Verified=True/ToolsListed"},
			"Current",
		},
		{"invalid while serving", &observation{rejected: invalid, deployment: deployment(3, pods(3, 3, 3))}, []string{
			"Accepted=False/InvalidSpec", "Available=True/Serving", "Ready=False/InvalidSpec", "Stalled=True/InvalidSpec",
		}, nil, "Failed"},
		{"invalid from the start", &observation{rejected: invalid}, []string{
			"Accepted=False/InvalidSpec", "Available=False/PodsNotReady", "Ready=False/InvalidSpec", "Stalled=True/InvalidSpec",
		}, nil, "Failed"},
		{"scaled to zero", &observation{deployment: deployment(0, pods(0, 0, 0))}, []string{
			"Accepted=True/Accepted", "Available=False/ScaledToZero", "Ready=False/ScaledToZero",
		}, nil, "InProgress"},
		{"scaling to zero", &observation{deployment: deployment(0, pods(2, 0, 2))}, []string{
			"Accepted=True/Accepted", "Available=True/Serving", "Ready=False/RollingOut", "Reconciling=True/RollingOut",
		}, nil, "InProgress"},
		{"paused", &observation{paused: true, deployment: deployment(3, pods(3, 3, 3))}, []string{
			"Accepted=Unknown/Paused", "Available=True/Serving", "Ready=Unknown/Paused",
		}, []string{"Converged=Unknown/Paused", "Verified=Unknown/Paused"}, "InProgress"},
		{"paused and invalid", &observation{paused: true, rejected: invalid, deployment: deployment(3, pods(3, 3, 3))}, []string{
			"Accepted=False/InvalidSpec", "Available=True/Serving", "Ready=False/InvalidSpec", "Stalled=True/InvalidSpec",
		}, []string{"Converged=Unknown/Paused", "Verified=Unknown/Paused"}, "Failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.seen.server = server()
			status := computeStatus(tt.seen)
			var got []string
			for _, c := range status.Conditions {
				got = append(got, c.Type+"="+string(c.Status)+"/"+c.Reason)
				if c.Message == "" || c.ObservedGeneration != 7 {
					t.Errorf("%s has message %q and observedGeneration %d", c.Type, c.Message, c.ObservedGeneration)
				}
			}
			if tt.witnesses == nil {
				tt.witnesses = []string{"Converged=Unknown/NoPods", "Verified=Unknown/Pending"}
			}
			want := append(slices.Clone(tt.want), tt.witnesses...)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			if got := kstatus(status); got != tt.kstatus {
				t.Errorf("kstatus is %s, want %s", got, tt.kstatus)
			}
			// The same look again changes nothing: no times, no counters.
			tt.seen.server.Status = status
			if diff := cmp.Diff(status, computeStatus(tt.seen)); diff != "" {
				t.Errorf("the status changes by being looked at:\n%s", diff)
			}
		})
	}
}

// kstatus judges a status by the rules for objects that it does not know
// (sigs.k8s.io/cli-utils, pkg/kstatus/status, checkGenericProperties and the
// Ready condition).
func kstatus(status fairleadv1alpha1.MCPServerStatus) string {
	switch {
	case status.ObservedGeneration != 7:
		return "InProgress"
	case meta.IsStatusConditionTrue(status.Conditions, "Reconciling"):
		return "InProgress"
	case meta.IsStatusConditionTrue(status.Conditions, "Stalled"):
		return "Failed"
	case meta.IsStatusConditionTrue(status.Conditions, "Ready"):
		return "Current"
	}
	return "InProgress"
}

// A condition that holds no longer goes, and the time of one that stays stays.
func TestConditionsGoAndStay(t *testing.T) {
	t.Parallel()
	s := server()
	long := metav1.NewTime(time.Unix(1, 0))
	s.Status.Conditions = []metav1.Condition{
		{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", LastTransitionTime: long},
		{Type: "Reconciling", Status: metav1.ConditionTrue, Reason: "PodsNotReady", LastTransitionTime: long},
		{Type: "Stalled", Status: metav1.ConditionTrue, Reason: "InvalidSpec", LastTransitionTime: long},
	}
	status := computeStatus(&observation{
		server: s, deployment: deployment(1, pods(1, 1, 1)),
		converged: &convergence.Report{State: convergence.Converged}, verified: &verify.Report{State: verify.Passed},
	})
	for _, c := range status.Conditions {
		switch c.Type {
		case "Accepted":
			if !c.LastTransitionTime.Equal(&long) {
				t.Errorf("Accepted has changed at %s, though it has not", c.LastTransitionTime)
			}
		case "Reconciling", "Stalled":
			t.Errorf("%s is still there", c.Type)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	seen := &observation{server: server(), rejected: &rejection{reason: "InvalidSpec", message: strings.Repeat("x", 40_000)}}
	for _, c := range computeStatus(seen).Conditions {
		if len(c.Message) > 32_768 {
			t.Errorf("%s has a message of %d bytes, which the API server refuses", c.Type, len(c.Message))
		}
	}
}

func TestFailureOf(t *testing.T) {
	t.Parallel()
	waiting := func(reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "runtime", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}
	}
	ended := func(status corev1.ContainerStatus, reason string, code int32) corev1.ContainerStatus {
		status.Name = "runtime"
		status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code}
		return status
	}
	pod := func(age time.Duration, statuses ...corev1.ContainerStatus) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Unix(10_000, 0).Add(-age))},
			Status:     corev1.PodStatus{ContainerStatuses: statuses},
		}
	}
	unschedulable := pod(0)
	unschedulable.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes",
	}}
	leaving := pod(0, waiting("ImagePullBackOff", ""))
	leaving.DeletionTimestamp = new(metav1.NewTime(time.Unix(1, 0)))
	crash := "CrashLoopBackOff: the runtime container exits with code 2; its last words: kubectl logs --namespace shop --container runtime --previous --selector fairlead.dev/server=orders"
	image := `ImagePullBackOff: image "img:1" cannot be pulled: check spec.pod.image, spec.pod.imagePullSecrets and the registry`
	refused := pods(0, 0, 0)
	refused.Conditions = []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue,
		Message: `pods "orders-mcp-5d4f-x7k2p" is forbidden: exceeded quota: small`,
	}}
	tests := []struct {
		name   string
		status appsv1.DeploymentStatus
		pods   []corev1.Pod
		want   string
	}{
		{name: "none"},
		{name: "starting", pods: []corev1.Pod{pod(0, waiting("ContainerCreating", ""))}},
		{name: "pulling", pods: []corev1.Pod{pod(0, waiting("ErrImagePull", "id 1"))}, want: image},
		{name: "backing off", pods: []corev1.Pod{pod(0, waiting("ImagePullBackOff", "id 2"))}, want: image},
		{
			name: "configuration", pods: []corev1.Pod{pod(0, waiting("CreateContainerConfigError", `image will run as root (pod: "orders-1_shop(4f)", container: runtime)`))},
			want: "CreateContainerConfigError: image will run as root: mend spec.pod or what it names",
		},
		{name: "crashing", pods: []corev1.Pod{pod(0, ended(waiting("CrashLoopBackOff", "back-off 10s"), "Error", 2))}, want: crash},
		{name: "running between two crashes", pods: []corev1.Pod{pod(0, ended(corev1.ContainerStatus{}, "Error", 2))}, want: crash},
		{name: "ready after a crash", pods: []corev1.Pod{pod(0, ended(corev1.ContainerStatus{Ready: true}, "Error", 2))}},
		{
			name: "out of memory", pods: []corev1.Pod{pod(0, ended(waiting("CrashLoopBackOff", ""), "OOMKilled", 137))},
			want: "CrashLoopBackOff: a pod ran out of memory (OOMKilled): raise spec.pod.resources.limits.memory",
		},
		{
			name: "unschedulable", pods: []corev1.Pod{unschedulable},
			want: "no node fits (Unschedulable): check spec.pod.resources, nodeSelector, tolerations and affinity; see: kubectl get pods --namespace shop --selector fairlead.dev/server=orders",
		},
		{name: "leaving", pods: []corev1.Pod{leaving}},
		{name: "the youngest first", pods: []corev1.Pod{pod(time.Hour, waiting("ErrImagePull", "")), pod(0, ended(corev1.ContainerStatus{}, "Error", 2))}, want: crash},
		{name: "not created", status: refused, want: "pods cannot be created: exceeded quota: small: mend the namespace's policy or quota, or spec.pod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := failureOf(&observation{server: server(), deployment: deployment(1, tt.status)}, tt.pods)
			if got != tt.want {
				t.Errorf("failureOf() = %q\nwant %q", got, tt.want)
			}
		})
	}
}
