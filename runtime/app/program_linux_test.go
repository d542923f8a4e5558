// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

//nolint:paralleltest // The pages are the process's.
func TestReleaseProgram(t *testing.T) {
	before := filePages(t)
	if err := releaseProgram(); err != nil {
		t.Fatal(err)
	}
	// The test itself takes some back.
	if after := filePages(t); after > before/4*3 {
		t.Errorf("%d KiB of files are mapped after the program was released, %d before", after, before)
	}
}

// What is not as it is in the file, or will not be, stays.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	const program = "/opt/my tools/fairlead-runtime"
	tests := []struct {
		name, head, own string
		want            int
	}{
		{name: "code", head: "r-xp 00400000 fe:00 1234  " + program, own: "0", want: 1},
		{name: "constants", head: "r--p 00400000 fe:00 1234  " + program, own: "0", want: 1},
		{name: "a program that was replaced", head: "r-xp 00400000 fe:00 1234  " + program + " (deleted)", own: "0", want: 1},
		{name: "variables", head: "rw-p 00400000 fe:00 1234  " + program, own: "0"},
		{name: "relocated constants, or code with a breakpoint", head: "r-xp 00400000 fe:00 1234  " + program, own: "4"},
		{name: "another file", head: "r-xp 00400000 fe:00 1234  /opt/my tools/fairlead", own: "0"},
		{name: "no file", head: "r-xp 00000000 00:00 0", own: "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			smaps := "00400000-00900000 " + tt.head + "\nSize:   5120 kB\nRss:    64 kB\nAnonymous:      " + tt.own + " kB\nVmFlags: rd ex mr mw me\n"
			got, err := unchanged(strings.NewReader(smaps), program)
			if err != nil || len(got) != tt.want || tt.want == 1 && got[0] != (mapping{0x400000, 0x900000}) {
				t.Errorf("released %x, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// filePages is how much of files is mapped and in memory, in KiB.
func filePages(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kib); n == 1 {
			return kib
		}
	}
	t.Fatal("the kernel tells no RssFile")
	return 0
}
