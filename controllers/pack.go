// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// Most of what a child takes in memory are maps, slices and pointers that nobody
// reads until the child is compared with what is desired. The cache keeps such
// parts as deflated protocol buffers, or JSON of a server's spec, in metadata.selfLink: the one text of every object
// that the API server never sets and that costs no map.

// message is an object that can be packed.
type message interface {
	client.Object
	Marshal() ([]byte, error)
	Unmarshal(data []byte) error
	Reset()
}

// packChild packs a child of which nothing is read but whose it is; see unpack.
// Its status is dropped.
func packChild(in any) (any, error) {
	child, ok := in.(message)
	if !ok || child.GetSelfLink() != "" {
		return in, nil // A tombstone, or packed already.
	}
	if _, err := reduceMetadata(child); err != nil {
		return nil, err
	}
	dropStatus(child)
	handle := metav1.ObjectMeta{
		Name: child.GetName(), Namespace: child.GetNamespace(), UID: child.GetUID(), ResourceVersion: child.GetResourceVersion(),
		OwnerReferences: child.GetOwnerReferences(), DeletionTimestamp: child.GetDeletionTimestamp(),
	}
	child.SetResourceVersion("") // What differs in it alone is the same.
	packed, err := marshal(child)
	if err != nil {
		return nil, err
	}
	child.Reset()
	child.SetName(handle.Name)
	child.SetNamespace(handle.Namespace)
	child.SetUID(handle.UID)
	child.SetResourceVersion(handle.ResourceVersion)
	child.SetOwnerReferences(handle.OwnerReferences)
	child.SetDeletionTimestamp(handle.DeletionTimestamp)
	child.SetSelfLink(packed)
	return child, nil
}

// dropStatus drops what the controllers of others note in children.
func dropStatus(child message) {
	switch child := child.(type) {
	case *corev1.Service:
		child.Status = corev1.ServiceStatus{}
	case *networkingv1.Ingress:
		child.Status = networkingv1.IngressStatus{}
	case *policyv1.PodDisruptionBudget:
		child.Status = policyv1.PodDisruptionBudgetStatus{}
	case *autoscalingv2.HorizontalPodAutoscaler:
		child.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
	}
}

// packDeployment packs the labels and the spec of a Deployment but for the number
// of its pods.
func packDeployment(d *appsv1.Deployment) error {
	if d.GetSelfLink() != "" {
		return nil
	}
	replicas := d.Spec.Replicas
	d.Spec.Replicas = nil
	packed, err := marshal(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Labels: d.Labels}, Spec: d.Spec})
	if err != nil {
		return err
	}
	d.Labels, d.Spec = nil, appsv1.DeploymentSpec{Replicas: replicas}
	d.SetSelfLink(packed)
	return nil
}

func marshal(m message) (string, error) {
	data, err := m.Marshal()
	if err != nil {
		return "", fmt.Errorf("failed to pack %T %q: %w", m, m.GetName(), err)
	}
	return deflate(data)
}

// packServer packs the spec of a server; see unpackServer. What is written is what
// was read, byte for byte: a revision is a hash of it.
func packServer(server *fairleadv1alpha1.MCPServer) error {
	if server.GetSelfLink() != "" {
		return nil
	}
	data, err := encodeSpec(&server.Spec)
	if err != nil {
		return fmt.Errorf("failed to pack MCPServer %q: %w", server.Name, err)
	}
	packed, err := deflate(data)
	if err != nil {
		return fmt.Errorf("failed to pack MCPServer %q: %w", server.Name, err)
	}
	server.Spec = fairleadv1alpha1.MCPServerSpec{}
	server.SetSelfLink(packed)
	return nil
}

// encodeSpec returns a spec as JSON that leaves the characters in raw parts alone.
func encodeSpec(spec *fairleadv1alpha1.MCPServerSpec) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(spec)
	return out.Bytes(), err
}

// unpackServer gives a server of the cache its spec again.
func unpackServer(server *fairleadv1alpha1.MCPServer) error {
	if server.GetSelfLink() == "" {
		return nil
	}
	data, err := inflate(server.GetSelfLink())
	if err != nil {
		return fmt.Errorf("failed to unpack MCPServer %q: %w", server.Name, err)
	}
	if err := json.Unmarshal(data, &server.Spec); err != nil {
		return fmt.Errorf("failed to unpack MCPServer %q: %w", server.Name, err)
	}
	server.SetSelfLink("")
	return nil
}

// unpack makes an object of the cache whole again; one that the API server
// answered with is.
func unpack(object client.Object) error {
	packed, ok := object.(message)
	if !ok || packed.GetSelfLink() == "" {
		return nil
	}
	data, err := inflate(packed.GetSelfLink())
	if err != nil {
		return fmt.Errorf("failed to unpack %T %q: %w", object, object.GetName(), err)
	}
	if d, ok := object.(*appsv1.Deployment); ok {
		return unpackDeployment(d, data)
	}
	version := packed.GetResourceVersion()
	packed.Reset()
	if err := packed.Unmarshal(data); err != nil {
		return fmt.Errorf("failed to unpack %T: %w", object, err)
	}
	packed.SetResourceVersion(version)
	return nil
}

func unpackDeployment(d *appsv1.Deployment, data []byte) error {
	var whole appsv1.Deployment
	if err := whole.Unmarshal(data); err != nil {
		return fmt.Errorf("failed to unpack Deployment %q: %w", d.Name, err)
	}
	whole.Spec.Replicas = d.Spec.Replicas
	d.Labels, d.Spec = whole.Labels, whole.Spec
	d.SetSelfLink("")
	return nil
}
