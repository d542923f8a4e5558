// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// row is one measure beside its bar.
type row struct {
	goal, what, measured, bar string
	// met is false if the bar was missed.
	met bool
}

// render writes a Markdown table, and says whether a bar was missed.
func render(w io.Writer, rows []row) (missed bool) {
	widths := [4]int{}
	cells := make([][4]string, 0, len(rows)+1)
	cells = append(cells, [4]string{"goal", "what", "measured", "bar"})
	for _, r := range rows {
		bar := r.bar
		if !r.met {
			bar += " MISSED"
			missed = true
		}
		cells = append(cells, [4]string{r.goal, r.what, r.measured, bar})
	}
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for i, line := range cells {
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
	return missed
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func kib(bytes int64) string { return fmt.Sprintf("%.1f KiB", float64(bytes)/1024) }
