// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/rollout"
)

// annotationPacedTemplate on a Deployment is the hash of the pod template that
// the operator itself gave it in its turn. After a restart it tells such a
// roll-out from one that a user caused.
const annotationPacedTemplate = "fairlead.dev/paced-template"

// agreement is how long the pods of a roll-out may take, once they are there, to
// agree on what they serve, beside the Deployment's own progress deadline.
const agreement = 5 * time.Minute

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
	if refused := r.notes.of(seen.name).refused; refused.hash == next[resources.AnnotationTemplateHash] && r.refusalWait(seen) > 0 {
		return &refused.upgrade
	}
	switch decision := r.Rollouts.Admit(seen.name, ails(seen)); decision.Verdict {
	case rollout.Queued:
		return &upgrade{reason: fairleadv1alpha1.ReasonQueued, message: decision.Message}
	case rollout.Stopped:
		return &upgrade{reason: fairleadv1alpha1.ReasonWaveStopped, message: decision.Message}
	case rollout.Start:
	}
	seen.paced = true
	return nil
}

// ails reports whether a server does not serve as it should, by the template that
// it has: what it does with a new one says nothing about that.
func ails(seen *observation) bool {
	return !rolledOut(seen.deployment) || isFailure(reasonOf(seen.server.Status, fairleadv1alpha1.ConditionReady))
}

// ownDoing reports whether a pod template is one that a restarted operator must
// know as its own, and as one that counts.
func (r *Reconciler) ownDoing(seen *observation, hash string) bool {
	if seen.paced {
		return r.Rollouts.Counts(seen.name)
	}
	return seen.deployment != nil && seen.deployment.Annotations[annotationPacedTemplate] == hash
}

// putOff keeps the old pod template if the API server does not take the new one
// and that is the operator's own doing: the server is to go on as it was, and the
// others are not to follow. It returns false for every other failure.
func (r *Reconciler) putOff(ctx context.Context, seen *observation, made *built, failed error) bool {
	if !seen.paced {
		return false
	}
	page := r.notes.of(seen.name)
	reason, words := fairleadv1alpha1.ReasonApplyRefused, failed.Error()
	switch refusal := rejectionOf(failed); {
	case refusal == nil:
		if !r.persists(seen, failed) {
			return false
		}
		reason, words = fairleadv1alpha1.ReasonApplyFailed, page.trouble.message
	case refusal.reason != fairleadv1alpha1.ReasonApplyRefused:
		return false
	}
	seen.paced = false
	seen.upgrade = &upgrade{reason: reason, message: "the operator has a new pod template for this server and keeps the old one: " + words}
	page.refused = refusedTemplate{hash: made.objects.Deployment.Annotations[resources.AnnotationTemplateHash], at: r.now(), upgrade: *seen.upgrade}
	r.rollOutFailed(ctx, seen, reason)
	return true
}

// refusalWait returns how long a pod template that was not taken waits for its
// next try.
func (r *Reconciler) refusalWait(seen *observation) time.Duration {
	refused := r.notes.of(seen.name).refused
	if refused.hash == "" {
		return 0
	}
	return max(refusalRetry-r.now().Sub(refused.at), 0)
}

// rollOutFailed notes that a roll-out has failed. The log has the name, which the
// messages of those that wait must not tell to other teams.
func (r *Reconciler) rollOutFailed(ctx context.Context, seen *observation, why string) {
	if r.Rollouts.Failed(seen.name) {
		ctrl.LoggerFrom(ctx).Info("Failed to roll out the operator's new pod template", "server", seen.name.String(), "reason", why)
	}
}

// tellRollouts notes how the roll-out of a server goes, and returns when to look
// again. It changes nothing for servers that hold and await no place.
func (r *Reconciler) tellRollouts(ctx context.Context, seen *observation, status fairleadv1alpha1.MCPServerStatus) time.Duration {
	page := r.notes.of(seen.name)
	if seen.upgrade != nil { // It waits for its turn, or for its next try.
		page.progress = progress{}
		return r.refusalWait(seen)
	}
	page.refused = refusedTemplate{}
	why := rolloutFailure(seen, status)
	if nothingToRoll(seen) || (why == "" && rolledOut(seen.deployment) && !seen.inFlight()) {
		page.progress = progress{}
		r.Rollouts.Done(seen.name)
		return 0
	}
	if !r.Rollouts.Holds(seen.name) {
		page.progress = progress{}
		return 0
	}
	left := r.patience(seen)
	if why == "" && left <= 0 {
		why = "NoProgress"
	}
	if why != "" {
		r.rollOutFailed(ctx, seen, why)
		return 0
	}
	r.Rollouts.Recovered(seen.name)
	return left
}

// nothingToRoll reports whether no pods are replaced, whatever the operator does:
// a person has said so, or there are none.
func nothingToRoll(seen *observation) bool {
	return seen.paused || seen.deployment == nil || seen.deployment.Spec.Paused
}

// patience returns how long a roll-out may still stay as it is until it counts as
// failed. The Deployment controller says so of one that it works on, but not of
// pods that never agree, nor of Deployments that it does not get to.
func (r *Reconciler) patience(seen *observation) time.Duration {
	page, status := r.notes.of(seen.name), seen.deployment.Status
	mark := [...]int64{status.ObservedGeneration, int64(status.Replicas), int64(status.UpdatedReplicas), int64(status.ReadyReplicas), int64(status.AvailableReplicas)}
	if page.progress.since.IsZero() || page.progress.mark != mark {
		page.progress = progress{mark: mark, since: r.now()}
	}
	allowed := agreement + time.Duration(ptr.Deref(seen.deployment.Spec.ProgressDeadlineSeconds, 600))*time.Second
	return allowed - r.now().Sub(page.progress.since)
}

// rolloutFailure says in a word why new pods do not serve; empty if they do or
// still may. A spec that was rejected meanwhile does not change what its pods do.
func rolloutFailure(seen *observation, status fairleadv1alpha1.MCPServerStatus) string {
	switch reason := reasonOf(status, fairleadv1alpha1.ConditionReady); {
	case seen.failure != "":
		return fairleadv1alpha1.ReasonPodFailure
	case deadlineExceeded(seen.deployment) && !rolledOut(seen.deployment):
		return fairleadv1alpha1.ReasonProgressDeadlineExceeded
	case isFailure(reason):
		return reason
	}
	return ""
}

// isFailure reports whether a reason of Ready says that pods do not serve, and
// will not.
func isFailure(reason string) bool {
	switch reason {
	case fairleadv1alpha1.ReasonPodFailure, fairleadv1alpha1.ReasonProgressDeadlineExceeded,
		fairleadv1alpha1.ReasonConfigRefused, fairleadv1alpha1.ReasonVerificationFailed:
		return true
	}
	return false
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
		if volume := &pod.Volumes[i]; volume.Name == resources.VolumeServer && volume.ConfigMap != nil {
			return volume.ConfigMap.Name
		}
	}
	return ""
}

// seed tells the tracker, once, of the roll-outs that the operator's predecessor
// began: of all servers, since those of other reconcilers count as well.
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
	fleet := r.Fleet
	if fleet == nil {
		fleet = r.Client
	}
	found, err := begunIn(ctx, fleet)
	if err != nil {
		return err
	}
	r.Rollouts.Seed(found)
	s.done = true
	return nil
}

func begunIn(ctx context.Context, fleet client.Reader) ([]rollout.Begun, error) {
	var deployments appsv1.DeploymentList
	if err := fleet.List(ctx, &deployments, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("failed to list Deployments: %w", err)
	}
	var begun []rollout.Begun
	for i := range deployments.Items {
		deployment := &deployments.Items[i]
		paced := deployment.Annotations[annotationPacedTemplate]
		owner := metav1.GetControllerOf(deployment)
		if paced == "" || paced != deployment.Annotations[resources.AnnotationTemplateHash] || rolledOut(deployment) || owner == nil {
			continue
		}
		name := types.NamespacedName{Namespace: deployment.Namespace, Name: owner.Name}
		server := &fairleadv1alpha1.MCPServer{}
		if err := client.IgnoreNotFound(fleet.Get(ctx, name, server)); err != nil {
			return nil, fmt.Errorf("failed to read MCPServer %q: %w", name, err)
		}
		if server.UID != owner.UID {
			continue // Nobody would ever end the roll-out of a server that is gone.
		}
		failed := deadlineExceeded(deployment)
		begun = append(begun, rollout.Begun{Server: name, Failed: failed})
		if failed {
			ctrl.LoggerFrom(ctx).Info("Failed to roll out the operator's new pod template", "server", name.String(), "reason", fairleadv1alpha1.ReasonProgressDeadlineExceeded)
		}
	}
	return begun, nil
}
