// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, mountinfo string
		want            []string
		wantV2          []string
	}{
		{
			"v1 with an empty v2 beside it",
			"30 25 0:27 / /sys/fs/cgroup rw - tmpfs none rw\n" +
				"31 30 0:28 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup none rw,pids\n" +
				"32 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n",
			[]string{"/sys/fs/cgroup/pids/x", "/sys/fs/cgroup/unified/x"},
			[]string{"/sys/fs/cgroup/unified/x"},
		},
		{
			"v2", "31 30 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 none rw,nsdelegate\n",
			[]string{"/sys/fs/cgroup/x"},
			[]string{"/sys/fs/cgroup/x"},
		},
		{"none", "31 30 0:28 / /proc rw - proc none rw\nbroken line\n", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := find(strings.NewReader(test.mountinfo), "x")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.dirs); diff != "" {
				t.Errorf("folders (-want +got):\n%s", diff)
			}
			var v2 []string
			for _, dir := range got.dirs {
				if got.v2[dir] {
					v2 = append(v2, dir)
				}
			}
			if diff := cmp.Diff(test.wantV2, v2); diff != "" {
				t.Errorf("folders of v2 (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProcessesOfAllHierarchiesAndChildren(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	files := map[string]string{
		"pids/x/cgroup.procs":               "",
		"pids/x/kubepods/pod1/cgroup.procs": "300\n12\n",
		"memory/x/programs/cgroup.procs":    "12\n13\n0\n", // 0 is a process of an outer namespace
		"pids/other/cgroup.procs":           "999\n",
	}
	for name, content := range files {
		write(t, filepath.Join(root, name), content)
	}
	group := &Group{dirs: []string{filepath.Join(root, "pids/x"), filepath.Join(root, "memory/x"), filepath.Join(root, "absent/x")}}
	got, err := group.Processes()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{12, 13, 300}, got); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
}

func TestCreatePassesControllersOn(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "cgroup.controllers"), "cpu memory pids\n")
	dir := filepath.Join(root, "x")
	group := &Group{dirs: []string{dir}, v2: map[string]bool{dir: true}}
	if err := group.Create(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	if err != nil || string(got) != "+pids" { // a plain file keeps the last of three writes
		t.Errorf("got %q and error %v, want the last controller", got, err)
	}
	if diff := cmp.Diff([]string{dir}, group.Left()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if err := group.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := group.Left(); len(left) > 0 {
		t.Errorf("got %v left, want nothing", left)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
