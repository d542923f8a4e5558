// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

const (
	// AnnotationRefreshRequestedAt on an MCPServer asks its pods to read their
	// Secrets and configuration again at once. The value is a time (RFC 3339);
	// each new value is one request, and status.refreshedAt repeats the last
	// one that every pod has honoured.
	AnnotationRefreshRequestedAt = "fairlead.dev/refresh-requested-at"
	// AnnotationConfigRevision on a pod makes the kubelet refresh its volumes at
	// once. The value is <revision>-<attempt>; only the operator sets it.
	AnnotationConfigRevision = "fairlead.dev/config-revision"
	// AnnotationRefreshedAt on a pod is the refresh request that it was last
	// poked for; only the operator sets it.
	AnnotationRefreshedAt = "fairlead.dev/refreshed-at"
)
