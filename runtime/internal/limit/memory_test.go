// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{name: "no control groups"},
		{name: "container of version 2", files: map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, want: 256 << 20},
		{name: "no limit in version 2", files: map[string]string{"sys/fs/cgroup/memory.max": "max\n"}},
		{name: "container of version 1", files: map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n"}, want: 1 << 20},
		{name: "no limit in version 1", files: map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}},
		{name: "own group of version 2", files: map[string]string{
			"proc/self/cgroup": "0::/a.slice/b.scope\n", "sys/fs/cgroup/a.slice/b.scope/memory.max": "4096\n", "sys/fs/cgroup/a.slice/memory.max": "max\n",
		}, want: 4096},
		{name: "least of those above", files: map[string]string{
			"proc/self/cgroup": "0::/a.slice/b.scope\n", "sys/fs/cgroup/a.slice/b.scope/memory.max": "4096\n", "sys/fs/cgroup/a.slice/memory.max": "2048\n",
		}, want: 2048},
		{name: "own group of version 1", files: map[string]string{
			"proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/c\n", "sys/fs/cgroup/memory/docker/c/memory.limit_in_bytes": "8192\n",
		}, want: 8192},
		{name: "negative", files: map[string]string{"sys/fs/cgroup/memory.max": "-1\n"}},
		{name: "zero", files: map[string]string{"sys/fs/cgroup/memory.max": "0\n"}},
		{name: "endless", files: map[string]string{"sys/fs/cgroup/memory.max": strings.Repeat("0", maxCgroupFile) + "1"}},
		{name: "group that climbs out", files: map[string]string{"proc/self/cgroup": "0::/../../etc\nnonsense\n", "sys/fs/cgroup/memory.max": "1024"}, want: 1024},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := Memory(root); got != tt.want {
				t.Errorf("Memory() = %d, want %d", got, tt.want)
			}
		})
	}
}
