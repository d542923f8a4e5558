// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package supervisor runs the cluster's programs inside its namespaces, for as long as the cluster lives.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/cgroup"
	"fairlead.dev/fairlead/hack/cluster/internal/forward"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/mounts"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

// Name is the supervisor's own name in logs and records.
const Name = "supervisor"

// childGroup is the control group of the programs, beside the one of the pods.
const childGroup = "programs"

// Run starts all programs, forwards listener to the API server, and ends both when ctx ends.
func Run(ctx context.Context, l layout.Layout, bin string, listener net.Listener, out io.Writer) error {
	if err := prepare(l); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	forwarded := make(chan error, 1)
	go func() {
		defer cancel() // a cluster that nobody reaches is of no use
		forwarded <- forward.Serve(ctx, listener, layout.APIInside())
	}()

	// The programs get a context of their own: they end one by one, in order, not all when ctx does.
	children, err := startAll(ctx, context.WithoutCancel(ctx), l, bin, out)
	if err == nil {
		fmt.Fprintln(out, stamp(), "all programs are started")
		<-ctx.Done()
	}
	for _, c := range slices.Backward(children) {
		fmt.Fprintln(out, stamp(), "stopping", c.program.Name)
		c.stop()
	}
	cancel()
	return errors.Join(err, <-forwarded)
}

// startAll starts the programs in order, each after the one before answers.
func startAll(ctx, life context.Context, l layout.Layout, bin string, out io.Writer) ([]*child, error) {
	var children []*child
	for _, p := range node.Programs(l, bin) {
		fmt.Fprintln(out, stamp(), "starting", p.Name)
		c := start(life, l, p, out)
		children = append(children, c)
		if err := c.awaitReady(ctx); err != nil {
			return children, err
		}
	}
	return children, nil
}

// prepare makes this process findable and hides the machine's files from what it starts.
func prepare(l layout.Layout) error {
	group, err := cgroup.Open(layout.Cgroup)
	if err != nil {
		return err
	}
	if err := group.Join(childGroup); err != nil {
		return err
	}
	id, err := process.Proc.Identify(os.Getpid())
	if err != nil {
		return fmt.Errorf("failed to identify the supervisor: %w", err)
	}
	if err := process.Save(l.Record(Name), process.Record{Identity: id}); err != nil {
		return err
	}
	if err := mounts.Prepare(l, node.ResolvConfFile(l)); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("failed to switch on routing inside the namespace: %w", err)
	}
	return nil
}

// stamp is the time in front of a log line.
func stamp() string { return time.Now().Format(time.TimeOnly) }
