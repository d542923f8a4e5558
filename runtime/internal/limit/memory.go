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

// group is a control group with a memory limit.
type group struct {
	// limit is in bytes.
	limit int64
	// usage and stat are the files with the bytes in use, and what they are.
	usage, stat string
	// cache is what stat calls the file cache that the kernel would drop first.
	cache string
}

// Memory is the memory limit in bytes of the control groups that this process
// is in, the least of versions 1 and 2; 0 if there is none or it cannot be
// read. root is the root of the file system, os.DirFS("/").
func Memory(root fs.FS) int64 { return least(root).limit }

// least finds the group with the least limit; that is 0 without one.
func least(root fs.FS) group {
	var found group
	for _, g := range groups(readSmall(root, "proc/self/cgroup")) {
		n, err := readNumber(root, g.limit)
		if err == nil && n > 0 && n < maxMemory && (found.limit == 0 || n < found.limit) {
			found = group{limit: n, usage: g.usage, stat: g.stat, cache: g.cache}
		}
	}
	return found
}

// files are those of a group.
type files struct{ limit, usage, stat, cache string }

func version1(dir string) files {
	return files{limit: dir + "/memory.limit_in_bytes", usage: dir + "/memory.usage_in_bytes", stat: dir + "/memory.stat", cache: "total_inactive_file"}
}

func version2(dir string) files {
	return files{limit: dir + "/memory.max", usage: dir + "/memory.current", stat: dir + "/memory.stat", cache: "inactive_file"}
}

// groups names the groups that may have a limit: the root, which in a container
// is its own group, and those of /proc/self/cgroup and all above them
// (cgroups(7)).
func groups(own string) []files {
	const v1, v2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
	all := []files{version2(v2), version1(v1)}
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, version := v2, version2
		if parts[1] == "memory" {
			base, version = v1, version1
		} else if parts[1] != "" {
			continue
		}
		for dir := path.Clean("/" + parts[2]); dir != "/"; dir = path.Dir(dir) {
			all = append(all, version(base+dir))
		}
	}
	return all
}

func readNumber(root fs.FS, name string) (int64, error) {
	return strconv.ParseInt(strings.TrimSpace(readSmall(root, name)), 10, 64)
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
