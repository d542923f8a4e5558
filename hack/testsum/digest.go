// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	// digestLines bounds a digest; whoever reads a failure sees the end of a long output.
	digestLines = 100
	// testLines bounds what one test adds, and leastLines what it may always add.
	testLines, leastLines = 70, 8
	// digestWidth bounds a line, in bytes.
	digestWidth = 300
)

// message matches the first line of what a test logs, and dump one that tells of its surroundings.
var (
	message = regexp.MustCompile(`^ *[\w.-]+\.go:\d+: `)
	dump    = regexp.MustCompile(`^ *[\w.-]+\.go:\d+: dump: `)
	verdict = regexp.MustCompile(`^ *--- (FAIL|PASS|SKIP): `)
)

// divide parts what a test said from what it dumped.
func divide(lines []string) (said, dumped []string) {
	dumping := false
	for _, line := range lines {
		switch {
		case dump.MatchString(line):
			dumping = true
		case message.MatchString(line), verdict.MatchString(line):
			dumping = false
		}
		if dumping {
			dumped = append(dumped, line)
		} else {
			said = append(said, line)
		}
	}
	return said, dumped
}

// digest gathers what failed tests said.
type digest struct{ tests [][]string }

// add takes over what the failed tests of a package said; of a package that did not come so far, all.
func (d *digest) add(p *packageState) {
	for _, test := range p.order {
		said, _ := divide(p.output[test])
		if len(said) == 0 || test == "" && p.failed > 0 {
			continue
		}
		d.tests = append(d.tests, said)
	}
}

// String is the digest, of at most as many lines as one looks at. Each test has its share of them.
func (d *digest) String() string {
	var b strings.Builder
	left := digestLines
	for i, said := range d.tests {
		share := max(leastLines, min(testLines, left/(len(d.tests)-i)))
		if left < leastLines {
			fmt.Fprintf(&b, "and %d more tests failed\n", len(d.tests)-i)
			break
		}
		lines := shorten(said, share)
		left -= len(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}

// shorten keeps a part of the beginning and more of the end.
func shorten(lines []string, most int) []string {
	kept := make([]string, 0, min(most, len(lines)))
	head := most / 4
	for i, line := range lines {
		if left := len(lines) - most; left > 0 && i >= head && i <= head+left {
			if i == head {
				kept = append(kept, fmt.Sprintf("    (%d lines are left out)\n", left+1))
			}
			continue
		}
		// A line of the results counts as one more failure for whoever looks for such lines.
		line = strings.Replace(line, "--- FAIL: ", "failed: ", 1)
		if len(line) > digestWidth {
			line = line[:digestWidth] + "…\n"
		}
		kept = append(kept, line)
	}
	return kept
}
