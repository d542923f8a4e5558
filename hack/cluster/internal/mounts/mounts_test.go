// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

func TestBelow(t *testing.T) {
	t.Parallel()
	const mountinfo = "1 0 8:1 / / rw - ext4 /dev/sda rw\n" +
		"2 1 8:1 /x /var/lib/cluster rw - ext4 /dev/sda rw\n" +
		"3 1 0:5 / /var/lib/cluster/kubelet/pods/a\\040b rw - tmpfs none rw\n" +
		"4 1 0:6 / /var/lib/cluster-other rw - tmpfs none rw\n" +
		"broken\n"
	got, err := below(strings.NewReader(mountinfo), "/var/lib/cluster")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/var/lib/cluster/kubelet/pods/a b", "/var/lib/cluster"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts, the innermost first (-want +got):\n%s", diff)
	}
}

func TestRemoveCreatedDeletesOnlyWhatWasMissing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	l := layout.Layout{Root: filepath.Join(root, "cluster")}
	old := filepath.Join(root, "old")
	if err := os.Mkdir(old, 0o755); err != nil {
		t.Fatal(err)
	}
	all := []mask{
		{path: old},
		{path: filepath.Join(root, "new", "deep")},
		{path: filepath.Join(root, "new", "file"), file: true},
	}
	if err := recordMissing(l, all); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if err := m.create(m.path); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveCreated(l); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err != nil {
		t.Errorf("a folder that was there before is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "new")); !os.IsNotExist(err) {
		t.Errorf("got error %v for a folder that was missing before, want none left", err)
	}
}

func TestRemoveCreatedSparesWhatOthersFilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	l := layout.Layout{Root: filepath.Join(root, "cluster")}
	m := mask{path: filepath.Join(root, "shared")}
	if err := recordMissing(l, []mask{m}); err != nil {
		t.Fatal(err)
	}
	if err := m.create(m.path); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(m.path, "foreign")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveCreated(l); err == nil || !strings.Contains(err.Error(), m.path) {
		t.Errorf("got error %v, want one that names %s", err, m.path)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a foreign file is gone: %v", err)
	}
}

func TestRemoveCreatedWithoutARecord(t *testing.T) {
	t.Parallel()
	if err := RemoveCreated(layout.Layout{Root: t.TempDir()}); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}
