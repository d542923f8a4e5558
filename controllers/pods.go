// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/controllers/resources"
)

// refusedPod is how the API server begins to say that a pod may not be created;
// the name in it is another one each time.
var refusedPod = regexp.MustCompile(`pods "[^"]*" is forbidden: `)

// kubeletTail is what the kubelet appends to say of which pod it speaks.
var kubeletTail = regexp.MustCompile(` \(pod: .*$`)

// failureOf returns what keeps pods from starting, the youngest pod's first: it
// is of the newest template. The text is the same on every look and names the
// next act.
func failureOf(seen *observation, pods []corev1.Pod) string {
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for i := range pods {
		if !pods[i].DeletionTimestamp.IsZero() {
			continue
		}
		if failure := podFailure(seen, &pods[i]); failure != "" {
			return failure
		}
	}
	for _, c := range seen.deployment.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "pods cannot be created: " + refusedPod.ReplaceAllString(c.Message, "") + ": mend the namespace's policy or quota, or spec.pod"
		}
	}
	return ""
}

func podFailure(seen *observation, pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return "no node fits (Unschedulable): check spec.pod.resources, nodeSelector, tolerations and affinity; see: " + podsCommand(seen)
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if failure := containerFailure(seen, status); failure != "" {
			return failure
		}
	}
	return ""
}

// containerFailure says what keeps a container from running. What changes from
// one attempt to the next (pulling, backing off, running for a moment) is told
// as one state, or the status would be written on each.
func containerFailure(seen *observation, status corev1.ContainerStatus) string {
	if waiting := status.State.Waiting; waiting != nil {
		switch waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff":
			return fmt.Sprintf("ImagePullBackOff: image %q cannot be pulled: check spec.pod.image, spec.pod.imagePullSecrets and the registry", imageOf(seen))
		case "InvalidImageName", "ErrImageNeverPull":
			return fmt.Sprintf("%s: image %q cannot be used: check spec.pod.image", waiting.Reason, imageOf(seen))
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return fmt.Sprintf("%s: %s: mend spec.pod or what it names", waiting.Reason, kubeletTail.ReplaceAllString(waiting.Message, ""))
		}
	}
	ended := status.LastTerminationState.Terminated
	if status.Ready || ended == nil {
		return ""
	}
	if ended.Reason == "OOMKilled" {
		return "CrashLoopBackOff: a pod ran out of memory (OOMKilled): raise spec.pod.resources.limits.memory"
	}
	return fmt.Sprintf("CrashLoopBackOff: the %s container exits with code %d; its last words: kubectl logs --namespace %s --container %s --previous --selector %s=%s",
		status.Name, ended.ExitCode, seen.server.Namespace, status.Name, resources.LabelServer, seen.server.Name)
}

// imageOf returns the image that new pods run.
func imageOf(seen *observation) string {
	for _, c := range seen.deployment.Spec.Template.Spec.Containers {
		if c.Name == resources.RuntimeContainer {
			return c.Image
		}
	}
	return ""
}

// podsCommand lists the server's pods.
func podsCommand(seen *observation) string {
	return fmt.Sprintf("kubectl get pods --namespace %s --selector %s=%s", seen.server.Namespace, resources.LabelServer, seen.server.Name)
}
