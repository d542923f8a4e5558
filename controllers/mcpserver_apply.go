// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// NameConflictError says that the name of a child is taken by an object that
// this server does not control.
type NameConflictError struct {
	// Kind and Name are the object's.
	Kind, Name string
	// Owner is the controller of the object, such as `MCPServer "b"`; empty
	// without one.
	Owner string
}

// Error names the object and the next act.
func (e *NameConflictError) Error() string {
	owner := "belongs to nobody"
	if e.Owner != "" {
		owner = "belongs to " + e.Owner
	}
	return fmt.Sprintf("%s %q exists already and %s: delete or rename it, or rename this MCPServer; nothing was written", e.Kind, e.Name, owner)
}

// step is one child: what it should be and what it is.
type step struct {
	desired map[string]any
	kind    string
	name    string
	// live is the object in the cache, or an empty one of the same type.
	live client.Object
	// uid is the live object's, which every apply asserts; empty if there is none.
	uid types.UID
	// current is true if the live object has all that is desired.
	current bool
	// blind is true for what may be written and not read.
	blind bool
}

// plan compares every child with what is there, without writing anything. A
// foreign object under the name of any child is a *NameConflictError.
func (r *Reconciler) plan(ctx context.Context, server *fairleadv1alpha1.MCPServer, objects []resources.Object) ([]step, error) {
	steps := make([]step, 0, len(objects)+1)
	for _, object := range objects {
		next, err := r.planOne(ctx, server, object)
		if err != nil {
			return nil, err
		}
		steps = append(steps, next)
	}
	return steps, nil
}

func (r *Reconciler) planOne(ctx context.Context, server *fairleadv1alpha1.MCPServer, object resources.Object) (step, error) {
	desired, err := rendered(object)
	if err != nil {
		return step{}, err
	}
	next := step{desired: desired, kind: object.GetObjectKind().GroupVersionKind().Kind, name: object.GetName(), live: emptyLike(object)}
	key := client.ObjectKey{Namespace: object.GetNamespace(), Name: object.GetName()}
	err = r.Client.Get(ctx, key, next.live)
	switch {
	case apierrors.IsNotFound(err):
		next.uid, err = r.hiddenUID(ctx, server, object)
	case err != nil:
		err = fmt.Errorf("failed to read %s %q: %w", next.kind, next.name, err)
	case !metav1.IsControlledBy(next.live, server):
		err = conflictWith(next.kind, next.live)
	default:
		next.uid = next.live.GetUID()
		next.current, err = upToDate(object, desired, next.live)
	}
	if err != nil {
		return step{}, err
	}
	if _, ok := object.(*corev1.ConfigMap); ok && next.uid != "" && !next.current {
		err = r.keepLastGood(ctx, server, &next)
	}
	return next, err
}

// hiddenUID looks behind the cache, which shows objects with our label only: an
// apply onto an object that it hides would merge into it. It returns the uid of
// an object of ours that lost its label, and "" if there is none.
func (r *Reconciler) hiddenUID(ctx context.Context, server *fairleadv1alpha1.MCPServer, object resources.Object) (types.UID, error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(object.GetObjectKind().GroupVersionKind())
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: object.GetNamespace(), Name: object.GetName()}, meta)
	r.Metrics.read(meta.Kind)
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("failed to look for a foreign %s %q: %w", meta.Kind, object.GetName(), err)
	case !metav1.IsControlledBy(meta, server):
		return "", conflictWith(object.GetObjectKind().GroupVersionKind().Kind, meta)
	}
	return meta.UID, nil
}

func conflictWith(kind string, live metav1.Object) error {
	conflict := &NameConflictError{Kind: kind, Name: live.GetName()}
	if owner := metav1.GetControllerOf(live); owner != nil {
		conflict.Owner = fmt.Sprintf("%s %q", owner.Kind, owner.Name)
	}
	return conflict
}

// applyAll compares all objects with what is there, then applies what differs,
// in order. A Deployment whose template stays keeps everything but the number of
// its pods.
func (r *Reconciler) applyAll(ctx context.Context, seen *observation, made *built) error {
	objects := made.objects.List()
	kept := seen.upgrade != nil
	if kept {
		objects = slices.DeleteFunc(objects, func(object resources.Object) bool { return object == made.objects.Deployment })
	}
	steps, err := r.plan(ctx, seen.server, objects)
	if err != nil {
		return err
	}
	secret, err := r.planKeys(seen)
	if err != nil {
		return err
	}
	// The keys come after the ServiceAccount and before what mounts them.
	for _, s := range liveLast(slices.Insert(steps, 1, secret)) {
		switch {
		case s.current:
			continue
		case s.kind == "Deployment":
			if hash := made.objects.Deployment.Annotations[resources.AnnotationTemplateHash]; r.ownDoing(seen, hash) {
				annotate(s.desired, annotationPacedTemplate, hash)
			}
			if err = r.applyDeployment(ctx, seen, made, s); err == nil {
				seen.paced = false
			}
		default:
			err = r.apply(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	if kept {
		replicas := cmp.Or(made.objects.Deployment.Spec.Replicas, awake(seen.deployment, made.objects.HPA))
		err = r.patchKept(ctx, seen.deployment, replicas, strings.Join(seen.ring.IDs(), ","))
	}
	return err
}

// liveLast moves a ConfigMap that pods mount already to the end: what the API
// server may still refuse, such as the NetworkPolicy that fences a new tool, must
// not come after the tool. A ConfigMap that is new comes before its pods.
func liveLast(steps []step) []step {
	at := slices.IndexFunc(steps, func(s step) bool { return s.kind == "ConfigMap" && s.uid != "" })
	if at < 0 {
		return steps
	}
	live := steps[at]
	return append(slices.Delete(steps, at, at+1), live)
}

// applyObjects applies what differs of some objects.
func (r *Reconciler) applyObjects(ctx context.Context, seen *observation, objects []resources.Object) error {
	steps, err := r.plan(ctx, seen.server, objects)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.current {
			continue
		}
		if err := r.apply(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) apply(ctx context.Context, s step) error {
	if s.uid != "" {
		if meta, ok := s.desired["metadata"].(map[string]any); ok {
			meta["uid"] = string(s.uid)
		}
	}
	data, err := json.Marshal(s.desired)
	if err != nil {
		return fmt.Errorf("failed to encode %s %q: %w", s.kind, s.name, err)
	}
	// The typed object only says where to send the patch and takes the answer:
	// as typed objects are read, so must they be written to be read back.
	options := []client.PatchOption{client.ForceOwnership, client.FieldOwner(FieldOwner)}
	if s.blind { // The cache holds no such objects, so that no reading waits for them.
		options = append(options, client.DisableReadYourWritesConsistency)
	}
	err = r.Client.Patch(ctx, s.live, client.RawPatch(types.ApplyPatchType, data), options...)
	switch {
	case err == nil:
		r.Metrics.wrote(s.kind, "apply")
		return nil
	case s.blind && apierrors.IsInvalid(err):
		return &NameConflictError{Kind: s.kind, Name: s.name}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsForbidden(err):
		return &refusedError{kind: s.kind, name: s.name, err: err}
	}
	return fmt.Errorf("failed to apply %s %q: %w", s.kind, s.name, err)
}

// refusedError says that the API server does not want a child as it is: what
// the user set is invalid there, or a policy or quota forbids it.
type refusedError struct {
	kind, name string
	err        error
}

// Error names the object and repeats the API server's words.
func (e *refusedError) Error() string {
	return fmt.Sprintf("the API server refused %s %q: %v: mend what it names; this is tried again every minute", e.kind, e.name, e.err)
}

// Unwrap returns the API server's error.
func (e *refusedError) Unwrap() error { return e.err }

// rendered returns an object as it is applied: without status and without the
// empty values that Go types cannot leave out.
func rendered(object resources.Object) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("failed to encode %s %q: %w", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
	}
	delete(content, "status")
	dropNulls(content)
	if policy, ok := object.(*networkingv1.NetworkPolicy); ok {
		sayNobody(content, policy)
	}
	return content, nil
}

// sayNobody writes down the empty list of a direction that is closed, which the
// Go type leaves out: a rule that somebody adds by hand would stay.
func sayNobody(content map[string]any, policy *networkingv1.NetworkPolicy) {
	spec, _ := content["spec"].(map[string]any)
	for _, direction := range policy.Spec.PolicyTypes {
		field := strings.ToLower(string(direction))
		if _, found := spec[field]; !found {
			spec[field] = []any{}
		}
	}
}

// dropNulls removes nulls, such as creationTimestamp, in place.
func dropNulls(value any) {
	switch typed := value.(type) {
	case map[string]any:
		for key, item := range typed {
			if item == nil {
				delete(typed, key)
				continue
			}
			dropNulls(item)
		}
	case []any:
		for _, item := range typed {
			dropNulls(item)
		}
	}
}

// emptyLike returns an empty object of the same type and name to read into.
func emptyLike(object resources.Object) client.Object {
	empty, _ := reflect.TypeAssert[client.Object](reflect.New(reflect.TypeOf(object).Elem()))
	empty.SetNamespace(object.GetNamespace())
	empty.SetName(object.GetName())
	return empty
}
