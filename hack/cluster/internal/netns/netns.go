// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package netns makes the cluster's network namespace. No interface leads out of it: every address of the cluster exists
// only inside, and deleting the namespace deletes its links, routes and nftables with it.
package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// Create makes the namespace with the node's address on a veth pair whose both ends are inside. It does not use
// `ip netns add`, which leaves a mount at the folder of all namespaces.
func Create(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(layout.NetnsPath), 0o755); err != nil {
		return fmt.Errorf("failed to create the folder of network namespaces: %w", err)
	}
	file, err := os.OpenFile(layout.NetnsPath, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("failed to name the network namespace: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("failed to name the network namespace: %w", err)
	}
	if err := run(ctx, "unshare", "--net="+layout.NetnsPath, "true"); err != nil {
		return err
	}
	const ns = layout.Netns
	steps := [][]string{
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0-peer"},
		{"-n", ns, "address", "add", layout.NodePrefix, "dev", "eth0"},
		{"-n", ns, "link", "set", "eth0-peer", "up"},
		{"-n", ns, "link", "set", "eth0", "up"},
		// Before kube-proxy rewrites a ClusterIP the kernel wants a route to it. There is none to anywhere else, so that what
		// would leave the cluster fails at once.
		{"-n", ns, "route", "add", layout.ServiceCIDR, "dev", "eth0"},
	}
	for _, args := range steps {
		if err := run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the namespace's name if it is there, and the folder of names if it is empty. The namespace itself ends
// with its last process.
func Delete(context.Context) error {
	if !Exists() {
		return nil
	}
	// A machine that was started anew has only the empty file.
	if err := unix.Unmount(layout.NetnsPath, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("failed to unmount %q: %w", layout.NetnsPath, err)
	}
	if err := os.Remove(layout.NetnsPath); err != nil {
		return fmt.Errorf("failed to remove %q: %w", layout.NetnsPath, err)
	}
	// Fails while other namespaces are there, or if it is a mount of `ip netns`: then the folder is not ours.
	_ = os.Remove(filepath.Dir(layout.NetnsPath))
	return nil
}

// Exists reports whether the namespace has its name.
func Exists() bool {
	_, err := os.Lstat(layout.NetnsPath)
	return err == nil
}

// Inside returns the ids of processes in the namespace, by comparing each process's namespace with it.
func Inside() ([]int, error) {
	want, err := inode(layout.NetnsPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, fmt.Errorf("failed to list processes: %w", err)
	}
	var pids []int
	for _, link := range links {
		if got, err := inode(link); err == nil && got == want {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// inode names a namespace.
func inode(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, fmt.Errorf("failed to look at the namespace %q: %w", path, err)
	}
	return stat.Ino, nil
}

// run runs one of the machine's own programs.
func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("failed to run `%s %s`: %w: %s",
			program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
