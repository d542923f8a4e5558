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

// Create makes the namespace with the node's address on a veth pair whose both ends are inside.
func Create(ctx context.Context) error {
	const ns = layout.Netns
	steps := [][]string{
		{"netns", "add", ns},
		{"-n", ns, "link", "set", "lo", "up"},
		{"-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0-peer"},
		{"-n", ns, "address", "add", layout.NodePrefix, "dev", "eth0"},
		{"-n", ns, "link", "set", "eth0-peer", "up"},
		{"-n", ns, "link", "set", "eth0", "up"},
	}
	for _, args := range steps {
		if err := ip(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the namespace's name if it is there. The namespace itself ends with its last process.
func Delete(ctx context.Context) error {
	if !Exists() {
		return nil
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(layout.NetnsPath, &stat); err == nil && stat.Type != unix.NSFS_MAGIC {
		// A machine that lost its mounts keeps an empty file, which `ip` refuses to delete.
		if err := os.Remove(layout.NetnsPath); err != nil {
			return fmt.Errorf("failed to remove %q: %w", layout.NetnsPath, err)
		}
		return nil
	}
	return ip(ctx, "netns", "delete", layout.Netns)
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

// ip runs iproute2.
func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("failed to run `ip %s`: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
