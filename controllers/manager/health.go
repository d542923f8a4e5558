// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// Bounds of a probe. The kubelet gives it a second.
const (
	probeHeaders = 5 * time.Second
	probeWrite   = 5 * time.Second
)

// addHealth serves /healthz, which answers as long as the process does, and
// /readyz, which says why the operator is not ready, or which namespaces it does
// without. Both tell what the log tells, and nothing of any server.
func addHealth(mgr ctrl.Manager, address string, scopes everywhere, schema *schemaCheck) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		if err := errors.Join(cacheReady(req.Context(), scopes.synced), schema.ready()); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, strings.Join(append([]string{"ok"}, scopes.closed()...), "\n"))
	})
	err := mgr.Add(&ctrlmanager.Server{Name: "health", Server: &http.Server{
		Addr: address, Handler: mux, ReadHeaderTimeout: probeHeaders, WriteTimeout: probeWrite, MaxHeaderBytes: 8 << 10,
	}})
	if err != nil {
		return fmt.Errorf("failed to add the health checks: %w", err)
	}
	return nil
}

func cacheReady(ctx context.Context, synced func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, syncProbe)
	defer cancel()
	if !synced(ctx) {
		return errors.New("the cache is not filled yet: see the log for what the operator may not list")
	}
	return nil
}
