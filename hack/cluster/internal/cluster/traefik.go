// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// traefikAddress is Traefik's Service.
const traefikAddress = "traefik.kube-system.svc." + layout.Domain + ":80"

// traefikManifest makes Traefik known as the ingress class and the Service traefik and lets it read what it carries to.
func traefikManifest() string {
	return strings.NewReplacer(
		"$USER", pki.TraefikUser, "$NODEIP", layout.NodeIP, "$PORT", node.TraefikPort,
	).Replace(traefikTemplate)
}

const traefikTemplate = `apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: traefik
spec:
  controller: traefik.io/ingress-controller
---
apiVersion: v1
kind: Service
metadata:
  name: traefik
  namespace: kube-system
  labels: {app.kubernetes.io/name: traefik}
spec:
  ports:
    - {name: web, port: 80, targetPort: $PORT, protocol: TCP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: traefik-node
  namespace: kube-system
  labels: {kubernetes.io/service-name: traefik, endpointslice.kubernetes.io/managed-by: fairlead-cluster}
addressType: IPv4
ports:
  - {name: web, port: $PORT, protocol: TCP}
endpoints:
  - addresses: [$NODEIP]
    conditions: {ready: true}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: system:traefik
rules:
  - apiGroups: [""]
    resources: [services, secrets, nodes]
    verbs: [get, list, watch]
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]
  - apiGroups: [networking.k8s.io]
    resources: [ingresses, ingressclasses]
    verbs: [get, list, watch]
  - apiGroups: [networking.k8s.io]
    resources: [ingresses/status]
    verbs: [update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: system:traefik
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:traefik}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: $USER}
`
