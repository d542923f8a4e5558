// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// Clients are bounded on demand; the operator and monitoring always get in.
func TestNetworkPolicyPeers(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/minimal/server.yaml")
	server.Spec.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{IngressFrom: []networkingv1.NetworkPolicyPeer{
		{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}},
	}}
	objects, err := resources.Build(resources.Input{Server: server, Defaults: resources.Defaults{
		RuntimeImage: "x", OperatorNamespace: "operators", MonitoringNamespaces: []string{"monitoring", "operators"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ingress := objects.NetworkPolicy.Spec.Ingress
	if got := ingress[0].From[0].IPBlock; got == nil || got.CIDR != "10.0.0.0/8" {
		t.Errorf("clients come from %v", ingress[0].From)
	}
	if diff := cmp.Diff([]string{"operators"}, ingress[0].From[1].NamespaceSelector.MatchExpressions[0].Values); diff != "" {
		t.Errorf("who verifies (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"monitoring", "operators"}, ingress[1].From[0].NamespaceSelector.MatchExpressions[0].Values); diff != "" {
		t.Errorf("who reads the admin port (-want +got):\n%s", diff)
	}
	for i, want := range []int32{8080, 8081, 8082} {
		if got := ingress[i].Ports; len(got) != 1 || got[0].Port.IntVal != want {
			t.Errorf("rule %d is about %v, want %d", i, got, want)
		}
	}
	if got := objects.NetworkPolicy.Spec.PolicyTypes; len(got) != 1 {
		t.Errorf("policy types %v: what pods may reach is bounded unasked", got)
	}
	if len(server.Spec.NetworkPolicy.IngressFrom) != 1 {
		t.Error("the operator's namespace was added to the user's list")
	}
}

// An empty list closes; it must survive what is written and read back, such as
// a revision of the history.
func TestEmptyListsStayEmpty(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/network-closed/server.yaml")
	data, err := json.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	again := &fairleadv1alpha1.MCPServer{}
	if err := json.Unmarshal(data, again); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*fairleadv1alpha1.MCPServer{"read": server, "read back": again, "copied": server.DeepCopy()} {
		policy := build(t, s).NetworkPolicy.Spec
		if len(policy.PolicyTypes) != 2 || len(policy.Ingress[0].From) != 1 || len(policy.Egress) != 2 {
			t.Errorf("%s: the policy is open: %v", name, policy)
		}
	}
	server.Spec.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{}
	if policy := build(t, server).NetworkPolicy.Spec; len(policy.PolicyTypes) != 1 || len(policy.Ingress[0].From) != 0 {
		t.Errorf("without lists the policy is closed: %v", policy)
	}
}
