// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// An addon runs as a plain process, with a Service without a selector and an EndpointSlice that points at the node; package
// node says how the process is started.

// dnsManifest makes the name server known under its usual name and lets it read what it answers for.
func dnsManifest() string {
	return strings.NewReplacer(
		"$USER", pki.DNSUser, "$CLUSTERIP", layout.DNSServiceIP, "$NODEIP", layout.NodeIP,
	).Replace(`apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}
spec:
  clusterIP: $CLUSTERIP
  ports:
    - {name: dns, port: 53, protocol: UDP}
    - {name: dns-tcp, port: 53, protocol: TCP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns-node
  namespace: kube-system
  labels: {kubernetes.io/service-name: kube-dns, endpointslice.kubernetes.io/managed-by: fairlead-cluster}
addressType: IPv4
ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
endpoints:
  - addresses: [$NODEIP]
    conditions: {ready: true}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:coredns
rules:
  - apiGroups: [""]
    resources: [services, namespaces]
    verbs: [list, watch]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:coredns
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: $USER}
`)
}

// apply sends an addon's objects to the API server.
func (c *Cluster) apply(ctx context.Context, bin, manifest string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, binaries.Kubectl), "apply", "--server-side", "-f", "-")
	cmd.Env = c.environment(facts{Bin: bin}, c.Layout.KubeconfigOutside())
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to apply an addon: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
