// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
)

const (
	// dumpLines and dumpWidth bound what is shown of a log, in lines and bytes.
	dumpLines = 6
	dumpWidth = 240
)

// dump prints what a person would look at after a failure, as few lines as can
// be. testsum knows it by its first word, and shows what the test itself said
// after it.
func (c *cluster) dump(t *testing.T, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	var text strings.Builder
	var servers v1alpha1.MCPServerList
	if err := c.List(ctx, &servers, client.InNamespace(namespace)); err != nil {
		fmt.Fprintf(&text, "\nno servers: %v", err)
	}
	for _, s := range servers.Items {
		fmt.Fprintf(&text, "\nMCPServer %s: generation %d", s.Name, s.Generation)
		for _, condition := range s.Status.Conditions {
			fmt.Fprintf(&text, "; %s=%s %s", condition.Type, condition.Status, condition.Reason)
			if condition.Status != metav1.ConditionTrue {
				fmt.Fprintf(&text, " (%.120s)", condition.Message)
			}
		}
	}
	for _, ns := range []string{namespace, systemNamespace} {
		pods, err := c.core.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			fmt.Fprintf(&text, "\nno pods of %s: %v", ns, err)
			continue
		}
		for _, p := range pods.Items {
			fmt.Fprintf(&text, "\n%s%s", inShort(&p), worth(c.logs(ctx, ns, p.Name)))
		}
	}
	t.Logf("dump: namespace %s%s", namespace, text.String())
}

// inShort is a pod in one line.
func inShort(p *corev1.Pod) string {
	line := fmt.Sprintf("Pod %s: %s on %s at %s", p.Name, p.Status.Phase, p.Spec.NodeName, p.Status.PodIP)
	if p.DeletionTimestamp != nil {
		line += ", leaving"
	}
	for _, s := range p.Status.ContainerStatuses {
		_, image, _ := strings.Cut(s.Image, "/")
		line += fmt.Sprintf("; %s (%s) ready=%t restarts=%d", s.Name, image, s.Ready, s.RestartCount)
		if waiting := s.State.Waiting; waiting != nil {
			line += fmt.Sprintf(" waits: %s %.120s", waiting.Reason, waiting.Message)
		}
		for _, end := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if end != nil {
				line += fmt.Sprintf(" ended with %d at %s: %s %.120s", end.ExitCode, end.FinishedAt.Format("15:04:05"), end.Reason, end.Message)
			}
		}
	}
	return line
}

// worth is the end of a log without what is only for information.
func worth(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, `"level":"INFO"`) {
			lines = append(lines, fmt.Sprintf("\n  %.*s", dumpWidth, line))
		}
	}
	return strings.Join(lines[max(0, len(lines)-dumpLines):], "")
}
