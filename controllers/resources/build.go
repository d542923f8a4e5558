// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package resources builds every object of an MCPServer. It is pure: no client,
// clock, log or random number; the same input gives the same bytes.
package resources

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

// Object is an object with metadata.
type Object interface {
	metav1.Object
	runtime.Object
}

// Defaults are what the operator's configuration sets for servers that do not.
type Defaults struct {
	// RuntimeImage is the image of the pods.
	RuntimeImage string
	// Replicas is the number of pods; 2 when it is 0.
	Replicas int32
	// ClusterDomain ends the full names of Services; cluster.local when empty.
	ClusterDomain string
	// OperatorNamespace is where the operator runs; fairlead-system when empty.
	// Network policies let it ask pods and verify servers.
	OperatorNamespace string
	// MonitoringNamespaces may read metrics from the admin port.
	MonitoringNamespaces []string
	// Limits bound what servers may ask for.
	Limits Limits
}

// Limits are the operator's bounds on what servers may ask for. An empty list
// allows anything, except for what no configuration allows (see
// NotPermittedError).
type Limits struct {
	// IngressClasses are the classes that exposure.ingress.className may name.
	IngressClasses []string
	// HostSuffixes end the hosts of exposure.ingress at the border of a label:
	// example.com allows itself and mcp.example.com, .example.com only the latter.
	HostSuffixes []string
	// AnnotationPrefixes begin the keys of exposure.ingress.annotations.
	AnnotationPrefixes []string
	// ImagePrefixes begin pod.image, at the border of a part of its name:
	// registry.example.com/team allows registry.example.com/team/runtime:1.
	ImagePrefixes []string
}

// ClusterFacts are what the cluster says about the things that a server names.
type ClusterFacts struct {
	// Profile is the implementation behind the server's ingress class, used
	// where spec.exposure.profile is Auto. Empty: unknown, no settings.
	Profile fairleadv1alpha1.ExposureProfile
}

// Observed is what the live objects say and the next ones must respect. Its
// zero value is right for a new server, and for lint and render.
type Observed struct {
	// Replicas is the live Deployment's spec.replicas; nil without a Deployment.
	// It is kept where the spec names no number.
	Replicas *int32
	// HoldReplicas keeps Replicas for now, whatever number the spec names.
	HoldReplicas bool
	// ConfigMap is the name of the ConfigMap that the live pod template mounts,
	// where that template is to be kept (paced or held); empty otherwise.
	ConfigMap string
	// Contract is the version of server.yaml that the live pod template's
	// runtime reads, under the same rule; 0 otherwise.
	Contract int
	// KeyIDs are the ids of the session keys that were applied, current first;
	// they go to the annotation AnnotationSessionKeys.
	KeyIDs []string
}

// Input is all that decides what a server's objects are.
type Input struct {
	Server   *fairleadv1alpha1.MCPServer
	Defaults Defaults
	Cluster  ClusterFacts
	Observed Observed
}

// Objects are the objects of one server. Every one carries the labels of Name
// and, when the server has a uid, an owner reference.
type Objects struct {
	ServiceAccount *corev1.ServiceAccount
	ConfigMap      *corev1.ConfigMap
	Service        *corev1.Service
	// Peers is the headless Service by which the pods find each other.
	Peers         *corev1.Service
	PDB           *policyv1.PodDisruptionBudget
	NetworkPolicy *networkingv1.NetworkPolicy
	// Deployment has no replicas while an autoscaler owns them.
	Deployment *appsv1.Deployment
	// HPA is nil without an autoscaling that is managed by Fairlead.
	HPA *autoscalingv2.HorizontalPodAutoscaler
	// Ingress is nil without an exposure.
	Ingress *networkingv1.Ingress

	// Program is the compiled configuration that the ConfigMap holds.
	Program *config.Program
	// Revision is the configuration's hash.
	Revision string
}

// List returns the objects in the order in which they must be applied: what
// pods need before the pods, what sends clients to them last.
func (o *Objects) List() []Object {
	all := []Object{o.ServiceAccount, o.ConfigMap, o.Service, o.Peers}
	if o.PDB != nil {
		all = append(all, o.PDB)
	}
	if o.NetworkPolicy != nil {
		all = append(all, o.NetworkPolicy)
	}
	all = append(all, o.Deployment)
	if o.HPA != nil {
		all = append(all, o.HPA)
	}
	if o.Ingress != nil {
		all = append(all, o.Ingress)
	}
	return all
}

// Scaling are the objects that follow a server even while its spec does not
// compile and everything else is frozen.
type Scaling struct {
	// Replicas is what the Deployment's spec.replicas should be; nil while an
	// autoscaler owns it.
	Replicas *int32
	PDB      *policyv1.PodDisruptionBudget
	// HPA is nil without an autoscaling that is managed by Fairlead.
	HPA *autoscalingv2.HorizontalPodAutoscaler
}

// InvalidSpecError says which fields of a spec do not compile.
type InvalidSpecError struct {
	// Fields are in the order of the spec; paths begin with "spec.".
	Fields config.Errors
}

// Error returns one field a line.
func (e *InvalidSpecError) Error() string { return e.Fields.Error() }

// NotPermittedError says which fields of a spec the operator's Limits forbid,
// or ask for what no configuration allows: snippets and authentication in
// annotations of the Ingress, the Secrets of session keys as credentials.
type NotPermittedError struct {
	// Fields are in the order of the spec; paths begin with "spec.".
	Fields config.Errors
}

// Error returns one field a line.
func (e *NotPermittedError) Error() string { return e.Fields.Error() }

// ContractError says that the pods, whose template is kept, read a version of
// server.yaml that this operator does not write (any more).
type ContractError struct {
	// Contract is the version that the pods read.
	Contract int
	// Oldest and Newest are the versions that can be written.
	Oldest, Newest int
}

// Error names both sides and the next act.
func (e *ContractError) Error() string {
	return fmt.Sprintf("the pods read version %d of the configuration, this operator writes %d to %d: let the pods roll, with rollout.onOperatorUpgrade: Roll",
		e.Contract, e.Oldest, e.Newest)
}

// Build returns the objects of a server. Its error is a *NotPermittedError for
// what the operator's limits forbid, an *InvalidSpecError for a spec that does
// not compile, a *config.TooLargeError, or a *ContractError.
func Build(in Input) (*Objects, error) {
	if err := permitted(in); err != nil {
		return nil, err
	}
	server, err := serverConfig(in.Server, in.Defaults)
	if err != nil {
		return nil, invalidSpec(err)
	}
	program, err := config.Compile(server)
	if err != nil {
		return nil, invalidSpec(err)
	}
	if err := checkNetworkPolicy(in); err != nil {
		return nil, err
	}
	hpa, err := autoscaler(in)
	if err != nil {
		return nil, err
	}
	contract := cmp.Or(in.Observed.Contract, config.ContractVersion)
	if contract < config.OldestContract || contract > config.ContractVersion {
		return nil, &ContractError{Contract: contract, Oldest: config.OldestContract, Newest: config.ContractVersion}
	}
	data, err := server.EncodeFor(contract)
	if err != nil {
		return nil, fmt.Errorf("failed to encode the configuration of %q: %w", in.Server.Name, err)
	}
	revision := server.HashFor(contract)
	objects := &Objects{
		ServiceAccount: serviceAccount(in),
		ConfigMap:      configMap(in, data, revision),
		Service:        service(in),
		Peers:          peersService(in),
		PDB:            disruptionBudget(in),
		NetworkPolicy:  networkPolicy(in),
		HPA:            hpa,
		Ingress:        ingress(in),
		Program:        program,
		Revision:       revision,
	}
	if objects.Deployment, err = deployment(in, graceSeconds(program.Server.Drain)); err != nil {
		return nil, err
	}
	for _, object := range objects.List() {
		if err := stampHash(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// invalidSpec turns paths of the contract into paths of the object.
func invalidSpec(err error) error {
	var fields config.Errors
	if !errors.As(err, &fields) {
		return err
	}
	prefixed := make(config.Errors, 0, len(fields))
	for _, field := range fields {
		path := "spec"
		if field.Path != "" {
			path += "." + field.Path
		}
		prefixed = append(prefixed, &config.FieldError{Path: path, Message: field.Message})
	}
	return &InvalidSpecError{Fields: prefixed}
}

// secretNames returns the Secrets that the spec refers to, sorted, without the
// one that is always mounted.
func secretNames(server *fairleadv1alpha1.MCPServer) []string {
	var names []string
	if server.Spec.Auth.APIKeys != nil {
		names = append(names, server.Spec.Auth.APIKeys.SecretRef.Name)
	}
	for i := range server.Spec.Tools {
		if http := server.Spec.Tools[i].HTTP; http != nil {
			for _, header := range http.HeadersFrom {
				names = append(names, header.SecretKeyRef.Name)
			}
		}
	}
	slices.Sort(names)
	always := CredentialsSecretName(server.Name)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == always })
}
