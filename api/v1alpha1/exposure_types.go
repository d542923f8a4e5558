// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import corev1 "k8s.io/api/core/v1"

// Exposure makes the server reachable from outside of the cluster.
type Exposure struct {
	// ingress publishes the server through an Ingress.
	// +required
	Ingress *IngressExposure `json:"ingress"`

	// profile names the implementation behind the class, whose settings keep
	// streams alive: Auto (default) reads it from the IngressClass; None adds
	// no settings.
	// +optional
	Profile ExposureProfile `json:"profile,omitempty"`
}

// ExposureProfile names an ingress implementation.
// +kubebuilder:validation:Enum=Auto;IngressNginx;NginxInc;Traefik;HAProxy;None
type ExposureProfile string

const (
	// ProfileAuto reads the implementation from the IngressClass.
	ProfileAuto ExposureProfile = "Auto"
	// ProfileIngressNginx is kubernetes/ingress-nginx.
	ProfileIngressNginx ExposureProfile = "IngressNginx"
	// ProfileNginxInc is nginx/kubernetes-ingress by F5.
	ProfileNginxInc ExposureProfile = "NginxInc"
	// ProfileTraefik is Traefik.
	ProfileTraefik ExposureProfile = "Traefik"
	// ProfileHAProxy is haproxytech/kubernetes-ingress.
	ProfileHAProxy ExposureProfile = "HAProxy"
	// ProfileNone adds no settings.
	ProfileNone ExposureProfile = "None"
)

// IngressExposure is an Ingress for the server.
//
// +kubebuilder:validation:XValidation:rule="!has(self.annotations) || self.annotations.all(k, !k.endsWith('-snippet') && !k.endsWith('-snippets'))",message="annotations must not inject configuration snippets: remove the key that ends in -snippet",fieldPath=".annotations"
// +kubebuilder:validation:XValidation:rule="!has(self.annotations) || self.annotations.all(k, !k.contains('/auth-'))",message="annotations must not set authentication at the ingress: remove the key that begins with auth- and use spec.auth",fieldPath=".annotations"
type IngressExposure struct {
	// className is the IngressClass; the cluster's default without it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClassName string `json:"className,omitempty"`

	// hosts are the names under which clients reach the server, 1 to 16.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Hosts []string `json:"hosts"`

	// path is the prefix of every endpoint, such as /orders; the runtime serves
	// /orders/mcp and /orders/sse itself, nothing is rewritten. Defaults to /.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^/([A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*)?$`
	Path string `json:"path,omitempty"`

	// tls terminates TLS at the ingress.
	// +optional
	TLS *IngressTLS `json:"tls,omitempty"`

	// annotations are added to the Ingress and win over the profile's; at most 32.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=1024
type AnnotationValue string

// IngressTLS terminates TLS at the ingress.
type IngressTLS struct {
	// secretName is the Secret with tls.crt and tls.key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	SecretName string `json:"secretName"`
}

// Pod sets what the server's pods are made of.
//
// +kubebuilder:validation:XValidation:rule="!has(self.labels) || self.labels.all(k, !k.startsWith('fairlead.dev/') && !k.startsWith('app.kubernetes.io/'))",message="labels must not use fairlead.dev/ or app.kubernetes.io/: the operator selects pods by them",fieldPath=".labels"
// +kubebuilder:validation:XValidation:rule="!has(self.annotations) || self.annotations.all(k, !k.startsWith('fairlead.dev/') && !k.startsWith('app.kubernetes.io/'))",message="annotations must not use fairlead.dev/ or app.kubernetes.io/: they are the operator's",fieldPath=".annotations"
type Pod struct {
	// image replaces the runtime image of the operator's configuration.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// imagePullSecrets name Secrets for the image's registry; at most 8.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ImagePullSecrets []SecretRef `json:"imagePullSecrets,omitempty"`

	// resources of the runtime container; defaults to requests of 50m CPU and
	// 64Mi memory and a memory limit of 256Mi.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// nodeSelector selects nodes by label; at most 32.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// tolerations let pods onto tainted nodes; at most 32.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// affinity steers pods to nodes and to or from other pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// topologySpreadConstraints spread pods; at most 8. Without any, pods are
	// spread over nodes as far as possible.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// labels are added to the pods; at most 32.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are added to the pods; at most 32.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// priorityClassName is the pods' priority class.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue string
