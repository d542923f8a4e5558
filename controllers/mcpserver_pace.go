// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/rollout"
)

// annotationPacedTemplate on a Deployment is the hash of the pod template that
// the operator itself gave it in its turn. After a restart it tells such a
// roll-out from one that a user caused.
const annotationPacedTemplate = "fairlead.dev/paced-template"

// serverVolume is the volume of a pod with the configuration.
const serverVolume = "server"

// firstContract is what pods read whose Deployment does not say.
const firstContract = 1

// upgrade is why a server keeps a pod template that this operator would not make
// any more.
type upgrade struct{ reason, message string }

// pace returns why the live pod template must stay; nil if the one of made may
// be applied. What the user changed is never held up: only a template that
// differs although the spec's part in it does not is the operator's own doing.
func (r *Reconciler) pace(seen *observation, made *built) *upgrade {
	live, next := seen.deployment, made.objects.Deployment.Annotations
	if live == nil || live.Annotations[resources.AnnotationTemplateHash] == next[resources.AnnotationTemplateHash] {
		return nil
	}
	if surface := live.Annotations[resources.AnnotationSurfaceHash]; surface != "" && surface != next[resources.AnnotationSurfaceHash] {
		return nil
	}
	if spec := seen.server.Spec.Rollout; spec != nil && spec.OnOperatorUpgrade == fairleadv1alpha1.UpgradeHold {
		r.Rollouts.Done(seen.name)
		return &upgrade{
			reason:  fairleadv1alpha1.ReasonHeld,
			message: "the operator has a new pod template for this server and keeps the old one: set spec.rollout.onOperatorUpgrade to Roll, or edit what rolls, to take it",
		}
	}
	switch decision := r.Rollouts.Admit(seen.name); decision.Verdict {
	case rollout.Queued:
		return &upgrade{reason: fairleadv1alpha1.ReasonQueued, message: decision.Message}
	case rollout.Stopped:
		return &upgrade{reason: fairleadv1alpha1.ReasonWaveStopped, message: decision.Message}
	case rollout.Start:
	}
	seen.paced = true
	return nil
}

// tellRollouts notes how the roll-out of a server goes. It changes nothing for
// servers that hold no place.
func (r *Reconciler) tellRollouts(seen *observation, status fairleadv1alpha1.MCPServerStatus) {
	if seen.upgrade != nil || seen.deployment == nil {
		return // It waits for its turn, or has nothing to roll.
	}
	switch why := rolloutFailure(seen, status); {
	case why != "":
		r.Rollouts.Failed(seen.name, why)
	case seen.paused, rolledOut(seen.deployment) && !seen.inFlight():
		r.Rollouts.Done(seen.name)
	default:
		r.Rollouts.Recovered(seen.name)
	}
}

// rolloutFailure says in a few words why new pods do not serve; empty if they
// do or still may.
func rolloutFailure(seen *observation, status fairleadv1alpha1.MCPServerStatus) string {
	if seen.paused || seen.rejected != nil {
		return ""
	}
	switch reason := reasonOf(status, fairleadv1alpha1.ConditionReady); reason {
	case fairleadv1alpha1.ReasonPodFailure, fairleadv1alpha1.ReasonProgressDeadlineExceeded,
		fairleadv1alpha1.ReasonConfigRefused, fairleadv1alpha1.ReasonVerificationFailed:
		return reason
	}
	return ""
}

// contractOf returns the version of server.yaml that the live pods read.
func contractOf(deployment *appsv1.Deployment) int {
	contract, err := strconv.Atoi(deployment.Annotations[resources.AnnotationContract])
	if err != nil {
		return firstContract
	}
	return contract
}

// mountedConfigMap returns the name of the ConfigMap with the configuration that
// a pod mounts; empty if it mounts none.
func mountedConfigMap(pod *corev1.PodSpec) string {
	for i := range pod.Volumes {
		if volume := &pod.Volumes[i]; volume.Name == serverVolume && volume.ConfigMap != nil {
			return volume.ConfigMap.Name
		}
	}
	return ""
}

// seed tells the tracker, once, of the roll-outs that the operator's predecessor
// began.
type seed struct {
	mu   sync.Mutex // guards done, and holds back every look until it is
	done bool
}

func (s *seed) once(ctx context.Context, r *Reconciler) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	var deployments appsv1.DeploymentList
	if err := r.Client.List(ctx, &deployments, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("failed to list Deployments: %w", err)
	}
	for i := range deployments.Items {
		deployment := &deployments.Items[i]
		paced := deployment.Annotations[annotationPacedTemplate]
		if paced == "" || paced != deployment.Annotations[resources.AnnotationTemplateHash] || rolledOut(deployment) {
			continue
		}
		if err := s.tell(ctx, r, deployment); err != nil {
			return err
		}
	}
	s.done = true
	return nil
}

func (*seed) tell(ctx context.Context, r *Reconciler, deployment *appsv1.Deployment) error {
	owner := metav1.GetControllerOf(deployment)
	if owner == nil {
		return nil
	}
	server := &fairleadv1alpha1.MCPServer{}
	name := types.NamespacedName{Namespace: deployment.Namespace, Name: owner.Name}
	if err := r.Client.Get(ctx, name, server); err != nil || server.UID != owner.UID {
		return client.IgnoreNotFound(err) // Nobody would ever end the roll-out of a server that is gone.
	}
	why := ""
	if deadlineExceeded(deployment) {
		why = fairleadv1alpha1.ReasonProgressDeadlineExceeded
	}
	r.Rollouts.Seed(name, why)
	return nil
}
