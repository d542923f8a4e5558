// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/runtime/config"
)

const (
	clientPort = 8080
	adminPort  = 8081
	peerPort   = 8082

	// defaultOperatorNamespace is where the manifests and the chart install the
	// operator.
	defaultOperatorNamespace = "fairlead-system"
	// nodeLocalDNS is where NodeLocal DNSCache listens on every node.
	nodeLocalDNS = "169.254.20.10/32"
)

// dnsNamespaces are where clusters run their DNS.
var dnsNamespaces = []string{"kube-system", "openshift-dns"}

// dnsPorts are DNS's own, and OpenShift's behind its Service.
var dnsPorts = []int32{53, 5353}

// networkPolicy lets clients, the operator, monitoring and the server's own
// pods in. What the pods may reach is bounded only on demand: backends are
// anywhere.
func networkPolicy(in Input) *networkingv1.NetworkPolicy {
	spec := in.Server.Spec.NetworkPolicy
	operator := cmp.Or(in.Defaults.OperatorNamespace, defaultOperatorNamespace)
	own := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: Selector(in.Server.Name)}}

	clients := networkingv1.NetworkPolicyIngressRule{Ports: tcpPort(clientPort)}
	if spec != nil && spec.IngressFrom != nil {
		// The verifier is a client, too. An empty list here would mean anybody.
		clients.From = append(slices.Clone(spec.IngressFrom), namespacePeer(operator))
	}
	out := &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: objectMeta(in, Name(in.Server.Name)),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: Selector(in.Server.Name)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				clients,
				{Ports: tcpPort(adminPort), From: []networkingv1.NetworkPolicyPeer{namespacePeer(append([]string{operator}, in.Defaults.MonitoringNamespaces...)...)}},
				{Ports: tcpPort(peerPort), From: []networkingv1.NetworkPolicyPeer{own}},
			},
		},
	}
	if spec != nil && spec.EgressTo != nil {
		out.Spec.PolicyTypes = append(out.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		out.Spec.Egress = append([]networkingv1.NetworkPolicyEgressRule{
			dnsRule(),
			{Ports: tcpPort(peerPort), To: []networkingv1.NetworkPolicyPeer{own}},
		}, spec.EgressTo...)
	}
	return out
}

func dnsRule() networkingv1.NetworkPolicyEgressRule {
	rule := networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{
		namespacePeer(dnsNamespaces...),
		{IPBlock: &networkingv1.IPBlock{CIDR: nodeLocalDNS}},
	}}
	for _, port := range dnsPorts {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
			rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Protocol: new(protocol), Port: new(intstr.FromInt32(port))})
		}
	}
	return rule
}

func tcpPort(port int32) []networkingv1.NetworkPolicyPort {
	return []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(port))}}
}

// namespacePeer is every pod of the namespaces, by the label that the API
// server sets on each.
func namespacePeer(names ...string) networkingv1.NetworkPolicyPeer {
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: sorted,
		}},
	}}
}

// checkNetworkPolicy finds what Kubernetes would refuse in a peer, so that lint
// tells before the cluster does. (Rules of the CRD over both nested lists would
// cost more than its budget.)
func checkNetworkPolicy(in Input) error {
	spec := in.Server.Spec.NetworkPolicy
	if spec == nil {
		return nil
	}
	var errs config.Errors
	check := func(path string, peers []networkingv1.NetworkPolicyPeer) {
		for i := range peers {
			errs = append(errs, wrongPeer(fmt.Sprintf("%s[%d]", path, i), &peers[i])...)
		}
	}
	check("networkPolicy.ingressFrom", spec.IngressFrom)
	for i := range spec.EgressTo {
		check(fmt.Sprintf("networkPolicy.egressTo[%d].to", i), spec.EgressTo[i].To)
	}
	if len(errs) > 0 {
		return invalidSpec(errs)
	}
	return nil
}

func wrongPeer(path string, peer *networkingv1.NetworkPolicyPeer) config.Errors {
	selects := peer.PodSelector != nil || peer.NamespaceSelector != nil
	if selects == (peer.IPBlock != nil) {
		return config.Errors{{Path: path, Message: "a peer needs ipBlock alone, or podSelector, namespaceSelector or both"}}
	}
	if selects {
		return nil
	}
	var errs config.Errors
	wrong := func(path, format string, args ...any) {
		errs = append(errs, &config.FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	path += ".ipBlock"
	whole, err := netip.ParsePrefix(peer.IPBlock.CIDR)
	if err != nil {
		wrong(path+".cidr", "%q is not a range of addresses such as 10.0.0.0/8", peer.IPBlock.CIDR)
		return errs
	}
	for i, text := range peer.IPBlock.Except {
		part, err := netip.ParsePrefix(text)
		if err != nil || !whole.Contains(part.Addr()) || part.Bits() <= whole.Bits() {
			wrong(fmt.Sprintf("%s.except[%d]", path, i), "%q is not a range of addresses inside of %s", text, peer.IPBlock.CIDR)
		}
	}
	return errs
}
