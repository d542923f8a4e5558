// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// String is the summary as a table.
func (s Summary) String() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "kind\tclients\tcalls\tanswered\trefused\tcut off\tlost\ttwice\tcuts\thasty\tsessions\t404\ttold\tlongest silence\t")
	row := func(kind string, c *Counts) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", kind, c.Clients, c.Calls, c.Answered, c.Refused,
			c.CutOff, c.Lost, c.Duplicates, c.Cuts, c.Hasty, c.Sessions, c.NotFound, c.Told, c.Silence.Round(10*time.Millisecond))
	}
	for _, kind := range sorted(s.ByKind) {
		row(kind, s.ByKind[kind])
	}
	row("all", &s.Total)
	_ = table.Flush() // A strings.Builder takes everything.
	text.WriteString("cuts by act:")
	for _, act := range sorted(s.Cuts) {
		fmt.Fprintf(&text, " %s: %d;", act, s.Cuts[act])
	}
	return text.String()
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func why(known *call) string {
	switch {
	case len(known.answers) > 0:
		return "the answer was " + known.answers[0].Why
	case known.lost != nil:
		return known.lost.Why
	}
	return fmt.Sprintf("nothing is known of it after %d refused attempts", known.attempts)
}

func addresses(runs []Run) string {
	var all []string
	for _, r := range runs {
		all = append(all, r.From+" at "+r.At.Format("15:04:05.000"))
	}
	return strings.Join(all, ", ")
}

// story tells where a call ran and what became of that pod.
func (c *checker) story(runs []Run) string {
	var all []string
	for _, r := range runs {
		all = append(all, fmt.Sprintf("%s at %s", tell(c.life(r.From, r.At)), r.At.Format("15:04:05.000")))
	}
	return strings.Join(all, ", ")
}

func tell(l *Life) string {
	switch {
	case l == nil:
		return "(unknown)"
	case l.Ended.IsZero():
		return l.Pod
	case l.wasKilled():
		return l.Pod + " (killed at " + l.Ended.Format("15:04:05.000") + ")"
	}
	return l.Pod + " (left until " + l.Ended.Format("15:04:05") + ")"
}
