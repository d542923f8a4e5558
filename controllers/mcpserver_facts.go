// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/exposure"
	"fairlead.dev/fairlead/controllers/resources"
)

// clusterFacts gathers what the cluster says about the things a server names.
func (r *Reconciler) clusterFacts(ctx context.Context, server *fairleadv1alpha1.MCPServer) (resources.ClusterFacts, error) {
	if !asksForProfile(server) {
		return resources.ClusterFacts{}, nil
	}
	class, err := r.ingressClass(ctx, server.Spec.Exposure.Ingress.ClassName)
	if err != nil || class == nil {
		return resources.ClusterFacts{}, err
	}
	return resources.ClusterFacts{Profile: exposure.Detect(class.Spec.Controller)}, nil
}

// asksForProfile reports whether the server leaves the profile to the cluster.
func asksForProfile(server *fairleadv1alpha1.MCPServer) bool {
	spec := server.Spec.Exposure
	return spec != nil && spec.Ingress != nil && (spec.Profile == "" || spec.Profile == fairleadv1alpha1.ProfileAuto)
}

// ingressClass returns the named class, or the cluster's default for ""; nil if
// there is none.
func (r *Reconciler) ingressClass(ctx context.Context, name string) (*networkingv1.IngressClass, error) {
	if name != "" {
		class := &networkingv1.IngressClass{}
		err := r.Client.Get(ctx, client.ObjectKey{Name: name}, class)
		if apierrors.IsNotFound(err) {
			return nil, nil //nolint:nilnil // A class that is not there yet is a fact, not a failure.
		}
		if err != nil {
			return nil, fmt.Errorf("failed to read IngressClass %q: %w", name, err)
		}
		return class, nil
	}
	var classes networkingv1.IngressClassList
	if err := r.Client.List(ctx, &classes); err != nil {
		return nil, fmt.Errorf("failed to list IngressClasses: %w", err)
	}
	var newest *networkingv1.IngressClass
	for i := range classes.Items {
		class := &classes.Items[i]
		if class.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" {
			continue
		}
		// Of several defaults the API server takes the newest, then the first
		// by name (plugin/pkg/admission/network/defaultingressclass).
		if newest == nil || newest.CreationTimestamp.Before(&class.CreationTimestamp) ||
			(newest.CreationTimestamp.Equal(&class.CreationTimestamp) && class.Name < newest.Name) {
			newest = class
		}
	}
	return newest, nil
}
