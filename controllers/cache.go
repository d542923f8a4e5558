// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"unique"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
	"fairlead.dev/fairlead/controllers/resources"
)

// CacheOptions returns what the operator keeps in memory: servers, their
// children by label, and of each only what decisions need.
func CacheOptions() cache.Options {
	ours := cache.ByObject{
		Label: labels.SelectorFromSet(labels.Set{resources.LabelManagedBy: resources.ManagedBy}),
	}
	children, autoscalers, deployments, pods, configMaps, revisions := ours, ours, ours, ours, ours, ours
	children.Transform = packChild
	autoscalers.Transform = packAutoscaler
	deployments.Transform = reduceDeployment
	pods.Transform = reducePod
	configMaps.Transform = reduceConfigMap
	revisions.Transform = reduceRevision
	return cache.Options{
		DefaultTransform: reduceMetadata,
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.Deployment{}:                     deployments,
			&appsv1.ControllerRevision{}:             revisions,
			&autoscalingv2.HorizontalPodAutoscaler{}: autoscalers,
			&corev1.Service{}:                        children,
			&corev1.ServiceAccount{}:                 children,
			&corev1.ConfigMap{}:                      configMaps,
			&corev1.Pod{}:                            pods,
			&networkingv1.Ingress{}:                  children,
			&networkingv1.NetworkPolicy{}:            children,
			&policyv1.PodDisruptionBudget{}:          children,
			&networkingv1.IngressClass{}:             {},
			&fairleadv1alpha1.MCPServer{}:            {Transform: reduceServer},
		},
	}
}

// reduceMetadata drops what nothing here reads.
func reduceMetadata(in any) (any, error) {
	object, ok := in.(metav1.Object)
	if !ok {
		return in, nil // A tombstone.
	}
	object.SetManagedFields(nil)
	shareWords(object)
	if _, found := object.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; found {
		annotations := maps.Clone(object.GetAnnotations())
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		object.SetAnnotations(annotations)
	}
	return in, nil
}

// words are in the metadata of every child: one copy of each is enough.
var words = func(all ...string) map[string]string {
	words := map[string]string{}
	for _, word := range all {
		words[word] = word
	}
	return words
}(
	resources.LabelServer, resources.LabelManagedBy, "app.kubernetes.io/instance", "app.kubernetes.io/name", "app.kubernetes.io/part-of",
	"mcp-server", resources.ManagedBy,
	resources.AnnotationRenderedHash, resources.AnnotationRevision, resources.AnnotationTemplateHash, resources.AnnotationSurfaceHash,
	resources.AnnotationContract, resources.AnnotationReplicasOwner, resources.AnnotationSessionKeys,
	fairleadv1alpha1.GroupVersion.String(), "MCPServer", "ReplicaSet",
)

func shared(word string) string {
	if known, found := words[word]; found {
		return known
	}
	return word
}

// shareWords replaces copies of words, and of what the children of one server
// have in common.
func shareWords(object metav1.Object) {
	object.SetLabels(sharedMap(object.GetLabels()))
	object.SetAnnotations(sharedMap(object.GetAnnotations()))
	object.SetNamespace(unique.Make(object.GetNamespace()).Value())
	owners := object.GetOwnerReferences()
	for i := range owners {
		owner := &owners[i]
		owner.APIVersion, owner.Kind = shared(owner.APIVersion), shared(owner.Kind)
		owner.Name, owner.UID = unique.Make(owner.Name).Value(), unique.Make(owner.UID).Value()
	}
}

func sharedMap(from map[string]string) map[string]string {
	if from == nil {
		return nil
	}
	to := make(map[string]string, len(from)) // An assignment to a key that is there keeps the old copy.
	for key, value := range from {
		to[shared(key)] = shared(value)
	}
	return to
}

// reduceDeployment packs the spec of a Deployment. It also drops when and in
// which words the Deployment controller noted its progress: it notes that again
// and again, and no status repeats it.
func reduceDeployment(in any) (any, error) {
	deployment, ok := in.(*appsv1.Deployment)
	if !ok {
		return in, nil
	}
	if err := packDeployment(deployment); err != nil {
		return nil, err
	}
	for i := range deployment.Status.Conditions {
		c := &deployment.Status.Conditions[i]
		c.LastUpdateTime, c.LastTransitionTime = metav1.Time{}, metav1.Time{}
		if c.Type != appsv1.DeploymentReplicaFailure {
			c.Message = ""
		}
	}
	return reduceMetadata(deployment)
}

// reduceConfigMap keeps hashes in the place of the data, which is large and is
// only ever compared.
func reduceConfigMap(in any) (any, error) {
	configMap, ok := in.(*corev1.ConfigMap)
	if !ok {
		return in, nil
	}
	if _, done := configMap.Annotations[cachedServerHash]; !done || len(configMap.Data) > 0 {
		configMap.Annotations = with(configMap.Annotations, map[string]string{
			cachedServerHash:   textHash(configMap.Data[resources.ServerFile]),
			cachedLastGoodHash: textHash(configMap.Data[resources.LastGoodFile]),
		})
		configMap.Data, configMap.BinaryData = nil, nil
	}
	return reduceMetadata(configMap)
}

// reduceServer packs the spec, which whoever reads it must unpack, and gives back
// the room that decoding leaves at the end of lists.
func reduceServer(in any) (any, error) {
	server, ok := in.(*fairleadv1alpha1.MCPServer)
	if !ok {
		return in, nil
	}
	if err := packServer(server); err != nil {
		return nil, err
	}
	// Most servers are told the same.
	for i := range server.Status.Conditions {
		c := &server.Status.Conditions[i]
		c.Type, c.Status = unique.Make(c.Type).Value(), unique.Make(c.Status).Value()
		c.Reason, c.Message = unique.Make(c.Reason).Value(), unique.Make(c.Message).Value()
	}
	return reduceMetadata(server.DeepCopy())
}

// reduceRevision keeps the number of a record of the history and the revision that
// was served, not the spec in it.
func reduceRevision(in any) (any, error) {
	record, ok := in.(*appsv1.ControllerRevision)
	if !ok {
		return in, nil
	}
	record.Data = runtime.RawExtension{}
	served := record.Annotations[history.AnnotationRevision] // It witnesses what a last good configuration is.
	record.Annotations = nil
	if served != "" {
		record.Annotations = map[string]string{history.AnnotationRevision: served}
	}
	return reduceMetadata(record)
}

// with returns a copy of annotations with more of them.
func with(annotations, more map[string]string) map[string]string {
	annotations = maps.Clone(annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, more)
	return annotations
}

// podAnnotations are those of a pod that the cache keeps: what the operator set
// to make the kubelet look, and what the pod is worth.
var podAnnotations = []string{fairleadv1alpha1.AnnotationConfigRevision, fairleadv1alpha1.AnnotationRefreshedAt, corev1.PodDeletionCost}

// configMapOf returns the name of the ConfigMap with the configuration that a pod
// of the cache mounts; see pack.go for the place.
func configMapOf(pod *corev1.Pod) string { return pod.GetSelfLink() }

// controllerOf returns what tells by whom a pod was made.
func controllerOf(pod *corev1.Pod) []metav1.OwnerReference {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	return []metav1.OwnerReference{{Kind: owner.Kind, Name: owner.Name, Controller: owner.Controller}}
}

// reducePod keeps who a pod is, what it was given and what stops it.
func reducePod(in any) (any, error) {
	pod, ok := in.(*corev1.Pod)
	if !ok {
		return in, nil
	}
	var annotations map[string]string
	for _, key := range podAnnotations {
		if value, found := pod.Annotations[key]; found {
			annotations = with(annotations, map[string]string{key: value})
		}
	}
	mounted := configMapOf(pod)
	if len(pod.Spec.Containers) > 0 { // Else it was reduced already.
		mounted = mountedConfigMap(&pod.Spec)
	}
	reduced := &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			Labels: pod.Labels, Annotations: annotations, OwnerReferences: controllerOf(pod), DeletionTimestamp: pod.DeletionTimestamp, CreationTimestamp: pod.CreationTimestamp,
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP},
	}
	reduced.SetSelfLink(mounted)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady || c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			c.Type, c.Status = unique.Make(c.Type).Value(), unique.Make(c.Status).Value()
			reduced.Status.Conditions = append(reduced.Status.Conditions, c)
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Ready && status.State.Waiting == nil {
			continue // Nothing stops it.
		}
		reduced.Status.ContainerStatuses = append(reduced.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: status.Name, Ready: status.Ready, RestartCount: status.RestartCount,
			State: status.State, LastTerminationState: status.LastTerminationState,
		})
	}
	return reduceMetadata(reduced)
}
