// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
)

// rollbacker holds the flags of rollback.
type rollbacker struct {
	place  place
	to     int64
	dryRun bool
}

func rollbackCommand(s streams) *cobra.Command {
	r := &rollbacker{}
	cmd := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Give a server the spec of an earlier configuration",
		Long: `Give a server the spec of an earlier configuration: that of --to, else the newest
of the history that differs from the spec of now. What changes is shown first.

The number of pods (spec.replicas) and spec.managementState stay as they are.
Where the manifest comes from Git, change it there too: the next sync brings the
edit back.`,
		Example: `  kubectl fairlead rollback shop/orders --dry-run
  kubectl fairlead rollback shop/orders --to 3`,
		Args: oneServer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), s, args[0])
		},
	}
	r.place.bind(cmd)
	cmd.Flags().Int64Var(&r.to, "to", 0, "number of the configuration, as history lists it")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "show what would change, and change nothing")
	return cmd
}

func (r *rollbacker) run(ctx context.Context, s streams, name string) error {
	c, server, err := r.place.server(ctx, name)
	if err != nil {
		return err
	}
	records, err := c.Records(ctx, server)
	if err != nil {
		return unreachable(ctx, err)
	}
	record, err := r.choose(server, records)
	if err != nil {
		return &exitError{code: codeFailed, err: err}
	}
	next, err := history.Restore(server, record)
	if err != nil {
		return &exitError{code: codeFailed, err: err}
	}
	e, err := compareServers(server, next)
	if err != nil {
		return &exitError{code: codeFailed, err: err}
	}
	fmt.Fprintf(s.out, "Number %d for MCPServer %s/%s", record.Revision, server.Namespace, server.Name)
	e.print(ctx, s.out, c)
	if r.dryRun {
		fmt.Fprintln(s.out, "Nothing was changed: --dry-run.")
		return nil
	}
	changed, err := c.ReplaceSpec(ctx, next)
	if err != nil {
		return unreachable(ctx, err)
	}
	fmt.Fprintf(s.out, "Rolled back to number %d, as generation %d. To wait until it serves:\n  kubectl wait --for=condition=Ready -n %s flmcp/%s\n",
		record.Revision, changed.Generation, server.Namespace, server.Name)
	s.say("%s", owner(server))
	if changed.Spec.ManagementState == fairleadv1alpha1.Paused {
		s.say("spec.managementState is Paused: nothing is applied until it is Managed.")
	}
	return nil
}

// choose picks the record to go back to.
func (r *rollbacker) choose(server *fairleadv1alpha1.MCPServer, records []appsv1.ControllerRevision) (*appsv1.ControllerRevision, error) {
	name := server.Namespace + "/" + server.Name
	current, err := history.Record(server)
	if err != nil {
		return nil, err
	}
	if r.to == 0 {
		i := slices.IndexFunc(records, func(record appsv1.ControllerRevision) bool { return record.Name != current.Name })
		if i < 0 {
			return nil, fmt.Errorf("there is nothing to go back to: the history of MCPServer %s has no configuration but the one of now", name)
		}
		return &records[i], nil
	}
	var numbers []string
	for i := range records {
		record := &records[i]
		numbers = append(numbers, strconv.FormatInt(record.Revision, 10))
		switch {
		case record.Revision != r.to:
		case record.Name == current.Name:
			return nil, fmt.Errorf("nothing differs: number %d is the spec of now", r.to)
		default:
			return record, nil
		}
	}
	if len(numbers) == 0 {
		return nil, errors.New("there is nothing to go back to: the history of MCPServer " + name + " is empty")
	}
	return nil, fmt.Errorf("the history of MCPServer %s has no number %d, only %s", name, r.to, strings.Join(numbers, ", "))
}

// owner says where else the change belongs.
func owner(server *fairleadv1alpha1.MCPServer) string {
	tool := ""
	switch {
	case server.Annotations["argocd.argoproj.io/tracking-id"] != "" || server.Labels["argocd.argoproj.io/instance"] != "":
		tool = "Argo CD"
	case server.Labels["kustomize.toolkit.fluxcd.io/name"] != "" || server.Labels["helm.toolkit.fluxcd.io/name"] != "":
		tool = "Flux"
	case server.Annotations["meta.helm.sh/release-name"] != "":
		tool = "Helm"
	}
	if tool == "" {
		return "Change the manifest where it is kept too: the next apply of it brings the edit back."
	}
	return tool + " manages this object: revert the change in its source too, else it brings the edit back."
}
