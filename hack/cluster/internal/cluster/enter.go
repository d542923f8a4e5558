// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/cgroup"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// visitors is the control group of commands that people run inside, so that `down` ends them too.
const visitors = "visitors"

// Exec replaces this process by a command inside the cluster's network and mount namespace, where ClusterIPs and the
// cluster's names work. It returns only if that fails.
func (c *Cluster) Exec(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: cluster exec -- COMMAND [ARGUMENTS]")
	}
	f, err := c.facts()
	if err != nil {
		return err
	}
	enter, err := c.enterArgs()
	if err != nil {
		return err
	}
	return become("nsenter", append(append(enter, "--"), args...), c.environment(f, c.Layout.KubeconfigInside()))
}

// Kubectl replaces this process by kubectl in the machine's own network, so that a port-forward listens where people
// expect it. It returns only if that fails.
func (c *Cluster) Kubectl(args []string) error {
	f, err := c.facts()
	if err != nil {
		return err
	}
	return become(filepath.Join(f.Bin, binaries.Kubectl), args, c.environment(f, c.Layout.KubeconfigOutside()))
}

// enterArgs moves this process into the cluster's control group and returns the arguments with which nsenter takes it into
// the namespaces of the supervisor, in the same working folder.
func (c *Cluster) enterArgs() ([]string, error) {
	id, err := c.supervisor()
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("failed to find the working folder: %w", err)
	}
	if err := ExtendPath(); err != nil {
		return nil, err
	}
	group, err := cgroup.Open(layout.Cgroup)
	if err != nil {
		return nil, err
	}
	if err := group.Join(visitors); err != nil {
		return nil, err
	}
	return []string{"--target", strconv.Itoa(id.PID), "--net", "--mount", "--wdns=" + dir}, nil
}

// environment is this process's environment with the cluster's kubeconfig, its kubectl last on PATH, and kubectl's cache
// among the cluster's files instead of in the home folder.
func (c *Cluster) environment(f facts, kubeconfig string) []string {
	return append(os.Environ(),
		"KUBECONFIG="+kubeconfig,
		"KUBECACHEDIR="+c.Layout.Path("kubectl-cache"),
		"PATH="+os.Getenv("PATH")+":"+f.Bin,
	)
}

// become replaces this process.
func become(program string, args, environment []string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("failed to find %s: %w", program, err)
	}
	if err := syscall.Exec(path, append([]string{program}, args...), environment); err != nil {
		return fmt.Errorf("failed to run %s: %w", program, err)
	}
	return nil
}
