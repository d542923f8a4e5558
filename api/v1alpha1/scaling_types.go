// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AutoscalingManager says who scales the Deployment.
// +kubebuilder:validation:Enum=Fairlead;External
type AutoscalingManager string

const (
	// ManagedByFairlead lets the operator write a HorizontalPodAutoscaler. It is
	// the default.
	ManagedByFairlead AutoscalingManager = "Fairlead"
	// ManagedByExternal leaves the number of pods to somebody else, such as KEDA
	// or a HorizontalPodAutoscaler of yours, whose target is the Deployment.
	ManagedByExternal AutoscalingManager = "External"
)

// Autoscaling lets the number of pods follow their load.
//
// +kubebuilder:validation:XValidation:rule="has(self.maxReplicas) || (has(self.managedBy) && self.managedBy == 'External')",message="autoscaling needs maxReplicas unless managedBy is External"
// +kubebuilder:validation:XValidation:rule="!has(self.maxReplicas) || (has(self.minReplicas) ? self.minReplicas : 2) <= self.maxReplicas",message="minReplicas (2 when absent) must not be above maxReplicas",fieldPath=".maxReplicas"
// +kubebuilder:validation:XValidation:rule="!has(self.managedBy) || self.managedBy != 'External' || !(has(self.minReplicas) || has(self.maxReplicas) || has(self.targetCPUUtilizationPercentage) || has(self.targetMemoryUtilizationPercentage) || has(self.scaleDownStabilization))",message="managedBy: External stands alone: the outside autoscaler has its own bounds and targets",fieldPath=".managedBy"
type Autoscaling struct {
	// minReplicas is the least number of pods, 1 to 1,000; defaults to 2.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// maxReplicas is the greatest number of pods, 1 to 1,000; required unless
	// managedBy is External.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`

	// targetCPUUtilizationPercentage is the CPU that the runtime container
	// should use on average, in percent of its request, 1 to 1,000; defaults to 70.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	TargetCPUUtilizationPercentage *int32 `json:"targetCPUUtilizationPercentage,omitempty"`

	// targetMemoryUtilizationPercentage is the same for memory, 1 to 1,000;
	// memory does not count when absent.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	TargetMemoryUtilizationPercentage *int32 `json:"targetMemoryUtilizationPercentage,omitempty"`

	// scaleDownStabilization is how long the load must be lower before pods are
	// taken away, 0s to 1h; defaults to 10m. Each pod that goes cuts its streams once.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="must be a duration from 0s to 1h, such as 10m"
	ScaleDownStabilization *Duration `json:"scaleDownStabilization,omitempty"`

	// managedBy is Fairlead (default: the operator writes a
	// HorizontalPodAutoscaler) or External: another autoscaler targets the
	// Deployment, and the operator leaves its replicas alone.
	// +optional
	ManagedBy AutoscalingManager `json:"managedBy,omitempty"`
}

// OperatorUpgrade says what an upgrade of the operator does to the pods.
// +kubebuilder:validation:Enum=Roll;Hold
type OperatorUpgrade string

const (
	// UpgradeRoll rolls the pods, a few servers at a time. It is the default.
	UpgradeRoll OperatorUpgrade = "Roll"
	// UpgradeHold keeps the pods until somebody changes the field or edits what
	// rolls.
	UpgradeHold OperatorUpgrade = "Hold"
)

// Rollout says how pods are replaced.
type Rollout struct {
	// maxSurge is how many pods more than wanted a roll-out may start, as a
	// number (1 to 1,000) or a percentage ("1%" to "100%"); defaults to 100% up
	// to 10 replicas, so that each stream is cut at most once, else 25%.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 1000 : self.matches('^([1-9][0-9]?|100)%$')",message="must be a number from 1 to 1000 or a percentage from 1% to 100%"
	MaxSurge *intstr.IntOrString `json:"maxSurge,omitempty"`

	// onOperatorUpgrade is Roll (default) or Hold: pods that only a new version
	// or another configuration of the operator would change stay as they are.
	// +optional
	OnOperatorUpgrade OperatorUpgrade `json:"onOperatorUpgrade,omitempty"`
}

// NetworkPolicy says what may reach the pods and what they may reach. The
// operator always writes a Kubernetes NetworkPolicy: it is in force where the
// cluster's network has an implementation.
//
// +kubebuilder:validation:XValidation:rule="!has(self.ingressFrom) || self.ingressFrom.all(p, has(p.ipBlock) ? !has(p.podSelector) && !has(p.namespaceSelector) : has(p.podSelector) || has(p.namespaceSelector))",message="each peer needs ipBlock alone, or podSelector, namespaceSelector or both",fieldPath=".ingressFrom"
type NetworkPolicy struct {
	// ingressFrom lists who may connect as a client (port 8080), at most 32
	// peers; anybody when absent, nobody when empty. The operator's namespace
	// may always, since it verifies the server.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	IngressFrom []networkingv1.NetworkPolicyPeer `json:"ingressFrom,omitzero"`

	// egressTo lists where the pods may connect to, at most 32 rules; anywhere
	// when absent, nowhere when empty. DNS and the other pods of this server are
	// always allowed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	EgressTo []networkingv1.NetworkPolicyEgressRule `json:"egressTo,omitzero"`
}

// SessionAffinity says whether a client address stays on one pod.
// +kubebuilder:validation:Enum=ClientIP;None
type SessionAffinity string

const (
	// AffinityClientIP keeps an address on one pod for an hour. It is the default.
	AffinityClientIP SessionAffinity = "ClientIP"
	// AffinityNone spreads every connection.
	AffinityNone SessionAffinity = "None"
)

// Service sets what the server's Service is.
type Service struct {
	// sessionAffinity is ClientIP (default: connections of one address go to one
	// pod for an hour) or None.
	// +optional
	SessionAffinity SessionAffinity `json:"sessionAffinity,omitempty"`
}
