// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package selftest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAdded(t *testing.T) {
	t.Parallel()
	before := snapshot{"netns": {"a"}, "files": {"/run/x", "/run/y"}}
	after := snapshot{"netns": {"a", "fairlead"}, "files": {"/run/y"}, "processes": {"12 kubelet"}}
	if diff := cmp.Diff([]string{"netns: fairlead", "processes: 12 kubelet"}, after.added(before)); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"files: /run/x"}, before.added(after)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}
