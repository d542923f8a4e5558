// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/convergence"
	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/keyring"
)

func (s *story) secret(server *fairleadv1alpha1.MCPServer) *corev1.Secret {
	return named(s, &corev1.Secret{}, resources.SessionSecretName(server.Name))
}

// ring is that of the operator of the stories.
func (s *story) ring(server *fairleadv1alpha1.MCPServer, at time.Time) keyring.Ring {
	s.Helper()
	deriver, err := keys.NewDeriver(bytes.Repeat([]byte{7}, keys.MasterSize))
	if err != nil {
		s.Fatal(err)
	}
	return deriver.Ring(server.UID, keys.Epoch(at))
}

// holds returns what differs between the Secret and a ring.
func (s *story) holds(server *fairleadv1alpha1.MCPServer, ring keyring.Ring) string {
	s.Helper()
	secret := s.secret(server)
	if !s.exists(secret) {
		return "there is no Secret"
	}
	want := map[string][]byte{keyring.FileCurrent: ring.Current[:], keyring.FileNext: ring.Next[:], keyring.FilePrevious: ring.Previous[:]}
	if diff := cmp.Diff(want, secret.Data); diff != "" {
		return "the Secret holds other keys"
	}
	deployment := s.deployment(server)
	if got := s.read(deployment).GetAnnotations()[resources.AnnotationSessionKeys]; got != strings.Join(ring.IDs(), ",") {
		return "the Deployment says " + got
	}
	return ""
}

// Pods get a ring; it is written without reading, and again when pods lack it.
func TestStorySessionKeys(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	var ahead atomic.Int64
	requests, stop := s.operator(setting{label: s.namespace, now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	defer stop()
	server := s.labelled("orders")
	ring := s.ring(server, time.Now())
	if problem := s.holds(server, ring); problem != "" {
		t.Error(problem)
	}
	if got := s.secret(server); s.read(got) != nil && got.Type != resources.SecretTypeSessionKeys {
		t.Errorf("type = %s", got.Type)
	}
	if diff := cmp.Diff(ring.IDs(), s.pods.target(server).KeyIDs); diff != "" {
		t.Errorf("keys that pods should hold (-want +got):\n%s", diff)
	}
	for _, request := range requests.In(s.namespace) {
		if strings.HasPrefix(request, "GET") && strings.Contains(request, "secrets") {
			t.Errorf("a Secret was read: %s", request)
		}
	}
	s.delete(s.secret(server))
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Lagging, Lagging: []string{"a"}, KeyIDs: []string{}, Message: "m"}
	})
	s.want(server, "Ready=False/Propagating")
	if got := requests.CountOf("/secrets/orders-mcp-session"); got != 1 {
		t.Errorf("the keys were written %d times before the kubelet had its time", got)
	}
	ahead.Store(int64(2 * time.Minute))
	s.lookAgain()
	s.eventually(func() string { return s.holds(server, ring) })
	s.podsSay(nil)
	s.want(server, "Ready=True/Serving")
}

// A running pod keeps its keys when the Secret goes, and says so. Nobody but the
// operator can make the Secret again: nobody else is asked to.
func TestStoryLostKeysOfRunningPods(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	var ahead atomic.Int64
	requests, stop := s.operator(setting{label: s.namespace, now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	defer stop()
	server := s.labelled("orders")
	ring := s.ring(server, time.Now())
	s.delete(s.secret(server))
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{
			Revision: t.Revision, State: convergence.Converged, KeyIDs: t.KeyIDs,
			Problems: []convergence.Problem{{Code: keyring.ProblemCode, Message: "the session keys cannot be read"}},
		}
	})
	ahead.Store(int64(2 * time.Minute))
	s.lookAgain()
	s.eventually(func() string { return s.holds(server, ring) })
	for range 3 {
		s.lookAgain()
	}
	s.want(server, "Ready=True/Serving", "Degraded=")
	if got := requests.CountOf("/secrets/orders-mcp-session"); got != 2 {
		t.Errorf("the keys were written %d times, want once at first and once again", got)
	}
	s.podsSay(nil)
	s.want(server, "Ready=True/Serving")
}

// labelled creates a server for the operator of the story's own and waits until
// it is Ready.
func (s *story) labelled(name string) *fairleadv1alpha1.MCPServer {
	s.Helper()
	server := s.manifest(name)
	server.Labels = map[string]string{operatorLabel: s.namespace}
	s.create(server)
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	return server
}

// A Secret of somebody else under the name is not touched, whatever it is.
func TestStoryForeignSecret(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.manifest("orders")
	secret := s.secret(server)
	secret.StringData = map[string]string{"current": "mine"}
	s.create(secret)
	s.create(server)
	s.want(server, "Accepted=False/NameConflict", "Stalled=True/NameConflict")
	if got := message(server, "Accepted"); !strings.Contains(got, `Secret "orders-mcp-session"`) {
		t.Errorf("message = %q", got)
	}
	before := secret.ResourceVersion
	if s.read(secret).GetResourceVersion() != before || string(secret.Data["current"]) != "mine" {
		t.Errorf("the foreign Secret was changed: %v", secret.Data)
	}
}

// Another server's Secret is as foreign, though it is of our type.
func TestStorySecretOfAnotherServer(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	other := s.serving("minimal")
	server := s.manifest("orders")
	secret := s.secret(server)
	secret.Type = resources.SecretTypeSessionKeys
	secret.Data = map[string][]byte{"current": []byte("theirs")}
	secret.OwnerReferences = s.read(s.secret(other)).GetOwnerReferences()
	s.create(secret)
	s.create(server)
	s.want(server, "Accepted=False/NameConflict")
	s.read(secret)
	if string(secret.Data["current"]) != "theirs" {
		t.Errorf("the Secret of another server was changed")
	}
}

// The ring goes on with the calendar, but not before every pod holds the key
// that becomes the current one.
func TestStoryKeysRotate(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	requests, stop := s.operator(setting{label: s.namespace, now: now})
	defer stop()
	server := s.labelled("orders")
	first := s.ring(server, now())
	if problem := s.holds(server, first); problem != "" {
		t.Fatal(problem)
	}
	held := first.IDs()[:1]
	s.podsSay(func(t convergence.Target) convergence.Report {
		return convergence.Report{Revision: t.Revision, State: convergence.Converged, KeyIDs: held}
	})
	ahead.Store(int64(2 * time.Minute))
	s.lookAgain()
	s.eventually(func() string { // The Secret is written again, since a pod lacks keys.
		if got := requests.CountOf("/secrets/orders-mcp-session"); got != 2 {
			return fmt.Sprintf("the Secret was written %d times", got)
		}
		return ""
	})
	ahead.Store(int64(keys.Period))
	second := s.ring(server, now())
	if second.Current != first.Next || second.Previous != first.Current {
		t.Fatal("the rings do not overlap")
	}
	describeTool(s, server, "two")
	s.want(server, "Ready=True/Serving")
	if problem := s.holds(server, first); problem != "" {
		t.Errorf("promoted before every pod had the key: %s", problem)
	}
	s.podsSay(nil)
	s.eventually(func() string {
		s.lookAgain()
		return s.holds(server, second)
	})
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	if diff := cmp.Diff(second.IDs(), s.pods.target(server).KeyIDs); diff != "" {
		t.Error(fmt.Sprint("keys that pods should hold (-want +got):\n", diff))
	}
}
