// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package convergence brings live changes to running pods and learns who serves
// them. A changed ConfigMap or Secret reaches a pod when the kubelet next syncs
// its volumes, a minute or more later; changing an annotation of the pod makes
// the kubelet sync now. So a pool of workers pokes pods, asks each one's /status
// what it serves, and pokes again those that lag.
//
// The same questions tell what a pod holds, which becomes its deletion cost while
// some pod may have to go, so that the emptiest one does.
//
// Nothing here blocks a reconcile: Observe notes what is wanted and returns what
// is known, and a change of that is told through Options.Changed.
package convergence

import (
	"context"
	"log/slog"
	"net"

	"k8s.io/apimachinery/pkg/types"
)

// Pod is one that should serve the target's revision.
type Pod struct {
	Name string
	UID  types.UID
	// IP is the pod's first address; a pod without one is not asked.
	IP string
	// Poked and Refreshed are the pod's annotations AnnotationConfigRevision and
	// AnnotationRefreshedAt of the API, as they were last seen.
	Poked, Refreshed string
	// Cost is the pod's annotation corev1.PodDeletionCost, in the same way.
	Cost string
}

// Target is what the pods of one server should hold.
type Target struct {
	Server types.NamespacedName
	// Revision is of the server.yaml that the pods' ConfigMap holds.
	Revision string
	// KeyIDs are those of the session key ring that was applied, in the ring's
	// order; empty: keys are not looked at.
	KeyIDs []string
	// Refresh is the value of the newest request to read Secrets again; empty
	// without one, or when it was honoured before this process began.
	Refresh string
	// Weigh asks that the pods' deletion costs tell what they hold: some pod may
	// have to go soon. Each pod is then asked every minute, and written to only if
	// that has become another power of two.
	Weigh bool
	// Pods are those that are ready, not leaving, and mount the ConfigMap that
	// holds Revision: pods of an older template mount another and never serve it.
	Pods []Pod
}

// State sums up what the pods of a server answered.
type State string

// The states, from no knowledge to all is well.
const (
	// Pending means that some pod has not been heard yet, and none is known to lag.
	Pending State = "Pending"
	// NoPods means that there is none that could serve.
	NoPods State = "NoPods"
	// Refused means that a pod serves an older revision since it cannot serve this one.
	Refused State = "Refused"
	// Lagging means that a pod serves an older revision, or lacks keys.
	Lagging State = "Lagging"
	// Unreachable means that a pod did not answer several times in a row, and none of
	// those that did lags.
	Unreachable State = "Unreachable"
	// Converged means that every pod serves the revision and holds the keys.
	Converged State = "Converged"
)

// Problem is what a pod misses although it serves the revision.
type Problem struct {
	// Code is the runtime's: SecretMissing, SecretInvalid or keyring.ProblemCode.
	Code string
	// Secret and Key name what is missing.
	Secret, Key string
	// Message says what fails without it.
	Message string
}

// Report is what is known about the pods of one server.
type Report struct {
	// Revision is the target's.
	Revision string
	State    State
	// Lagging names pods that do not serve the revision, sorted, at most 10.
	Lagging []string
	// Message says what is waited for and the next act, in at most 1 KiB; empty
	// when Converged.
	Message string
	// Slow is true while the API server refuses pokes to a pod that lags: the
	// kubelet takes a minute or more on its own.
	Slow bool
	// Problems are those of all pods, without repetitions, sorted, at most 16.
	Problems []Problem
	// KeyIDs are the session keys that every pod holds; nil while some pod has
	// not been heard.
	KeyIDs []string
	// Refreshed is Target.Refresh once every pod was poked for it, else empty.
	Refreshed string
	// Weighed is true once every pod has its deletion cost, or cannot be given one
	// now; false without Target.Weigh.
	Weighed bool
}

// Poker changes annotations of pods.
type Poker interface {
	// Poke sets annotations of the pod if it still is the one with that uid. It
	// returns the API server's error.
	Poke(ctx context.Context, pod types.NamespacedName, uid types.UID, annotations map[string]string) error
}

// Options are what a Pool works with.
type Options struct {
	// Poker is required.
	Poker Poker
	// Dial connects to pods; nil: a net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Changed is called whenever the report of a server has changed since it was
	// last told; required. It must not block.
	Changed func(types.NamespacedName)
	// Logger is required.
	Logger *slog.Logger
}
