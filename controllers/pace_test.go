// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/controllers/rollout"
	"fairlead.dev/fairlead/controllers/verify"
)

// A place is given back, or counts as failed, however the roll-out goes: none is
// held for ever.
func TestPlaces(t *testing.T) {
	t.Parallel()
	rejected := &rejection{reason: fairleadv1alpha1.ReasonInvalidSpec}
	behind := pods(3, 3, 3)
	behind.ObservedGeneration = 1
	agreed, listed := &convergence.Report{State: convergence.Converged}, &verify.Report{State: verify.Passed}
	stopped := deployment(3, pods(4, 1, 3))
	stopped.Spec.Paused = true
	for _, tt := range []struct {
		name string
		seen *observation
		// now and late are what becomes of the place at once, and when nothing has
		// changed for a long time.
		now, late string
	}{
		{"all serve", &observation{deployment: deployment(3, pods(3, 3, 3)), converged: agreed, verified: listed}, "free", "free"},
		{"pods are replaced", &observation{deployment: deployment(3, pods(4, 1, 3))}, "held", "failed"},
		{"nobody works on it", &observation{deployment: deployment(3, behind), converged: agreed}, "held", "failed"},
		{"new pods fail", &observation{deployment: deployment(3, pods(4, 1, 3)), failure: "CrashLoopBackOff"}, "failed", "failed"},
		{"new pods fail, and the spec was rejected", &observation{deployment: deployment(3, pods(4, 1, 3)), failure: "CrashLoopBackOff", rejected: rejected}, "failed", "failed"},
		{"too late, and the spec was rejected", &observation{deployment: deployment(3, late(pods(4, 1, 3))), rejected: rejected}, "failed", "failed"},
		{"all serve what was accepted last", &observation{deployment: deployment(3, pods(3, 3, 3)), converged: agreed, rejected: rejected}, "free", "free"},
		{"pods never agree", &observation{deployment: deployment(3, pods(3, 3, 3)), converged: &convergence.Report{State: convergence.Lagging}}, "held", "failed"},
		{"no client ever answers", &observation{deployment: deployment(3, pods(3, 3, 3)), converged: agreed, verified: &verify.Report{State: verify.Pending}}, "held", "failed"},
		{"a pod refuses", &observation{deployment: deployment(3, pods(3, 3, 3)), converged: &convergence.Report{State: convergence.Refused}}, "failed", "failed"},
		{"somebody stopped the Deployment", &observation{deployment: stopped}, "free", "free"},
		{"paused", &observation{deployment: deployment(3, pods(4, 1, 3)), paused: true}, "free", "free"},
		{"paused, and the Deployment is gone", &observation{paused: true}, "free", "free"},
		{"the Deployment is gone", &observation{}, "free", "free"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1e9, 0)
			r := &Reconciler{Rollouts: rollout.New(1, 1, func(types.NamespacedName) {}), Now: func() time.Time { return now }}
			tt.seen.server = server()
			tt.seen.name = client.ObjectKeyFromObject(tt.seen.server)
			r.Rollouts.Admit(tt.seen.name, false)
			var got []string
			for range 2 {
				wait := r.tellRollouts(t.Context(), tt.seen, computeStatus(tt.seen))
				got = append(got, place(r, tt.seen.name))
				if held := got[len(got)-1] == "held"; held != (wait > 0) {
					t.Errorf("a place that is %s is looked at again after %s", got[len(got)-1], wait)
				}
				now = now.Add(time.Hour)
			}
			if diff := cmp.Diff([]string{tt.now, tt.late}, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if tt.late != "failed" {
				return
			}
			done := &observation{server: tt.seen.server, name: tt.seen.name, deployment: deployment(3, pods(3, 3, 3)), converged: agreed, verified: listed}
			r.tellRollouts(t.Context(), done, computeStatus(done))
			if got := place(r, done.name); got != "free" {
				t.Errorf("once all serve, the place is %s", got)
			}
		})
	}
}

// place says what became of the one place that there is, by what another server
// is told.
func place(r *Reconciler, held types.NamespacedName) string {
	other := types.NamespacedName{Namespace: "shop", Name: "other"}
	defer r.Rollouts.Done(other)
	switch r.Rollouts.Admit(other, false).Verdict {
	case rollout.Stopped:
		return "failed"
	case rollout.Queued:
		if r.Rollouts.Holds(held) {
			return "held"
		}
	case rollout.Start:
	}
	return "free"
}

// Progress, however slow, is no failure.
func TestSlowRollOutIsNoFailure(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	r := &Reconciler{Rollouts: rollout.New(1, 1, func(types.NamespacedName) {}), Now: func() time.Time { return now }}
	seen := &observation{server: server(), name: client.ObjectKeyFromObject(server())}
	r.Rollouts.Admit(seen.name, false)
	for updated := range int32(50) {
		seen.deployment = deployment(100, pods(100, updated, 100))
		r.tellRollouts(t.Context(), seen, computeStatus(seen))
		if got := place(r, seen.name); got != "held" {
			t.Fatalf("after %d pods the place is %s", updated, got)
		}
		now = now.Add(5 * time.Minute)
	}
}

// fleet stands in for the caches of all namespaces.
type fleet struct {
	client.Reader

	deployments []appsv1.Deployment
	servers     map[types.NamespacedName]types.UID
}

func (f *fleet) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*appsv1.DeploymentList).Items = f.deployments
	return nil
}

func (f *fleet) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	object.SetUID(f.servers[key])
	return nil
}

// What a predecessor began counts for a reconciler of another namespace too.
func TestSeedIsOfAllNamespaces(t *testing.T) {
	t.Parallel()
	f := &fleet{servers: map[types.NamespacedName]types.UID{}}
	for _, name := range []string{"a/rolling", "b/rolling", "b/users-own", "b/done", "b/gone"} {
		namespace, name, _ := strings.Cut(name, "/")
		key := types.NamespacedName{Namespace: namespace, Name: name}
		f.servers[key] = types.UID(name)
		d := deployment(3, pods(4, 1, 3))
		d.Namespace, d.Name = namespace, resources.Name(name)
		d.Annotations = map[string]string{annotationPacedTemplate: "new", resources.AnnotationTemplateHash: "new"}
		d.OwnerReferences = []metav1.OwnerReference{{Name: name, UID: types.UID(name), Controller: new(true)}}
		switch name {
		case "users-own":
			d.Annotations[annotationPacedTemplate] = "old"
		case "done":
			d.Status = pods(3, 3, 3)
		case "gone":
			f.servers[key] = "another"
		}
		f.deployments = append(f.deployments, *d)
	}
	r := &Reconciler{Rollouts: rollout.New(5, 3, func(types.NamespacedName) {}), Fleet: f}
	if err := r.seed.once(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for key := range f.servers {
		if got, want := r.Rollouts.Holds(key), key.Name == "rolling"; got != want {
			t.Errorf("%s holds a place: %t, want %t", key, got, want)
		}
	}
}

// What the API server does not take of a generation that was applied before, such
// as an upgrade's part, makes nobody unready.
func TestTroubleAfterTheGenerationWasApplied(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		observed int64
		want     string
	}{
		{"applied before", 7, "True/Serving"},
		{"not applied yet", 6, "False/ApplyFailed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			seen := &observation{
				server: server(), deployment: deployment(3, pods(3, 3, 3)), trouble: "no route to the webhook",
				converged: &convergence.Report{State: convergence.Converged}, verified: &verify.Report{State: verify.Passed},
			}
			seen.server.Status.Conditions = []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, ObservedGeneration: tt.observed}}
			got := ready(seen)
			if state := string(got.Status) + "/" + got.Reason; state != tt.want {
				t.Errorf("Ready = %s, want %s", state, tt.want)
			}
			if c := reconciling(seen); c == nil || c.Reason != "ApplyFailed" || !strings.Contains(c.Message, seen.trouble) {
				t.Errorf("Reconciling = %v, want the words", c)
			}
		})
	}
}
