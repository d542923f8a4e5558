// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/mounts"
)

// snapshot is what a cluster could leave on a machine, by kind; each list is sorted.
type snapshot map[string][]string

// watchedFolders are those below which Kubernetes, containerd and network plugins put files by default, and
// kubectl its cache.
func watchedFolders() []string {
	folders := []string{"/run", "/run/netns", "/var/lib", "/var/log", "/etc", "/etc/cni", "/opt", "/usr/libexec"}
	if home, err := os.UserHomeDir(); err == nil {
		folders = append(folders, home, filepath.Join(home, ".kube"))
	}
	return folders
}

// take looks at the machine. keep is a folder whose programs are ours, so that a process is recognised by its file.
func take(ctx context.Context, keep string) (snapshot, error) {
	s := snapshot{}
	for _, folder := range watchedFolders() {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("failed to list %q: %w", folder, err)
		}
		for _, entry := range entries {
			s.add("files", filepath.Join(folder, entry.Name()))
		}
	}
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*/" + layout.Cgroup)
	if err != nil {
		return nil, fmt.Errorf("failed to list control groups: %w", err)
	}
	s.add("cgroups", cgroups...)
	if err := s.addMounts(); err != nil {
		return nil, err
	}
	if err := s.addProcesses(keep); err != nil {
		return nil, err
	}
	for kind, command := range map[string][]string{
		"nftables": {"nft", "list", "tables"},
		"links":    {"ip", "-brief", "link"},
		"routes":   {"ip", "route", "show", "table", "all"},
		"netns":    {"ip", "netns", "list"},
	} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("failed to run `%s`: %w", strings.Join(command, " "), err)
		}
		s.add(kind, strings.Split(strings.TrimSpace(string(out)), "\n")...)
	}
	for name := range mounts.Tunables() {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err == nil {
			s.add("sysctl", name+"="+strings.TrimSpace(string(value)))
		}
	}
	for _, list := range s {
		slices.Sort(list)
	}
	return s, nil
}

// add appends to one kind.
func (s snapshot) add(kind string, values ...string) {
	s[kind] = append(s[kind], values...)
}

// addMounts lists the mounts of this process's namespace, without the ids that change with each mount.
func (s snapshot) addMounts() error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("failed to list mounts: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) > 4 {
			s.add("mounts", fields[3]+" on "+fields[4])
		}
	}
	return nil
}

// addProcesses lists processes that run a file of the cluster or of the cache, and containerd's and runc's.
func (s snapshot) addProcesses(keep string) error {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return fmt.Errorf("failed to list processes: %w", err)
	}
	for _, link := range links {
		path, err := os.Readlink(link)
		if err != nil {
			continue // a kernel thread, or gone
		}
		base := filepath.Base(path)
		ours := strings.HasPrefix(path, layout.DefaultRoot) || strings.HasPrefix(path, keep)
		if ours || strings.HasPrefix(base, "containerd") || base == "runc" {
			s.add("processes", fmt.Sprintf("%s %s", filepath.Base(filepath.Dir(link)), path))
		}
	}
	return nil
}

// added returns what is in s and not in before, and gone what is in before and not in s, as lines for people.
func (s snapshot) added(before snapshot) []string {
	var lines []string
	for kind, values := range s {
		for _, value := range values {
			if _, found := slices.BinarySearch(before[kind], value); !found {
				lines = append(lines, kind+": "+value)
			}
		}
	}
	slices.Sort(lines)
	return lines
}
