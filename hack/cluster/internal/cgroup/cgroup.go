// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cgroup keeps every process of the cluster in one control group, so that all of them are found again even when
// the records about them are lost and their parents are dead.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is the pause between two looks at a group that is emptying.
const pollInterval = 50 * time.Millisecond

// Group is one named group in every hierarchy of the machine: one hierarchy with cgroup v2, one per controller with v1.
type Group struct {
	dirs []string
	v2   map[string]bool
}

// Open finds the group called name; it need not exist.
func Open(name string) (*Group, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("failed to list the machine's mounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	group, err := find(file, name)
	if err != nil {
		return nil, err
	}
	if len(group.dirs) == 0 {
		return nil, errors.New("failed to find a cgroup hierarchy: mount one at /sys/fs/cgroup")
	}
	return group, nil
}

// find reads hierarchies from the format of /proc/self/mountinfo (proc(5)).
func find(mountinfo io.Reader, name string) (*Group, error) {
	group := &Group{v2: map[string]bool{}}
	scanner := bufio.NewScanner(mountinfo)
	for scanner.Scan() {
		before, after, ok := strings.Cut(scanner.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) == 0 {
			continue
		}
		if kind[0] != "cgroup" && kind[0] != "cgroup2" {
			continue
		}
		dir := filepath.Join(fields[4], name)
		group.dirs = append(group.dirs, dir)
		group.v2[dir] = kind[0] == "cgroup2"
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("failed to read the machine's mounts: %w", err)
	}
	return group, nil
}

// Create makes the group in every hierarchy and, with v2, passes all controllers on to it.
func (g *Group) Create() error {
	for _, dir := range g.dirs {
		if g.v2[dir] {
			if err := delegate(filepath.Dir(dir)); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("failed to create the cgroup %q: %w", dir, err)
		}
	}
	return nil
}

// delegate lets the children of a v2 group use the controllers that it has.
func delegate(parent string) error {
	content, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("failed to read the controllers of %q: %w", parent, err)
	}
	for controller := range strings.FieldsSeq(string(content)) {
		path := filepath.Join(parent, "cgroup.subtree_control")
		if err := os.WriteFile(path, []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("failed to pass the cgroup controller %q on, run this outside of a container: %w", controller, err)
		}
	}
	return nil
}

// Join moves this process, and so each that it starts, into a child of the group. One hierarchy suffices to be found, and
// some accept no process (cpuset without processors), so an error means that none took it.
func (g *Group) Join(child string) error {
	var failures []error
	joined := false
	for _, dir := range g.dirs {
		err := os.MkdirAll(filepath.Join(dir, child), 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, child, "cgroup.procs"), []byte("0"), 0o644)
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		joined = true
	}
	if !joined {
		return fmt.Errorf("failed to join a cgroup: %w", errors.Join(failures...))
	}
	return nil
}

// Processes returns the ids of all processes in the group and its children, except this one, in ascending order.
func (g *Group) Processes() ([]int, error) {
	var pids []int
	for _, dir := range g.dirs {
		err := walk(dir, func(path string) error {
			content, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil {
				return ignoreGone(err)
			}
			for text := range strings.FieldsSeq(string(content)) {
				if pid, err := strconv.Atoi(text); err == nil && pid != os.Getpid() && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("failed to list the processes of %q: %w", dir, err)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// Kill ends all processes of the group until none is left, for at most the life of ctx. Membership is looked up right
// before each signal, so that no process outside is hit.
func (g *Group) Kill(ctx context.Context) error {
	for {
		pids, err := g.Processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("failed to kill process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("failed to end the processes %v: %w", pids, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// Remove deletes the group, which must hold no process, with all its children.
func (g *Group) Remove(ctx context.Context) error {
	for {
		err := g.removeOnce()
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollInterval):
		}
	}
}

// removeOnce deletes children before their parents.
func (g *Group) removeOnce() error {
	for _, dir := range g.dirs {
		var all []string
		err := walk(dir, func(path string) error {
			all = append(all, path)
			return nil
		})
		if err != nil {
			return fmt.Errorf("failed to list the cgroup %q: %w", dir, err)
		}
		slices.Reverse(all)
		for _, path := range all {
			if err := ignoreGone(os.Remove(path)); err != nil {
				return fmt.Errorf("failed to remove the cgroup %q: %w", path, err)
			}
		}
	}
	return nil
}

// Left returns those of the group's folders that exist.
func (g *Group) Left() []string {
	return slices.DeleteFunc(slices.Clone(g.dirs), func(dir string) bool {
		_, err := os.Stat(dir)
		return err != nil
	})
}

// walk calls visit for dir and each folder below it, parents first. Groups that vanish meanwhile are no error.
func walk(dir string, visit func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		if !entry.IsDir() {
			return nil
		}
		return visit(path)
	})
}

// ignoreGone returns nil for the errors of a group that vanished between two looks.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
