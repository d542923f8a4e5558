// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/duration"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/changes"
)

func historyCommand(s streams) *cobra.Command {
	var (
		p      place
		output string
	)
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "List the last good configurations of a server",
		Long: `List the last good configurations of a server, the newest first: up to ten specs
with which it was Ready. Each line says in what it differs from the one below it:
tools that came (+), changed (~) and went (-), then other fields. An asterisk
marks the spec of now.

spec.replicas and spec.managementState are not part of a configuration.`,
		Example: `  kubectl fairlead history shop/orders
  kubectl fairlead rollback shop/orders --to 3 --dry-run`,
		Args: oneServer,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			return showHistory(cmd.Context(), s, &p, args[0], output)
		},
	}
	p.bind(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// historyEntry is a record as it is printed.
type historyEntry struct {
	Number    int64     `json:"number"`
	Revision  string    `json:"revision,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	Tools     int       `json:"tools"`
	Current   bool      `json:"current"`
	// Changes are against the record before; "first" for the oldest.
	Changes string `json:"changes"`
}

func showHistory(ctx context.Context, s streams, p *place, name, output string) error {
	c, server, err := p.server(ctx, name)
	if err != nil {
		return err
	}
	records, err := c.Records(ctx, server)
	if err != nil {
		return unreachable(ctx, err)
	}
	entries, err := historyOf(server, records)
	if err != nil {
		return &exitError{code: codeFailed, err: err}
	}
	if output == "json" {
		return printJSON(s.out, map[string]any{"history": entries})
	}
	if len(entries) > 0 {
		rows := [][]string{{"", "NUMBER", "REVISION", "FIRST SERVED", "TOOLS", "CHANGED"}}
		for _, e := range entries {
			mark := ""
			if e.Current {
				mark = "*"
			}
			age := duration.HumanDuration(time.Since(e.CreatedAt)) + " ago"
			rows = append(rows, []string{mark, strconv.FormatInt(e.Number, 10), orDash(e.Revision), age, strconv.Itoa(e.Tools), line(e.Changes, 100)})
		}
		if err := table(s.out, rows); err != nil {
			return err
		}
	}
	if len(entries) == 0 || !entries[0].Current {
		s.say("The spec of now, generation %d, has not served yet: %s", server.Generation, readiness(server))
	}
	return nil
}

// historyOf compares each record with the one before.
func historyOf(server *fairleadv1alpha1.MCPServer, records []appsv1.ControllerRevision) ([]historyEntry, error) {
	current, err := history.Record(server)
	if err != nil {
		return nil, err
	}
	entries := []historyEntry{}
	var newer *fairleadv1alpha1.MCPServerSpec
	for i := range records {
		record := &records[i]
		spec, err := history.SpecOf(record)
		if err != nil {
			return nil, err
		}
		if newer != nil {
			difference, err := changes.Between(spec, newer)
			if err != nil {
				return nil, err
			}
			entries[i-1].Changes = difference.Summary()
		}
		entries = append(entries, historyEntry{
			Number: record.Revision, Revision: record.Annotations[history.AnnotationRevision], CreatedAt: record.CreationTimestamp.Time,
			Tools: len(spec.Tools), Current: record.Name == current.Name, Changes: "first",
		})
		newer = spec
	}
	return entries, nil
}

// readiness is the condition Ready in words.
func readiness(server *fairleadv1alpha1.MCPServer) string {
	ready := meta.FindStatusCondition(server.Status.Conditions, fairleadv1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return "the operator has not seen it; is it running?"
	case ready.ObservedGeneration < server.Generation:
		return "the operator has not seen it yet"
	}
	return fmt.Sprintf("Ready is %s, %s: %s", ready.Status, ready.Reason, plain(ready.Message))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return line(text, 64)
}
