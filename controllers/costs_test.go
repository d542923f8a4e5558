// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Of an autoscaler's status the cache keeps whether a scale-down is near; nothing
// of that is compared with what is desired.
func TestPackedAutoscalers(t *testing.T) {
	t.Parallel()
	for reason, near := range map[string]bool{"ScaleDownStabilized": true, "ReadyForNewScale": false} {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Name: "orders-mcp", Namespace: "shop"},
			Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 9},
			Status: autoscalingv2.HorizontalPodAutoscalerStatus{DesiredReplicas: 4, Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{
				{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: reason, Message: "long"},
				{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionTrue, Reason: "ValidMetricFound"},
			}},
		}
		for range 2 { // A resync packs what is packed.
			if _, err := packAutoscaler(hpa); err != nil {
				t.Fatal(err)
			}
			if got := stabilizes(hpa); got != near {
				t.Errorf("%s: a scale-down is near: %t, want %t", reason, got, near)
			}
		}
		if hpa.GetSelfLink() == "" || len(hpa.Status.Conditions) > 1 || hpa.Status.DesiredReplicas != 0 {
			t.Errorf("%s: it is kept whole: %+v", reason, hpa)
		}
		if err := unpack(hpa); err != nil {
			t.Fatal(err)
		}
		if hpa.Spec.MaxReplicas != 9 || len(hpa.Status.Conditions) > 0 {
			t.Errorf("%s: unpacked: %+v", reason, hpa)
		}
	}
}
