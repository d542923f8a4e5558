// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU time in /proc/PID/stat (proc(5); USER_HZ is 100 on
// every architecture that Go runs on).
const tick = 10 * time.Millisecond

// Memory returns the resident memory of a process, and what of it are no pages of
// a file, in bytes; 0 if there is none.
func Memory(pid int) (rss, anonymous uint64) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			rss = kib << 10
		case "RssAnon":
			anonymous = kib << 10
		}
	}
	return rss, anonymous
}

// Tree samples a process without a door, and all that it started, from outside:
// memory and CPU only.
func Tree(pid int) Sample {
	var s Sample
	s.RSS, s.Anonymous = Memory(pid)
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Sample{}
	}
	// The name, in parentheses, may hold anything; the rest begins with the state.
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	const userTime, systemTime = 11, 12
	if fields := strings.Fields(rest); len(fields) > systemTime {
		user, _ := strconv.ParseInt(fields[userTime], 10, 64)
		system, _ := strconv.ParseInt(fields[systemTime], 10, 64)
		s.CPU = time.Duration(user+system) * tick
	}
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, list := range lists {
		children, _ := os.ReadFile(list) // Gone, if it cannot be read.
		for child := range strings.FieldsSeq(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				s = s.Add(Tree(id))
			}
		}
	}
	return s
}

// Where sock_diag(7) says how much memory a socket has: the bytes in its receive
// queue, its write queue, and reserved for either.
const (
	memReceive     = 0
	memReserved    = 4
	memWriteQueued = 5
)

// sockets counts this process's sockets, those of them that others opened, and what
// the kernel holds for all.
func sockets() (open, accepted int, kernel uint64) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, 0, 0
	}
	ports := map[int]int{} // how many sockets have a local port
	var listening []int
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The figures of SO_MEMINFO are 32-bit numbers, of which these are the first
		// eight; this call returns as many of whatever option is asked for.
		mem, err := unix.GetsockoptICMPv6Filter(fd, unix.SOL_SOCKET, unix.SO_MEMINFO)
		if err != nil {
			continue // No socket.
		}
		open++
		kernel += uint64(mem.Data[memReceive]) + uint64(mem.Data[memReserved]) + uint64(mem.Data[memWriteQueued])
		port := localPort(fd)
		if listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); listens != 0 {
			listening = append(listening, port)
		} else {
			ports[port]++
		}
	}
	for _, port := range listening {
		accepted += ports[port]
	}
	return open, accepted, kernel
}

// localPort is the port of a socket of this machine, 0 for one that has none.
func localPort(fd int) int {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch at := name.(type) {
	case *unix.SockaddrInet4:
		return at.Port
	case *unix.SockaddrInet6:
		return at.Port
	}
	return 0
}
