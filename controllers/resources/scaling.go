// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

const (
	// defaultMinReplicas is that of autoscaling.minReplicas.
	defaultMinReplicas = 2
	// defaultCPUTarget is that of autoscaling.targetCPUUtilizationPercentage.
	defaultCPUTarget = 70
	// defaultStabilization is that of autoscaling.scaleDownStabilization. Each
	// pod that goes cuts its streams, so a short lull must not take it.
	defaultStabilization = 10 * time.Minute
	// fullSurgeReplicas is the size up to which a roll-out doubles the pods, so
	// that each stream is cut at most once.
	fullSurgeReplicas = 10
)

// Autoscaled reports whether an autoscaler, ours or another, owns the number of
// a server's pods.
func Autoscaled(server *fairleadv1alpha1.MCPServer) bool { return server.Spec.Autoscaling != nil }

// Replicas returns the number of pods that a spec without autoscaling asks for
// when nothing is observed.
func Replicas(server *fairleadv1alpha1.MCPServer, defaults Defaults) int32 {
	switch {
	case server.Spec.Replicas != nil:
		return *server.Spec.Replicas
	case defaults.Replicas > 0:
		return defaults.Replicas
	}
	return 2
}

// wantedReplicas is the Deployment's spec.replicas: the spec's number, else the
// live one (so that taking a number out of a spec moves no pod), else the
// default; the live one while it is held; nil while an autoscaler owns it.
func wantedReplicas(in Input) *int32 {
	if Autoscaled(in.Server) {
		return nil
	}
	if in.Observed.Replicas != nil && (in.Observed.HoldReplicas || in.Server.Spec.Replicas == nil) {
		return new(*in.Observed.Replicas)
	}
	return new(Replicas(in.Server, in.Defaults))
}

// ScalingOf returns what still moves while a spec is frozen. It compiles
// nothing. Its error is an *InvalidSpecError.
func ScalingOf(in Input) (*Scaling, error) {
	hpa, err := autoscaler(in)
	if err != nil {
		return nil, err
	}
	out := &Scaling{Replicas: wantedReplicas(in), PDB: disruptionBudget(in), HPA: hpa}
	if err := stampHash(out.PDB); err != nil || hpa == nil {
		return out, err
	}
	return out, stampHash(hpa)
}

// disruptionBudget lets evictions take one pod at a time, and pods that are not
// ready at any time: they hold no streams, and must not hang a node's drain.
func disruptionBudget(in Input) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: objectMeta(in, Name(in.Server.Name)),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             new(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: Selector(in.Server.Name)},
			UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}

// autoscaler returns nil where no HorizontalPodAutoscaler of ours is wanted.
func autoscaler(in Input) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	spec := in.Server.Spec.Autoscaling
	if spec == nil || spec.ManagedBy == fairleadv1alpha1.ManagedByExternal {
		return nil, nil //nolint:nilnil // No autoscaler is a wish, not a failure.
	}
	stabilization, err := stabilizationSeconds(spec.ScaleDownStabilization)
	if err != nil {
		return nil, err
	}
	metrics, err := scalingMetrics(in.Server)
	if err != nil {
		return nil, err
	}
	if spec.MaxReplicas == nil {
		return nil, wrongField("autoscaling.maxReplicas", "is required unless managedBy is External")
	}
	lowest := ptr.Deref(spec.MinReplicas, defaultMinReplicas)
	if lowest > *spec.MaxReplicas {
		return nil, wrongField("autoscaling.maxReplicas", fmt.Sprintf("%d is less than minReplicas, %d", *spec.MaxReplicas, lowest))
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: objectMeta(in, Name(in.Server.Name)),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{
				APIVersion: "apps/v1", Kind: "Deployment", Name: Name(in.Server.Name),
			},
			MinReplicas: new(lowest),
			MaxReplicas: *spec.MaxReplicas,
			Metrics:     metrics,
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{
				ScaleDown: &autoscalingv2.HPAScalingRules{
					StabilizationWindowSeconds: new(stabilization),
					Policies:                   gentle(),
				},
			},
		},
	}, nil
}

// gentle takes at most a quarter of the pods, or one, a minute: the clients of
// all that leave come back to those that stay.
func gentle() []autoscalingv2.HPAScalingPolicy {
	return []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PercentScalingPolicy, Value: 25, PeriodSeconds: 60},
		{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 60},
	}
}

// scalingMetrics looks at the runtime container alone, so that another
// container without requests breaks nothing.
func scalingMetrics(server *fairleadv1alpha1.MCPServer) ([]autoscalingv2.MetricSpec, error) {
	spec := server.Spec.Autoscaling
	var user *corev1.ResourceRequirements
	if server.Spec.Pod != nil {
		user = server.Spec.Pod.Resources
	}
	resources := containerResources(user)
	targets := []struct {
		name   corev1.ResourceName
		target *int32
	}{
		{corev1.ResourceCPU, new(ptr.Deref(spec.TargetCPUUtilizationPercentage, defaultCPUTarget))},
		{corev1.ResourceMemory, spec.TargetMemoryUtilizationPercentage},
	}
	var out []autoscalingv2.MetricSpec
	for _, t := range targets {
		if t.target == nil {
			continue
		}
		// A limit without a request is the request.
		request := resources.Requests[t.name]
		if limit := resources.Limits[t.name]; request.Sign() <= 0 && limit.Sign() <= 0 {
			return nil, wrongField("pod.resources.requests", fmt.Sprintf("autoscaling follows %s in percent of the request: set requests.%s", t.name, t.name))
		}
		out = append(out, autoscalingv2.MetricSpec{
			Type: autoscalingv2.ContainerResourceMetricSourceType,
			ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
				Container: RuntimeContainer,
				Name:      t.name,
				Target:    autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: t.target},
			},
		})
	}
	return out, nil
}

// stabilizationSeconds rounds up; the HorizontalPodAutoscaler knows whole seconds.
func stabilizationSeconds(d *fairleadv1alpha1.Duration) (int32, error) {
	c := &converter{}
	value := time.Duration(c.duration("autoscaling.scaleDownStabilization", d))
	if len(c.errs) > 0 {
		return 0, invalidSpec(c.errs)
	}
	if d == nil {
		value = defaultStabilization
	}
	if value < 0 || value > time.Hour {
		return 0, wrongField("autoscaling.scaleDownStabilization", "must be a duration from 0s to 1h, such as 10m")
	}
	return int32(math.Ceil(value.Seconds())), nil
}

// wrongField is an InvalidSpecError about one field below spec.
func wrongField(path, message string) error {
	return invalidSpec(config.Errors{{Path: path, Message: message}})
}

// maxSurge keeps the user's; else it doubles up to ten pods.
func maxSurge(in Input) intstr.IntOrString {
	spec := in.Server.Spec
	if spec.Rollout != nil && spec.Rollout.MaxSurge != nil {
		return *spec.Rollout.MaxSurge
	}
	size := Replicas(in.Server, in.Defaults)
	switch {
	case spec.Autoscaling != nil && spec.Autoscaling.MaxReplicas != nil:
		size = *spec.Autoscaling.MaxReplicas
	case spec.Replicas == nil && in.Observed.Replicas != nil:
		size = *in.Observed.Replicas
	}
	if size <= fullSurgeReplicas {
		return intstr.FromString("100%")
	}
	return intstr.FromString("25%")
}
