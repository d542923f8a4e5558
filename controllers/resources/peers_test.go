// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"fairlead.dev/fairlead/controllers/resources"
)

// The pods of a server find each other by a Service that names each of them, and
// may connect where it leads, also if all else is closed.
func TestPeersReachEachOther(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minimal", "network-closed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/"+name+"/server.yaml")
			objects := build(t, server)
			peers, policy := objects.Peers.Spec, objects.NetworkPolicy.Spec
			if peers.ClusterIP != corev1.ClusterIPNone || !peers.PublishNotReadyAddresses {
				t.Errorf("the Service hides pods: %+v", peers)
			}
			if diff := cmp.Diff(objects.Service.Spec.Selector, peers.Selector); diff != "" {
				t.Errorf("the two Services select other pods (-clients +peers):\n%s", diff)
			}
			container := objects.Deployment.Spec.Template.Spec.Containers[0]
			at := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == peers.Ports[0].TargetPort.StrVal })
			if at < 0 {
				t.Fatalf("no port of the container is named %s: %v", peers.Ports[0].TargetPort.StrVal, container.Ports)
			}
			// A headless Service translates no ports.
			if got := container.Ports[at].ContainerPort; got != peers.Ports[0].Port || got != 8082 {
				t.Errorf("the pods listen at %d, their peers look at %d", got, peers.Ports[0].Port)
			}
			want := []string{"--peer-listen=:8082", "--peer-address=$(POD_IP)", "--peers=" + objects.Peers.Name + "." + server.Namespace + ".svc.cluster.local.:8082"}
			if diff := cmp.Diff(want, container.Args[len(container.Args)-3:]); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
			if got := container.Env; len(got) != 1 || got[0].Name != "POD_IP" || got[0].ValueFrom.FieldRef.FieldPath != "status.podIP" {
				t.Errorf("environment %+v", got)
			}
			own := resources.Selector(server.Name)
			in := policy.Ingress[slices.IndexFunc(policy.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return r.Ports[0].Port.IntVal == 8082 })]
			if diff := cmp.Diff(own, in.From[0].PodSelector.MatchLabels); diff != "" || len(in.From) != 1 {
				t.Errorf("who may connect (-want +got):\n%s", diff)
			}
			if len(policy.Egress) == 0 {
				return
			}
			// The name of the Service takes DNS, the pods behind it the rule after.
			if got := policy.Egress[0].Ports[0].Port.IntVal; got != 53 {
				t.Errorf("the first way out is port %d, want 53", got)
			}
			if diff := cmp.Diff(own, policy.Egress[1].To[0].PodSelector.MatchLabels); diff != "" || policy.Egress[1].Ports[0].Port.IntVal != 8082 {
				t.Errorf("the way to peers is %+v:\n%s", policy.Egress[1], diff)
			}
		})
	}
}
