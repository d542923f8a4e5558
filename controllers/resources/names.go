// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

const (
	// LabelServer names the MCPServer that an object belongs to. Pods are
	// selected by it.
	LabelServer = "fairlead.dev/server"
	// LabelManagedBy is on every object that the operator writes; its cache
	// holds nothing else.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "fairlead"
	// AnnotationRenderedHash is the hash of the object as it was rendered: a
	// field that is rendered no longer shows only by it.
	AnnotationRenderedHash = "fairlead.dev/rendered-hash"
	// AnnotationRevision on a ConfigMap is the revision of the configuration in it:
	// the operator's cache does not hold the configuration itself.
	AnnotationRevision = "fairlead.dev/revision"
	// AnnotationTemplateHash on a Deployment is the hash of its pod template as
	// it was rendered.
	AnnotationTemplateHash = "fairlead.dev/template-hash"
	// AnnotationSurfaceHash on a Deployment is the hash of what the spec says
	// about the pod template. The same surface with another template means that
	// the operator, not the user, changes the pods.
	AnnotationSurfaceHash = "fairlead.dev/surface-hash"
	// AnnotationContract on a Deployment is the version of server.yaml that its
	// pods read.
	AnnotationContract = "fairlead.dev/contract"
	// AnnotationReplicasOwner on a Deployment says who sets spec.replicas:
	// OwnerFairlead or OwnerAutoscaler.
	AnnotationReplicasOwner = "fairlead.dev/replicas-owner"
	// AnnotationSessionKeys on a Deployment lists the ids of the session keys in
	// its Secret, current first, with commas.
	AnnotationSessionKeys = "fairlead.dev/session-keys"
	// OwnerFairlead is the value of AnnotationReplicasOwner without autoscaling.
	OwnerFairlead = "Fairlead"
	// OwnerAutoscaler is the value of AnnotationReplicasOwner with autoscaling.
	OwnerAutoscaler = "Autoscaler"
	// SecretTypeSessionKeys is the type of the Secret with the session keys: the
	// admission policy lets the operator touch no other.
	SecretTypeSessionKeys = "fairlead.dev/session-keys" //nolint:gosec // G101: a type's name.

	// RuntimeContainer is the name of the container in the pods.
	RuntimeContainer = "runtime"
	// ServerFile is the key of the configuration in the ConfigMap.
	ServerFile = "server.yaml"
	// VolumeServer is the name of the volume of the pods with the ConfigMap.
	VolumeServer = "server"
	// LastGoodFile is the key of the configuration that all pods served last.
	LastGoodFile = "last-good.yaml"

	serverDir  = "/etc/fairlead/server"
	secretsDir = "/etc/fairlead/secrets" //nolint:gosec // G101: a folder's name.
	keysDir    = "/etc/fairlead/session-keys"

	// sessionSuffix ends the names of all Secrets with session keys.
	sessionSuffix = "-mcp-session"

	defaultClusterDomain = "cluster.local"

	portHTTP  = "http"
	portAdmin = "admin"
)

// Name is the name of a server's Deployment, Service, ServiceAccount and
// Ingress: at most 52 characters for an admitted server.
func Name(server string) string { return server + "-mcp" }

// SessionSecretName is the name of the Secret with a server's session keys.
func SessionSecretName(server string) string { return Name(server) + "-session" }

// CredentialsSecretName is the name of the Secret that a server's pods always
// mount, if it exists: a tool that refers to it needs no new pods.
func CredentialsSecretName(server string) string { return Name(server) + "-credentials" }

// configMapName is the name of the ConfigMap for one set of mounts. Edits that
// mount nothing new keep it, so that running pods see them; others get a new
// one, and the old pods keep theirs.
func configMapName(server *fairleadv1alpha1.MCPServer) string {
	parts := append([]string{fmt.Sprintf("contract=%d", config.ContractVersion)}, secretNames(server)...)
	return Name(server.Name) + "-" + shortHash(parts...)
}

// volumeName is the name of the volume for a Secret, whose own name may have
// dots and 253 characters.
func volumeName(secret string) string { return "secret-" + shortHash(secret) }

// shortHash returns 8 hex digits over the parts.
func shortHash(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:%s,", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:8]
}

// Selector returns the labels by which a server's pods are selected.
func Selector(server string) map[string]string {
	return map[string]string{LabelServer: server}
}

// objectLabels returns the labels of every child.
func objectLabels(server string) map[string]string {
	labels := map[string]string{
		LabelManagedBy:               ManagedBy,
		"app.kubernetes.io/name":     "mcp-server",
		"app.kubernetes.io/instance": server,
		"app.kubernetes.io/part-of":  "fairlead",
	}
	maps.Copy(labels, Selector(server))
	return labels
}

// hosts returns every name under which clients come: the Service's, the
// Ingress's, and this machine's, for a port-forward to a pod.
func hosts(server *fairleadv1alpha1.MCPServer, domain string) []string {
	domain = cmp.Or(domain, defaultClusterDomain)
	name := Name(server.Name)
	names := []string{name}
	if server.Namespace != "" {
		names = append(names, name+"."+server.Namespace, name+"."+server.Namespace+".svc",
			name+"."+server.Namespace+".svc."+domain)
	}
	if exposure := server.Spec.Exposure; exposure != nil && exposure.Ingress != nil {
		names = append(names, exposure.Ingress.Hosts...)
	}
	return append(names, "localhost", "127.0.0.1")
}
