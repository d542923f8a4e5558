// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// podProblems finds what the API server would refuse in the Deployment, of the
// fields that are copied into its pods as they are. Affinity is left to it.
func podProblems(pod *fairleadv1alpha1.Pod) field.ErrorList {
	if pod == nil {
		return nil
	}
	path := field.NewPath("spec", "pod")
	errs := metav1validation.ValidateLabels(texts(pod.Labels), path.Child("labels"))
	errs = append(errs, metav1validation.ValidateLabels(texts(pod.NodeSelector), path.Child("nodeSelector"))...)
	errs = append(errs, apivalidation.ValidateAnnotations(texts(pod.Annotations), path.Child("annotations"))...)
	if name := pod.PriorityClassName; name != "" {
		for _, message := range apivalidation.NameIsDNSSubdomain(name, false) {
			errs = append(errs, field.Invalid(path.Child("priorityClassName"), name, message))
		}
	}
	for i := range pod.Tolerations {
		errs = append(errs, tolerationProblems(&pod.Tolerations[i], path.Child("tolerations").Index(i))...)
	}
	for i := range pod.TopologySpreadConstraints {
		errs = append(errs, spreadProblems(&pod.TopologySpreadConstraints[i], path.Child("topologySpreadConstraints").Index(i))...)
	}
	return append(errs, resourceProblems(pod.Resources, path.Child("resources"))...)
}

func texts[V ~string](in map[string]V) map[string]string {
	out := make(map[string]string, len(in))
	for key, value := range in {
		out[key] = string(value)
	}
	return out
}

// operators and effects are all that a release knows; the comparisons of
// numbers are newer than the others.
var (
	operators = []corev1.TolerationOperator{"", corev1.TolerationOpEqual, corev1.TolerationOpExists, "Lt", "Gt"}
	effects   = []corev1.TaintEffect{"", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
)

func tolerationProblems(t *corev1.Toleration, path *field.Path) (errs field.ErrorList) {
	if t.Key != "" {
		errs = append(errs, metav1validation.ValidateLabelName(t.Key, path.Child("key"))...)
	}
	switch {
	case !slices.Contains(operators, t.Operator):
		errs = append(errs, field.NotSupported(path.Child("operator"), t.Operator, operators[1:3]))
	case t.Operator == corev1.TolerationOpExists && t.Value != "":
		errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be empty when operator is Exists"))
	case t.Operator != corev1.TolerationOpExists && t.Key == "":
		errs = append(errs, field.Invalid(path.Child("operator"), t.Operator, "must be Exists when key is empty, which means any"))
	}
	for _, message := range validation.IsValidLabelValue(t.Value) {
		errs = append(errs, field.Invalid(path.Child("value"), t.Value, message))
	}
	if !slices.Contains(effects, t.Effect) {
		errs = append(errs, field.NotSupported(path.Child("effect"), t.Effect, effects[1:]))
	} else if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		errs = append(errs, field.Invalid(path.Child("effect"), t.Effect, "must be NoExecute when tolerationSeconds is set"))
	}
	return errs
}

func spreadProblems(c *corev1.TopologySpreadConstraint, path *field.Path) (errs field.ErrorList) {
	if c.MaxSkew <= 0 {
		errs = append(errs, field.Invalid(path.Child("maxSkew"), c.MaxSkew, "must be greater than 0"))
	}
	if c.TopologyKey == "" {
		errs = append(errs, field.Required(path.Child("topologyKey"), ""))
	} else {
		errs = append(errs, metav1validation.ValidateLabelName(c.TopologyKey, path.Child("topologyKey"))...)
	}
	if known := []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}; !slices.Contains(known, c.WhenUnsatisfiable) {
		errs = append(errs, field.NotSupported(path.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, known))
	}
	return append(errs, metav1validation.ValidateLabelSelector(c.LabelSelector, metav1validation.LabelSelectorValidationOptions{}, path.Child("labelSelector"))...)
}

func resourceProblems(r *corev1.ResourceRequirements, path *field.Path) (errs field.ErrorList) {
	if r == nil {
		return nil
	}
	for _, list := range []struct {
		name   string
		values corev1.ResourceList
	}{{"limits", r.Limits}, {"requests", r.Requests}} {
		for _, name := range slices.Sorted(maps.Keys(list.values)) {
			if value := list.values[name]; value.Sign() < 0 {
				errs = append(errs, field.Invalid(path.Child(list.name).Key(string(name)), value.String(), "must be 0 or more"))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(name)), request.String(), "must be at most the limit, "+limit.String()))
		}
	}
	return errs
}
