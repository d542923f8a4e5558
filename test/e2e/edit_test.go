// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const otherKey = "another-caller-0a1b2c3d4e5f"

// TestRefreshRevokesAKey: a key that is deleted closes its streams as soon as
// somebody asks for a refresh, those of another key stay open, and no pod
// restarts.
func TestRefreshRevokesAKey(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, strings.Replace(liveKeys, "stringData: {", "stringData: {other: "+otherKey+", ", 1))
	c.apply(t, ns, live(0))
	server := c.ready(t, ns, "live")
	before := lives(c.pods(t, ns, server.Status.Selector))
	revoked := c.trade(t, ns, "revoked", 1, "listen", "-server", base(ns, "live"), "-key", apiKey, "-sse", "2", "-streamable", "2")
	kept := c.trade(t, ns, "kept", 1, "listen", "-server", base(ns, "live"), "-key", otherKey, "-sse", "2", "-streamable", "2")

	var keys corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "live-keys"}, &keys); err != nil {
		t.Fatal(err)
	}
	delete(keys.Data, "tester")
	if err := c.Update(t.Context(), &keys); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Log(strings.TrimSpace(run(t, "kubectl-fairlead", "refresh", ns+"/live")))
	var got struct{ Heard, Cut int }
	if err := ask(t.Context(), &revoked[0], http.MethodGet, "/heard?change=99&timeout=20s", &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("the streams of the deleted key were cut after %s", round(time.Since(began)))
	if got.Cut == 0 {
		t.Error("no stream of the deleted key was cut")
	}
	if err := ask(t.Context(), &kept[0], http.MethodGet, "/heard?change=99&timeout=1s", &got); err != nil || got.Cut != 0 {
		t.Errorf("%d streams of the other key were cut (error %v)", got.Cut, err)
	}
	if after := lives(c.pods(t, ns, server.Status.Selector)); !slices.Equal(before, after) {
		t.Errorf("pods were restarted or replaced:\nbefore %v\nafter  %v", before, after)
	}
}

// TestRollback: the spec of yesterday comes back by one command.
func TestRollback(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	for _, answer := range []string{"first", "second"} {
		c.apply(t, ns, plain("^[a-z]+$", answer))
		c.ready(t, ns, "plain")
		c.call(t, base(ns, "plain"), answer)
	}
	if history := run(t, "kubectl-fairlead", "history", ns+"/plain"); len(strings.Split(strings.TrimSpace(history), "\n")) < 3 {
		t.Errorf("the history lacks one of two configurations:\n%s", history)
	}
	fmt.Fprint(t.Output(), run(t, "kubectl-fairlead", "rollback", ns+"/plain"))
	c.call(t, base(ns, "plain"), "first")
	c.ready(t, ns, "plain")
}
