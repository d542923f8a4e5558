// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history keeps the last good configurations of an MCPServer as
// ControllerRevisions, which `kubectl fairlead history` and `rollback` read. It
// is pure: who reconciles writes what it says.
package history

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// Limit is the number of records that a server has at most.
const Limit = 10

// AnnotationRevision on a record is the revision that the pods served when it
// was made (status.tools.revision).
const AnnotationRevision = "fairlead.dev/revision"

// content is what a record's data holds.
type content struct {
	Spec fairleadv1alpha1.MCPServerSpec `json:"spec"`
}

// Record returns the record of a server's spec, without a number: number it by
// Next. Its name is <server>-mcp-<8 hex digits over the spec>, so that one spec
// has one record. Two fields are left out, since who scales or pauses a server
// makes no other configuration of it: spec.replicas and spec.managementState.
func Record(server *fairleadv1alpha1.MCPServer) (*appsv1.ControllerRevision, error) {
	data, err := encode(server.Spec)
	if err != nil {
		return nil, fmt.Errorf("failed to encode the spec of MCPServer %q: %w", server.Name, err)
	}
	sum := sha256.Sum256(data)
	record := &appsv1.ControllerRevision{
		TypeMeta: metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "ControllerRevision"},
		ObjectMeta: metav1.ObjectMeta{
			Name:      resources.Name(server.Name) + "-" + hex.EncodeToString(sum[:4]),
			Namespace: server.Namespace,
			Labels:    labels(server.Name),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: fairleadv1alpha1.GroupVersion.String(), Kind: "MCPServer",
				Name: server.Name, UID: server.UID, Controller: new(true), BlockOwnerDeletion: new(true),
			}},
		},
		Data: runtime.RawExtension{Raw: data},
	}
	if tools := server.Status.Tools; tools != nil && tools.Revision != "" {
		record.Annotations = map[string]string{AnnotationRevision: tools.Revision}
	}
	return record, nil
}

// Next returns what to write once the server's spec is known to serve: the
// numbered record to apply, which creates it or raises the number of the one
// with this spec; nil if the newest record has it already. prune are the names
// of records to delete after that, the oldest first, so that Limit remain.
//
// Of the existing records only the metadata and the number are looked at, and
// only those that the server controls count.
func Next(existing []appsv1.ControllerRevision, server *fairleadv1alpha1.MCPServer) (apply *appsv1.ControllerRevision, prune []string, err error) {
	record, err := Record(server)
	if err != nil {
		return nil, nil, err
	}
	records := Of(existing, server)
	kept := 0
	if len(records) == 0 || records[0].Name != record.Name {
		record.Revision = 1
		if len(records) > 0 {
			record.Revision = records[0].Revision + 1
		}
		apply, kept = record, 1
	}
	for _, old := range records {
		switch {
		case apply != nil && old.Name == apply.Name:
		case kept < Limit:
			kept++
		default:
			prune = append(prune, old.Name)
		}
	}
	slices.Reverse(prune)
	return apply, prune, nil
}

// Of returns the records that the server controls, the newest first.
func Of(existing []appsv1.ControllerRevision, server *fairleadv1alpha1.MCPServer) []appsv1.ControllerRevision {
	var own []appsv1.ControllerRevision
	for i := range existing {
		if metav1.IsControlledBy(&existing[i], server) {
			own = append(own, existing[i])
		}
	}
	slices.SortFunc(own, func(a, b appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), cmp.Compare(a.Name, b.Name))
	})
	return own
}

// SpecOf returns the spec that a record holds, without replicas and
// managementState; an error for one that is not of this package.
func SpecOf(record *appsv1.ControllerRevision) (*fairleadv1alpha1.MCPServerSpec, error) {
	var data content
	err := json.Unmarshal(record.Data.Raw, &data)
	if err == nil && len(data.Spec.Tools) == 0 {
		err = errors.New("it has no spec with tools")
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the spec in ControllerRevision %q: %w", record.Name, err)
	}
	return &data.Spec, nil
}

// Restore returns the server as it was when the record was made. How many pods
// there are stays as it is now, and so does whether the operator acts.
func Restore(server *fairleadv1alpha1.MCPServer, record *appsv1.ControllerRevision) (*fairleadv1alpha1.MCPServer, error) {
	spec, err := SpecOf(record)
	if err != nil {
		return nil, err
	}
	restored := server.DeepCopy()
	spec.ManagementState = restored.Spec.ManagementState
	if spec.Autoscaling == nil { // The API takes one of both.
		spec.Replicas = restored.Spec.Replicas
	}
	restored.Spec = *spec
	return restored, nil
}

// encode returns the spec as JSON with sorted keys, which is how the API server
// writes what is applied: a record's data is immutable, byte for byte.
func encode(spec fairleadv1alpha1.MCPServerSpec) ([]byte, error) {
	spec.Replicas, spec.ManagementState = nil, ""
	data, err := json.Marshal(content{Spec: spec})
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// labels are those of every object of a server.
func labels(server string) map[string]string {
	return map[string]string{
		resources.LabelServer:        server,
		resources.LabelManagedBy:     resources.ManagedBy,
		"app.kubernetes.io/name":     "mcp-server",
		"app.kubernetes.io/instance": server,
		"app.kubernetes.io/part-of":  "fairlead",
	}
}
