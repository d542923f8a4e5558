// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := rootCommand()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if out, err := execute(t, "version"); err != nil || out != version+"\n" {
		t.Errorf("version = %q, %v", out, err)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	address := "--health-probe-bind-address=" + strings.TrimPrefix(server.URL, "http://")
	if _, err := execute(t, "healthcheck", address); err != nil {
		t.Errorf("healthy: %v", err)
	}
	status.Store(http.StatusInternalServerError)
	if _, err := execute(t, "healthcheck", address); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("unhealthy: %v, want the status", err)
	}
	server.Close()
	if _, err := execute(t, "healthcheck", address); err == nil {
		t.Error("an operator that is not there is healthy")
	}
	if _, err := execute(t, "healthcheck", "--health-probe-bind-address=nonsense"); err == nil {
		t.Error("a wrong address is taken")
	}
}

func TestBadOptionsStopTheStart(t *testing.T) {
	t.Parallel()
	if _, err := execute(t, "--default-replicas=0"); err == nil || !strings.Contains(err.Error(), "--default-replicas") {
		t.Errorf("err = %v, want it to name the flag", err)
	}
	if _, err := execute(t, "--kubeconfig=/nowhere/at/all"); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("err = %v, want it to say how to name a cluster", err)
	}
}
