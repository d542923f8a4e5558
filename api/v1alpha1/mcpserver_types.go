// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MCPServer is one MCP endpoint: the tools it offers, who may call them, how
// many clients it takes, and how it is reached. The operator turns it into
// pods, Services and, when asked, an Ingress; the runtime image serves it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=flmcp,categories=fairlead
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Tools",type=integer,JSONPath=`.status.tools.count`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 48 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 48 characters of a-z, 0-9 and '-', begin with a letter and end with a letter or digit: children are named <name>-mcp and the Service name must be a DNS label"
type MCPServer struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata. The name is at most 48
	// characters, so that the names of children stay DNS labels.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the server should be.
	// +required
	Spec MCPServerSpec `json:"spec"`

	// status is what the operator last observed. Until it has, observedGeneration
	// is -1, so that tools that wait for a server do not take it for done
	// (kstatus).
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status MCPServerStatus `json:"status,omitempty"`
}

// MCPServerList is a list of MCPServer objects.
//
// +kubebuilder:object:root=true
type MCPServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []MCPServer `json:"items"`
}

// ManagementState says whether the operator acts on an MCPServer.
// +kubebuilder:validation:Enum=Managed;Paused
type ManagementState string

const (
	// Managed lets the operator apply, prune and report. It is the default.
	Managed ManagementState = "Managed"
	// Paused leaves every child as it is until the field changes back.
	Paused ManagementState = "Paused"
)

// MCPServerSpec is the desired state of an MCPServer.
//
// +kubebuilder:validation:XValidation:rule="has(self.auth.apiKeys) || (has(self.auth.anonymousAccess) && self.auth.anonymousAccess == 'Allowed')",message="auth must name at least one way in: set auth.apiKeys, or auth.anonymousAccess: Allowed to let everybody in",fieldPath=".auth"
// +kubebuilder:validation:XValidation:rule="!has(self.auth.anonymousAccess) || self.auth.anonymousAccess != 'Allowed' || has(self.auth.apiKeys) || !self.tools.exists(t, has(t.access))",message="a tool has access rules, but auth.anonymousAccess is the only way in, and an anonymous caller has no roles: add auth.apiKeys or remove the tool's access",fieldPath=".tools"
// +kubebuilder:validation:XValidation:rule="!has(self.replicas) || !has(self.autoscaling)",message="replicas and autoscaling exclude each other: remove one",fieldPath=".autoscaling"
type MCPServerSpec struct {
	// title is the display name that clients show (serverInfo.title). At most
	// 128 characters; defaults to metadata.name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Title string `json:"title,omitempty"`

	// instructions tell a model how to use this server; clients get them on
	// initialize or server/discover. At most 16,384 characters.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Instructions string `json:"instructions,omitempty"`

	// tools are what clients can call; 1 to 256, names are unique. A change is
	// applied by running pods without a restart unless the Secrets that are
	// mounted change.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Tools []Tool `json:"tools"`

	// auth says who may connect. At least one way must be named.
	// +required
	Auth Auth `json:"auth"`

	// limits bound what one replica takes on.
	// +optional
	Limits *Limits `json:"limits,omitempty"`

	// transports tune the wire: heartbeats, compression, the deprecated
	// HTTP+SSE transport.
	// +optional
	Transports *Transports `json:"transports,omitempty"`

	// browser says which web pages may use this server.
	// +optional
	Browser *Browser `json:"browser,omitempty"`

	// exposure makes the server reachable from outside of the cluster.
	// +optional
	Exposure *Exposure `json:"exposure,omitempty"`

	// networkPolicy says what may reach the pods and what they may reach.
	// +optional
	NetworkPolicy *NetworkPolicy `json:"networkPolicy,omitempty"`

	// service sets what the server's Service is.
	// +optional
	Service *Service `json:"service,omitempty"`

	// replicas is the number of pods, 0 to 1,000; the operator's default is 2.
	// Not together with autoscaling.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`

	// autoscaling lets the number of pods follow their load. Changing between
	// replicas and autoscaling never changes the number of pods by itself.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`

	// rollout says how pods are replaced.
	// +optional
	Rollout *Rollout `json:"rollout,omitempty"`

	// drain says how a pod that goes away takes leave of its clients.
	// +optional
	Drain *Drain `json:"drain,omitempty"`

	// logging sets what the pods log.
	// +optional
	Logging *Logging `json:"logging,omitempty"`

	// pod sets what the server's pods are made of.
	// +optional
	Pod *Pod `json:"pod,omitempty"`

	// managementState pauses the operator for this object: Managed (default)
	// or Paused. Paused servers keep running as they are.
	// +optional
	ManagementState ManagementState `json:"managementState,omitempty"`
}

// MCPServerStatus is the observed state of an MCPServer.
type MCPServerStatus struct {
	// conditions are Accepted, Available, Converged, Verified and Ready;
	// Reconciling, Stalled, Degraded and UpgradePending exist only while they
	// are true.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// url is where clients outside of the cluster connect (Streamable HTTP);
	// empty without an exposure.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`

	// address is where clients inside of the cluster connect.
	// +optional
	Address *Address `json:"address,omitempty"`

	// tools summarize the catalog that the last accepted spec offers.
	// +optional
	Tools *ToolsStatus `json:"tools,omitempty"`

	// serverInfo is what the server told the operator's own client about itself.
	// +optional
	ServerInfo *ServerInfo `json:"serverInfo,omitempty"`

	// refreshedAt is the value of the last request to refresh
	// (fairlead.dev/refresh-requested-at) that every pod has honoured.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	RefreshedAt string `json:"refreshedAt,omitempty"`

	// replicas is the number of pods that exist.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Replicas int32 `json:"replicas"`

	// selector is the label selector of the pods, for the scale subresource.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Selector string `json:"selector,omitempty"`

	// observedGeneration is the metadata.generation that this status is about; -1
	// until the operator has seen the object.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// Address is where something can be reached.
type Address struct {
	// url is the address of the Streamable HTTP endpoint.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
}

// ServerInfo is what an MCP server says about itself (MCP schema, Implementation).
type ServerInfo struct {
	// name is the server's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// title is its display name.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Title string `json:"title,omitempty"`

	// version is the version of the runtime that answered.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Version string `json:"version,omitempty"`
}

// ToolsStatus summarizes the catalog.
type ToolsStatus struct {
	// count is the number of tools that are offered; disabled ones do not count.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`

	// names are the first 64 tools that are offered, in the order of the spec.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	Names []string `json:"names,omitempty"`

	// revision is the hash of the configuration that the pods were given.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Revision string `json:"revision,omitempty"`

	// lagging are the first 10 pods that do not serve the revision yet; empty
	// when all do.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=253
	Lagging []string `json:"lagging,omitempty"`
}
