// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// unansweredFirst lets servers whose status does not speak of their spec yet go
// before the others that are there at a start. Those have a low priority
// (handler.LowPriority), since nearly all of them are as they should be: a user
// who has just applied one would wait behind all of them.
func unansweredFirst() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		server, ok := e.Object.(*fairleadv1alpha1.MCPServer)
		if !ok || server.Status.ObservedGeneration == server.Generation {
			return
		}
		if byPriority, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
			// Of two priorities the queue takes the higher one.
			byPriority.AddWithOpts(priorityqueue.AddOpts{Priority: new(0)}, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(server)})
		}
	}}
}
