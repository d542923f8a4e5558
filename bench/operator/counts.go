// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// The counts of O1 to O3 are exact: they depend on no machine.

// bursts is to how many servers O3 does something.
const bursts = 20

// changesPerBurst is how often a child's status changes in one burst.
const changesPerBurst = 10

// chunk is how many servers fill creates at once. A busy machine would take longer
// for more than the operator waits before it tells of a state on the way, and what
// is counted is the operator, not the machine.
const chunk = 10

// fill creates servers in a namespace of their own and waits until all are
// Ready. It returns the requests that this cost.
func (b *bench) fill(op *operator, namespace string, servers int) (map[string]int, error) {
	for first := 0; first < servers; first += chunk {
		last := min(first+chunk, servers)
		all := b.await(namespace, last, ready)
		if err := b.create(namespace, first, last); err != nil {
			return nil, err
		}
		if _, err := b.wait(all); err != nil {
			return nil, err
		}
	}
	if _, err := b.quietly(0); err != nil {
		return nil, err
	}
	return op.requests.in(namespace), nil
}

// rest waits, and then makes the operator look at every server once, as a resync
// does: somebody else annotates a child of each. It returns what that cost beside
// watches: nothing.
func (b *bench) rest(op *operator, namespace string, servers int, quiet time.Duration) (requests, looks int, err error) {
	before := op.requests.total(namespace)
	if err := b.pause(quiet); err != nil {
		return 0, 0, err
	}
	since, err := reconciles()
	if err != nil {
		return 0, 0, err
	}
	err = b.each(0, servers, creators, func(i int) error {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: resources.Name(serverName(i))}}
		return b.admin.Patch(b.ctx, service, annotation(strconv.Itoa(since)))
	})
	if err != nil {
		return 0, 0, err
	}
	looks, err = b.quietly(since)
	return op.requests.total(namespace) - before, looks, err
}

func annotation(value string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(fmt.Sprintf(`{"metadata":{"annotations":{"example.com/note":%q}}}`, value)))
}

// edits does to some servers what changes nothing that is built, and returns how
// often the controller ran for it, and the requests.
func (b *bench) edits(op *operator, namespace string) (requests, looks int, err error) {
	before := op.requests.total(namespace)
	since, err := reconciles()
	if err != nil {
		return 0, 0, err
	}
	err = b.each(0, bursts, creators, func(i int) error {
		server := &fairleadv1alpha1.MCPServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serverName(i)}}
		if err := b.admin.Patch(b.ctx, server, annotation("edited")); err != nil {
			return err
		}
		return b.admin.Patch(b.ctx, server, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"example.com/team":"shop"}}}`)))
	})
	if err != nil {
		return 0, 0, err
	}
	looks, err = b.quietly(since)
	return op.requests.total(namespace) - before, looks, err
}

// statuses changes the status of some Deployments many times, in ways that say
// nothing of how many pods serve, and returns how often the controller ran for
// it, and the requests.
func (b *bench) statuses(op *operator, namespace string) (requests, looks int, err error) {
	before := op.requests.total(namespace)
	since, err := reconciles()
	if err != nil {
		return 0, 0, err
	}
	err = b.each(0, bursts, creators, func(i int) error {
		d := &appsv1.Deployment{}
		if err := b.admin.Get(b.ctx, client.ObjectKey{Namespace: namespace, Name: resources.Name(serverName(i))}, d); err != nil {
			return err
		}
		for change := range changesPerBurst {
			old := d.DeepCopy()
			d.Status.Conditions = []appsv1.DeploymentCondition{{
				Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable",
				Message: strings.Repeat("x", change+1), LastUpdateTime: metav1.Now(), LastTransitionTime: metav1.Now(),
			}}
			if err := b.admin.Status().Patch(b.ctx, d, client.MergeFrom(old)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	looks, err = b.quietly(since)
	return op.requests.total(namespace) - before, looks, err
}
