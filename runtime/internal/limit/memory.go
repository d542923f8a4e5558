// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const (
	// maxCgroupFile bounds what is read of a file of the kernel, in bytes.
	maxCgroupFile = 64 << 10
	// maxMemory is the size in bytes from which a limit is none: version 1 of
	// control groups writes nearly 2^63 for no limit.
	maxMemory = 1 << 50
)

// Memory is the memory limit in bytes of the control groups that this process
// is in, the least of versions 1 and 2; 0 if there is none or it cannot be
// read. root is the root of the file system, os.DirFS("/").
func Memory(root fs.FS) int64 {
	least := int64(0)
	for _, file := range memoryFiles(readSmall(root, "proc/self/cgroup")) {
		n, err := strconv.ParseInt(strings.TrimSpace(readSmall(root, file)), 10, 64)
		if err == nil && n > 0 && n < maxMemory && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// memoryFiles names the files that hold limits: those of the root, which in a
// container is its own group, and those of the groups of /proc/self/cgroup and
// of all above them (cgroups(7)).
func memoryFiles(groups string) []string {
	const v1, v2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
	files := []string{v2 + "/memory.max", v1 + "/memory.limit_in_bytes"}
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, name := v2, "memory.max"
		if parts[1] == "memory" {
			base, name = v1, "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for group := path.Clean("/" + parts[2]); group != "/"; group = path.Dir(group) {
			files = append(files, base+group+"/"+name)
		}
	}
	return files
}

// readSmall reads a file, or nothing of one that is missing or too large.
func readSmall(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxCgroupFile+1))
	if err != nil || len(text) > maxCgroupFile {
		return ""
	}
	return string(text)
}
