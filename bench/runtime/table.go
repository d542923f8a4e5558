// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// subject is a server that is measured.
type subject int

const (
	fairlead subject = iota
	goSDK
	mcpGo
	floor
	supergateway
	mcpProxy
	subjects
)

var subjectNames = [subjects]string{"Fairlead", "go-sdk", "mcp-go", "floor", "supergateway", "mcp-proxy"}

// figures are the same measure of each server, NaN of those that were not
// measured.
type figures [subjects]float64

func nothing() figures {
	var f figures
	for i := range f {
		f[i] = math.NaN()
	}
	return f
}

// only are the figures of a measure that is taken of Fairlead alone.
func only(value float64) figures {
	f := nothing()
	f[fairlead] = value
	return f
}

// row is one measure beside what it has to be, and what it should be.
type row struct {
	what string
	show func(float64) string
	got  figures
	// more says that more is better.
	more      bool
	must, aim []bar
}

// bar is one condition.
type bar struct {
	text string
	met  func(figures) bool
}

// atMost bounds Fairlead's own figure.
func atMost(limit float64, show func(float64) string) bar {
	return bar{"≤ " + show(limit), func(f figures) bool { return f[fairlead] <= limit }}
}

// sdkOver has Fairlead cost that part of what go-sdk does.
func sdkOver(parts float64) bar {
	return bar{fmt.Sprintf("≤ 1/%v of go-sdk", parts), func(f figures) bool { return f[fairlead]*parts <= f[goSDK] }}
}

// floorTimes has Fairlead cost at most so many times what the floor does.
func floorTimes(n float64) bar {
	return bar{fmt.Sprintf("≤ %v × floor", n), func(f figures) bool { return f[fairlead] <= n*f[floor] }}
}

// belowMCPGo has Fairlead cost less than mcp-go.
func belowMCPGo() bar {
	return bar{"< mcp-go", func(f figures) bool { return f[fairlead] < f[mcpGo] }}
}

// sdkTimes has Fairlead do so many times what go-sdk does.
func sdkTimes(n float64) bar {
	return bar{fmt.Sprintf("≥ %v × go-sdk", n), func(f figures) bool { return f[fairlead] >= n*f[goSDK] }}
}

func text(bars []bar) string {
	texts := make([]string, len(bars))
	for i, b := range bars {
		texts[i] = b.text
	}
	return strings.Join(texts, ", ")
}

func all(bars []bar, f figures) bool {
	for _, b := range bars {
		if !b.met(f) {
			return false
		}
	}
	return true
}

// missed says whether what has to be is not.
func (r *row) missed() bool { return !all(r.must, r.got) }

func (r *row) verdict() string {
	switch {
	case len(r.must) == 0:
		return ""
	case r.missed():
		return "MISSED"
	case all(r.aim, r.got):
		return "met, and the aim"
	default:
		return "met"
	}
}

// cell shows a figure, and how many times better than it Fairlead's is.
func (r *row) cell(s subject) string {
	value := r.got[s]
	if math.IsNaN(value) {
		return ""
	}
	own := r.got[fairlead]
	ratio := value / own
	if r.more {
		ratio = own / value
	}
	if s == fairlead || own <= 0 || value <= 0 {
		return r.show(value)
	}
	return fmt.Sprintf("%s (%s ×)", r.show(value), digits(ratio))
}

// render writes a Markdown table, with the servers of which anything was
// measured.
func render(w io.Writer, rows []row) {
	var columns []subject
	for s := range subjects {
		for i := range rows {
			if !math.IsNaN(rows[i].got[s]) {
				columns = append(columns, s)
				break
			}
		}
	}
	head := []string{"what"}
	for _, s := range columns {
		head = append(head, subjectNames[s])
	}
	lines := [][]string{append(head, "must", "aim", "")}
	for i := range rows {
		r := &rows[i]
		line := []string{r.what}
		for _, s := range columns {
			line = append(line, r.cell(s))
		}
		lines = append(lines, append(line, text(r.must), text(r.aim), r.verdict()))
	}
	align(w, lines)
}

func align(w io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)), 3)
		}
	}
	for i, line := range lines {
		for k, cell := range line {
			fmt.Fprint(w, "| ", cell, strings.Repeat(" ", widths[k]-len([]rune(cell))), " ")
		}
		fmt.Fprintln(w, "|")
		if i == 0 {
			for _, width := range widths {
				fmt.Fprint(w, "| ", strings.Repeat("-", width), " ")
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// digits shows what matters of a number.
func digits(n float64) string {
	if math.Abs(n) < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

func kib(bytes float64) string    { return fmt.Sprintf("%.1f KiB", bytes/(1<<10)) }
func mib(bytes float64) string    { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
func kb(bytes float64) string     { return fmt.Sprintf("%.1f kB", bytes/1e3) }
func count(n float64) string      { return fmt.Sprintf("%.0f", n) }
func times(n float64) string      { return fmt.Sprintf("%.2f ×", n) }
func millis(ns float64) string    { return fmt.Sprintf("%.1f ms", ns/float64(time.Millisecond)) }
func inSeconds(ns float64) string { return fmt.Sprintf("%.1f s", ns/float64(time.Second)) }
func thousands(n float64) string  { return fmt.Sprintf("%.0f k/s", n/1e3) }
func micros(ns float64) string    { return fmt.Sprintf("%.1f µs", ns/float64(time.Microsecond)) }
