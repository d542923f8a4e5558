// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// metricsManifest makes the metrics server known as the API metrics.k8s.io and lets it read what it measures.
func metricsManifest() string {
	return strings.NewReplacer(
		"$USER", pki.MetricsServerUser, "$NODEIP", layout.NodeIP, "$PORT", node.MetricsServerPort,
	).Replace(metricsTemplate)
}

const metricsTemplate = `apiVersion: v1
kind: Service
metadata:
  name: metrics-server
  namespace: kube-system
  labels: {k8s-app: metrics-server}
spec:
  ports:
    - {name: https, port: 443, targetPort: $PORT, protocol: TCP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: metrics-server-node
  namespace: kube-system
  labels: {kubernetes.io/service-name: metrics-server, endpointslice.kubernetes.io/managed-by: fairlead-cluster}
addressType: IPv4
ports:
  - {name: https, port: $PORT, protocol: TCP}
endpoints:
  - addresses: [$NODEIP]
    conditions: {ready: true}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1beta1.metrics.k8s.io
  labels: {k8s-app: metrics-server}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  # Its certificate is its own, made at its start.
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system, port: 443}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:aggregated-metrics-reader
  labels:
    rbac.authorization.k8s.io/aggregate-to-view: "true"
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
  - apiGroups: [metrics.k8s.io]
    resources: [pods, nodes]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:metrics-server
rules:
  - apiGroups: [""]
    resources: [nodes/metrics]
    verbs: [get]
  - apiGroups: [""]
    resources: [pods, nodes]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:metrics-server
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:metrics-server}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: $USER}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: metrics-server:system:auth-delegator
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: $USER}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: metrics-server-auth-reader
  namespace: kube-system
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: $USER}
`
