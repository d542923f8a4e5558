// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package resources builds every object of an MCPServer. It is pure: no client,
// clock, log or random number; the same input gives the same bytes.
package resources

import (
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
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
}

// ClusterFacts are what the cluster says about the things that a server names.
type ClusterFacts struct {
	// Profile is the implementation behind the server's ingress class, used
	// where spec.exposure.profile is Auto. Empty: unknown, no settings.
	Profile fairleadv1alpha1.ExposureProfile
}

// Input is all that decides what a server's objects are.
type Input struct {
	Server   *fairleadv1alpha1.MCPServer
	Defaults Defaults
	Cluster  ClusterFacts
}

// Objects are the objects of one server. Every one carries the labels of Name
// and, when the server has a uid, an owner reference.
type Objects struct {
	ServiceAccount *corev1.ServiceAccount
	ConfigMap      *corev1.ConfigMap
	Service        *corev1.Service
	Deployment     *appsv1.Deployment
	// Ingress is nil without an exposure.
	Ingress *networkingv1.Ingress

	// Program is the compiled configuration that the ConfigMap holds.
	Program *config.Program
	// Revision is the configuration's hash.
	Revision string
}

// List returns the objects in the order in which they must be applied.
func (o *Objects) List() []Object {
	all := []Object{o.ServiceAccount, o.ConfigMap, o.Service, o.Deployment}
	if o.Ingress != nil {
		all = append(all, o.Ingress)
	}
	return all
}

// InvalidSpecError says which fields of a spec do not compile.
type InvalidSpecError struct {
	// Fields are in the order of the spec; paths begin with "spec.".
	Fields config.Errors
}

// Error returns one field a line.
func (e *InvalidSpecError) Error() string { return e.Fields.Error() }

// Build returns the objects of a server. Its error is an *InvalidSpecError for
// a spec that does not compile, or a *config.TooLargeError.
func Build(in Input) (*Objects, error) {
	server, err := serverConfig(in.Server, in.Defaults)
	if err != nil {
		return nil, invalidSpec(err)
	}
	program, err := config.Compile(server)
	if err != nil {
		return nil, invalidSpec(err)
	}
	data, err := server.Encode()
	if err != nil {
		return nil, fmt.Errorf("failed to encode the configuration of %q: %w", in.Server.Name, err)
	}
	secrets := secretNames(&in.Server.Spec)
	objects := &Objects{
		ServiceAccount: serviceAccount(in),
		ConfigMap:      configMap(in, secrets, data),
		Service:        service(in),
		Deployment:     deployment(in, secrets, program.Server.Drain),
		Ingress:        ingress(in),
		Program:        program,
		Revision:       server.Hash(),
	}
	for _, object := range objects.List() {
		if err := stampHash(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// Replicas returns the number of pods that the spec asks for.
func Replicas(server *fairleadv1alpha1.MCPServer, defaults Defaults) int32 {
	switch {
	case server.Spec.Replicas != nil:
		return *server.Spec.Replicas
	case defaults.Replicas > 0:
		return defaults.Replicas
	}
	return 2
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

// secretNames returns the Secrets that the spec refers to, sorted.
func secretNames(spec *fairleadv1alpha1.MCPServerSpec) []string {
	var names []string
	if spec.Auth.APIKeys != nil {
		names = append(names, spec.Auth.APIKeys.SecretRef.Name)
	}
	for i := range spec.Tools {
		if http := spec.Tools[i].HTTP; http != nil {
			for _, header := range http.HeadersFrom {
				names = append(names, header.SecretKeyRef.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
