// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/cluster"
)

// refreshPoll is the pause between two looks at the status.
const refreshPoll = 250 * time.Millisecond

// refresher holds the flags of refresh.
type refresher struct {
	place   place
	timeout time.Duration
}

func refreshCommand(s streams) *cobra.Command {
	r := &refresher{}
	cmd := &cobra.Command{
		Use:   "refresh NAME",
		Short: "Make the pods of a server read their Secrets now",
		Long: `Make the pods of a server read their Secrets and ConfigMaps now, and wait until
all have. Without it a changed Secret reaches them after 60 to 90 s: so this is
how a key is revoked at once. No pod is restarted and no other stream is cut.

It sets the annotation ` + fairleadv1alpha1.AnnotationRefreshRequestedAt + ` of the MCPServer.`,
		Example: `  kubectl fairlead refresh shop/orders`,
		Args:    oneServer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), s, args[0], time.Now())
		},
	}
	r.place.bind(cmd)
	cmd.Flags().DurationVar(&r.timeout, "timeout", 2*time.Minute, "how long to wait; 0 does not wait")
	return cmd
}

func (r *refresher) run(ctx context.Context, s streams, name string, now time.Time) error {
	c, key, err := r.place.open(name)
	if err != nil {
		return err
	}
	// Two requests of one second must differ.
	request := now.UTC().Format(time.RFC3339Nano)
	server, err := c.Annotate(ctx, key, fairleadv1alpha1.AnnotationRefreshRequestedAt, request)
	if err != nil {
		return unreachable(ctx, err)
	}
	if server.Spec.ManagementState == fairleadv1alpha1.Paused {
		return &exitError{code: codeFailed, err: fmt.Errorf("MCPServer %s is paused, so the request waits: set spec.managementState to Managed", key)}
	}
	if r.timeout <= 0 {
		fmt.Fprintf(s.out, "Asked the pods of %s to read their Secrets; status.refreshedAt will be %s.\n", key, request)
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	server, err = awaitRefresh(waiting, c, key, request)
	switch {
	case err == nil:
		fmt.Fprintf(s.out, "The pods of %s have read their Secrets, after %s.\n", key, time.Since(now).Round(100*time.Millisecond))
		return nil
	case errors.Is(err, context.DeadlineExceeded) && server != nil:
		return &exitError{code: codeFailed, err: fmt.Errorf("not all pods of %s have read their Secrets after %s: %s; `kubectl describe flmcp -n %s %s` says more",
			key, r.timeout, readiness(server), key.Namespace, key.Name)}
	}
	return unreachable(ctx, err)
}

// awaitRefresh looks at the status until it names the request. It returns the
// last status that it saw.
func awaitRefresh(ctx context.Context, c *cluster.Cluster, key types.NamespacedName, request string) (*fairleadv1alpha1.MCPServer, error) {
	tick := time.NewTicker(refreshPoll)
	defer tick.Stop()
	var last *fairleadv1alpha1.MCPServer
	for {
		server, err := c.Server(ctx, key)
		switch {
		case err == nil && server.Status.RefreshedAt == request:
			return server, nil
		case err == nil:
			last = server
		case ctx.Err() != nil:
			return last, ctx.Err()
		default:
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-tick.C:
		}
	}
}
