// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/test/e2e/traffic"
)

const streamsImage = "fairlead.invalid/fairlead-e2e-streams:dev"

// role is the label that tells the pods of a test apart by their trade.
const role = "e2e-role"

// trade starts pods of the program streams and waits until all are ready.
func (c *cluster) trade(t *testing.T, namespace, name string, count int, args ...string) []corev1.Pod {
	t.Helper()
	no, yes := false, true
	for i := range count {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%d", name, i), Labels: map[string]string{role: name}},
			Spec: corev1.PodSpec{
				RestartPolicy:                 corev1.RestartPolicyNever,
				AutomountServiceAccountToken:  &no,
				EnableServiceLinks:            &no,
				TerminationGracePeriodSeconds: new(int64(2)),
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Containers: []corev1.Container{{
					Name: "streams", Image: streamsImage, Args: args, ImagePullPolicy: corev1.PullIfNotPresent,
					ReadinessProbe: &corev1.Probe{
						PeriodSeconds: 1,
						ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9090)}},
					},
					SecurityContext: &corev1.SecurityContext{
						AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
						Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					},
				}},
			},
		}
		if err := c.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	var pods []corev1.Pod
	eventually(t, fmt.Sprintf("%d ready pods of %s", count, name), func(context.Context) error {
		pods = c.pods(t, namespace, role+"="+name)
		ready := 0
		for _, pod := range pods {
			if pod.Status.Phase == corev1.PodFailed {
				t.Fatalf("pod %s failed:\n%s", pod.Name, c.logs(t.Context(), namespace, pod.Name))
			}
			if isReady(&pod) {
				ready++
			}
		}
		if ready < count {
			return fmt.Errorf("%d are ready", ready)
		}
		return nil
	})
	return pods
}

// dismiss deletes the pods of a trade and waits for their end.
func (c *cluster) dismiss(t *testing.T, namespace, name string) {
	t.Helper()
	err := c.core.CoreV1().Pods(namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: role + "=" + name})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the pods of "+name, func(context.Context) error {
		if left := c.pods(t, namespace, role+"="+name); len(left) > 0 {
			return fmt.Errorf("%d are left", len(left))
		}
		return nil
	})
}

// backend starts what the tool work asks, behind the Service work. An answer
// takes pace.
func (c *cluster) backend(t *testing.T, namespace, pace string) corev1.Pod {
	t.Helper()
	c.apply(t, namespace, `
apiVersion: v1
kind: Service
metadata: {name: work}
spec:
  selector: {`+role+`: work}
  ports: [{port: 80, targetPort: 9090}]
`)
	return c.trade(t, namespace, "work", 1, "backend", "-pause", pace)[0]
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// ask sends a request to a pod of streams and decodes the answer into out, if
// that is not nil.
func ask(ctx context.Context, pod *corev1.Pod, method, path string, out any) error {
	return fetch(ctx, method, "http://"+pod.Status.PodIP+":9090"+path, out)
}

func fetch(ctx context.Context, method, url string, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return err
	}
	// A pod's address may be another pod's soon: no connection is kept.
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	response, err := plain.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 32<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %.200s", url, response.Status, body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}

// onEach runs do for all pods at once and joins the errors.
func onEach(pods []corev1.Pod, do func(i int, pod *corev1.Pod) error) error {
	failures := make([]error, len(pods))
	var running sync.WaitGroup
	for i := range pods {
		running.Go(func() { failures[i] = do(i, &pods[i]) })
	}
	running.Wait()
	return errors.Join(failures...)
}

// replica is what a runtime tells at /status.
type replica struct {
	Revision    string `json:"revision"`
	ConfigError string `json:"configError"`
	Streams     int    `json:"streams"`
	Sessions    int    `json:"sessions"`
	Version     string `json:"version"`
}

func statusOf(ctx context.Context, pod *corev1.Pod) (replica, error) {
	var r replica
	err := fetch(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8081/status", &r)
	return r, err
}

// settle stops all callers, and judges what they saw: every call answered, and
// none lost that the backend had seen.
func settle(t *testing.T, callers []corev1.Pod, backend *corev1.Pod) {
	t.Helper()
	reports := make([]traffic.Report, len(callers))
	err := onEach(callers, func(i int, pod *corev1.Pod) error { return ask(t.Context(), pod, http.MethodPut, "/stop", &reports[i]) })
	if err != nil {
		t.Fatal(err)
	}
	var sum traffic.Counts
	again := map[string]int{}
	for _, r := range reports {
		sum.Sent += r.Counts.Sent
		sum.Answered += r.Counts.Answered
		sum.Refused += r.Counts.Refused
		sum.Unreached += r.Counts.Unreached
		sum.Lost += r.Counts.Lost
		sum.Failed += r.Counts.Failed
		for _, note := range r.Notes {
			if note.What != "lost" && note.What != "failed" {
				again[fmt.Sprintf("%s %s: %.80s", note.What, note.Kind, note.Why)]++
				continue
			}
			accepted := ask(t.Context(), backend, http.MethodGet, "/seen/"+note.ID, nil) == nil
			t.Errorf("%s %s %s at %s (the backend was asked: %t): %s", note.What, note.Kind, note.ID, note.At.Format("15:04:05.000"), accepted, note.Why)
		}
	}
	for why, count := range again {
		t.Logf("tried again %d times: %s", count, why)
	}
	t.Logf("%d calls: %d answered, %d lost, %d failed; before: %d refused and %d unreached attempts",
		sum.Sent, sum.Answered, sum.Lost, sum.Failed, sum.Refused, sum.Unreached)
	if sum.Answered != sum.Sent || sum.Sent == 0 {
		t.Errorf("of %d calls %d were answered", sum.Sent, sum.Answered)
	}
}

// run runs a program of bin, such as the plugin or the cluster's.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "bin", program), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("failed to run %s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}
