// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/cgroup"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/mounts"
	"fairlead.dev/fairlead/hack/cluster/internal/netns"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

const (
	// stopTimeout bounds the orderly end: eight programs, each with a few seconds to go.
	stopTimeout = 45 * time.Second
	// killTimeout bounds the wait for killed processes, which end as soon as the kernel lets go of their memory.
	killTimeout = 30 * time.Second
)

// Down removes the cluster and everything that it occupies outside of the cache. It does what it can and then returns what
// could not be removed. Without a cluster it does nothing.
func (c *Cluster) Down(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster belongs to root: run this command as root")
	}
	if err := ExtendPath(); err != nil {
		return err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if !c.leftovers() {
		fmt.Fprintln(c.Out, "no cluster is here: nothing to remove")
		return nil
	}
	return c.remove(ctx, c.Out)
}

// leftovers reports whether anything of a cluster, dead or alive, is on this machine.
func (c *Cluster) leftovers() bool {
	if _, err := os.Lstat(c.Layout.Root); err == nil {
		return true
	}
	group, err := cgroup.Open(layout.Cgroup)
	return netns.Exists() || err == nil && len(group.Left()) > 0
}

// remove undoes everything that Up did, in the reverse order. Each part is tried even if one before failed.
func (c *Cluster) remove(ctx context.Context, out io.Writer) error {
	begin := time.Now()
	quiet := &Cluster{Layout: c.Layout, Out: out, Ensure: c.Ensure}
	steps := []struct {
		what string
		do   func(ctx context.Context) error
	}{
		{"programs are stopped", c.stopSupervisor},
		{"pods and other processes are stopped", c.killAll},
		{"network namespace is deleted", netns.Delete},
		{"mounts are removed", func(context.Context) error { return mounts.Unmount(c.Layout.Root) }},
		{"mount points are removed", func(context.Context) error { return mounts.RemoveCreated(c.Layout) }},
		{"files are removed", func(context.Context) error { return c.removeFiles() }},
	}
	var failures []error
	for _, s := range steps {
		if err := quiet.do(begin, s.what, func() error { return s.do(ctx) }); err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("failed to remove everything, mend this and run `cluster down` again:\n%w", errors.Join(failures...))
	}
	return nil
}

// stopSupervisor asks the supervisor to stop its programs in order and waits for it.
func (c *Cluster) stopSupervisor(ctx context.Context) error {
	id, err := c.supervisor()
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := process.Proc.Signal(id, syscall.SIGTERM); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	// A supervisor that hangs is killed with the rest, so the wait's end is no error.
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for process.Proc.Alive(id) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pollInterval):
		}
	}
	return nil
}

// killAll ends every process of the cluster's control group: pods, their shims, forwarders, commands of `cluster exec`, and
// programs whose supervisor died. Foreign processes that entered the namespace by other ways are only named.
func (c *Cluster) killAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	group, err := cgroup.Open(layout.Cgroup)
	if err != nil {
		return err
	}
	if err := group.Kill(ctx); err != nil {
		return err
	}
	if err := group.Remove(ctx); err != nil {
		return err
	}
	pids, err := netns.Inside()
	if err != nil {
		return err
	}
	var failures []error
	for _, pid := range pids {
		failures = append(failures, fmt.Errorf("process %d is still in the network namespace, end it: %s",
			pid, process.Proc.Command(pid)))
	}
	return errors.Join(failures...)
}

// removeFiles deletes the cluster's folder, unless something is still mounted there: a pod's volume may be a folder of the
// machine, whose content must not be deleted with it.
func (c *Cluster) removeFiles() error {
	left, err := mounts.Below(c.Layout.Root)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("the cluster's files stay while something is mounted among them: %s", strings.Join(left, ", "))
	}
	if err := os.RemoveAll(c.Layout.Root); err != nil {
		return fmt.Errorf("failed to remove the cluster's files: %w", err)
	}
	return nil
}
