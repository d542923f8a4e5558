// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster starts, enters and removes the local cluster from outside its namespaces.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
	"fairlead.dev/fairlead/hack/cluster/internal/supervisor"
)

// ErrNotRunning is returned by commands that need a running cluster.
var ErrNotRunning = errors.New("no cluster runs on this machine: start one with `cluster up`")

// Cluster is the one cluster of a machine.
type Cluster struct {
	Layout layout.Layout
	// Out takes progress lines.
	Out io.Writer
	// Ensure returns a folder with the named programs and builds them first if needed.
	Ensure func(ctx context.Context, names []string) (string, error)
}

// facts is what later commands need to know about the running cluster.
type facts struct {
	// Bin is the folder of the built programs.
	Bin string `json:"bin"`
	// API is where the API server is reached from outside.
	API string `json:"api"`
	// Started is when `up` began.
	Started time.Time `json:"started"`
	// Complete is set when `up` had nothing left to do; it may have been interrupted before.
	Complete bool `json:"complete"`
}

// factsFile is written before the supervisor starts, and again when `up` is done.
func (c *Cluster) factsFile() string { return c.Layout.Path("cluster.json") }

// supervisor returns the identity of the running supervisor, or ErrNotRunning.
func (c *Cluster) supervisor() (process.Identity, error) {
	record, err := process.Load(c.Layout.Record(supervisor.Name))
	if err != nil || !process.Proc.Alive(record.Identity) {
		return process.Identity{}, ErrNotRunning
	}
	return record.Identity, nil
}

// facts returns what is known about the running cluster, or ErrNotRunning.
func (c *Cluster) facts() (facts, error) {
	var f facts
	if _, err := c.supervisor(); err != nil {
		return f, err
	}
	content, err := os.ReadFile(c.factsFile())
	if err != nil {
		return f, ErrNotRunning
	}
	if err := json.Unmarshal(content, &f); err != nil {
		return f, fmt.Errorf("failed to decode %q, run `cluster down`: %w", c.factsFile(), err)
	}
	return f, nil
}

// writeFacts stores f.
func (c *Cluster) writeFacts(f facts) error {
	content, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("failed to encode the cluster's facts: %w", err)
	}
	if err := os.WriteFile(c.factsFile(), content, 0o644); err != nil {
		return fmt.Errorf("failed to write %q: %w", c.factsFile(), err)
	}
	return nil
}

// lock waits until no other command changes the cluster. The lock is an abstract socket: it is no file, and it ends with
// its process.
func (c *Cluster) lock(ctx context.Context) (func(), error) {
	for said := false; ; said = true {
		listener, err := new(net.ListenConfig).Listen(ctx, "unix", "@"+layout.Cgroup+".lock")
		if err == nil {
			return func() { _ = listener.Close() }, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("failed to take the cluster's lock: %w", err)
		}
		if !said {
			fmt.Fprintln(c.Out, "waiting for another `cluster up` or `cluster down` to finish")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// step is one part of a command, named by what is true after it.
type step struct {
	what string
	do   func() error
}

// steps runs parts in order, up to the first that fails.
func (c *Cluster) steps(begin time.Time, all []step) error {
	for _, s := range all {
		if err := c.do(begin, s.what, s.do); err != nil {
			return err
		}
	}
	return nil
}

// do runs one part of a command and says how long the command has run when it is done.
func (c *Cluster) do(begin time.Time, what string, part func() error) error {
	if err := part(); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "%6.1fs  %s\n", time.Since(begin).Seconds(), what)
	return nil
}
