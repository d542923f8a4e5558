// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/keyring"
)

// keysRetry is the least pause between two writes of a Secret that pods seem to
// lack: the kubelet needs its time to bring the first.
const keysRetry = time.Minute

// chooseKeys returns the ring that the server should have now.
func (r *Reconciler) chooseKeys(seen *observation) keyring.Ring {
	held := keys.Held{
		NoPods: seen.deployment == nil || seen.deployment.Status.Replicas == 0,
		IDs:    r.notes.of(seen.name).held,
	}
	return r.Keys.Choose(seen.server.UID, appliedKeys(seen), held, r.now())
}

// appliedKeys returns the ids of the ring that the server has.
func appliedKeys(seen *observation) []string {
	if seen.deployment == nil || seen.deployment.Annotations[resources.AnnotationSessionKeys] == "" {
		return nil
	}
	return strings.Split(seen.deployment.Annotations[resources.AnnotationSessionKeys], ",")
}

// planKeys is the step of the session keys. The operator may not read Secrets:
// whether this one is as it should be is known from the Deployment and from
// what pods say that they hold.
//
// It is applied without a look at what is there. A foreign Secret under the name
// is safe all the same: the type of a Secret is immutable, and an object has one
// controller at most, so the API server refuses to merge ours into it.
func (r *Reconciler) planKeys(seen *observation) (step, error) {
	secret := resources.SessionSecret(resources.Input{Server: seen.server, Defaults: r.Defaults}, seen.ring)
	desired, err := rendered(secret)
	if err != nil {
		return step{}, err
	}
	next := step{desired: desired, kind: "Secret", name: secret.Name, live: emptyLike(secret), blind: true}
	page := r.notes.of(seen.name)
	next.current = slices.Equal(appliedKeys(seen), seen.ring.IDs()) && (!page.lacks(seen.ring.IDs()) || r.keysWait(seen) > 0)
	if !next.current {
		page.keysWritten = r.now()
	}
	return next, nil
}

// keysWait returns how long the kubelet still has to bring the keys to pods that
// lack some; 0 if they have all, or should have by now.
func (r *Reconciler) keysWait(seen *observation) time.Duration {
	page := r.notes.of(seen.name)
	if !page.lacks(seen.ring.IDs()) {
		return 0
	}
	return max(keysRetry-r.now().Sub(page.keysWritten), 0)
}

// lacks reports whether pods are known to hold less than they were given. A pod
// that had keys keeps them when its Secret has gone or is broken, and says so.
func (n *notes) lacks(given []string) bool {
	return n.keysBroken || n.held != nil && slices.ContainsFunc(given, func(id string) bool { return !slices.Contains(n.held, id) })
}

// noteKeys remembers what pods hold, and looks at the server again if that lets
// its ring go on, or asks for the Secret to be written.
func (r *Reconciler) noteKeys(seen *observation, report convergence.Report) {
	page := r.notes.of(seen.name)
	broken := slices.ContainsFunc(report.Problems, aboutKeys)
	if slices.Equal(page.held, report.KeyIDs) && page.keysBroken == broken {
		return
	}
	page.held, page.keysBroken = slices.Clone(report.KeyIDs), broken
	if !slices.Equal(r.chooseKeys(seen).IDs(), seen.ring.IDs()) || page.lacks(seen.ring.IDs()) {
		r.Changed(seen.name)
	}
}

// aboutKeys reports whether a problem is the operator's own to mend: nobody else
// can make session keys.
func aboutKeys(problem convergence.Problem) bool { return problem.Code == keyring.ProblemCode }

// withoutKeys returns the problems that a person must mend.
func withoutKeys(problems []convergence.Problem) []convergence.Problem {
	return slices.DeleteFunc(slices.Clone(problems), aboutKeys)
}

// nextEpoch returns the time until the keys of a server change. Servers follow
// the calendar over an hour, not all in one second.
func (r *Reconciler) nextEpoch(seen *observation) time.Duration {
	if seen.deployment == nil {
		return 0
	}
	sum := fnv.New32a()
	sum.Write([]byte(seen.server.UID))
	return keys.Next(r.now()).Sub(r.now()) + time.Duration(sum.Sum32()%3600+1)*time.Second
}
