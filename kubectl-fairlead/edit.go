// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/changes"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/cluster"
)

// edit is what a change of a server's spec does.
type edit struct {
	key    types.NamespacedName
	spec   changes.Spec
	change resources.Change
}

// compareServers compares a live server with what it is to become. Its error is
// for a spec that the operator would not accept.
func compareServers(live, next *fairleadv1alpha1.MCPServer) (*edit, error) {
	e := &edit{key: types.NamespacedName{Namespace: live.Namespace, Name: live.Name}}
	var err error
	if e.spec, err = changes.Between(&live.Spec, &next.Spec); err != nil || e.spec.Empty() {
		return e, err
	}
	if e.change, err = resources.Compare(live, next, resources.Defaults{}); err != nil {
		return nil, fmt.Errorf("the spec would not be accepted: %w", err)
	}
	return e, nil
}

// verdict is the edit in a few words.
func (e *edit) verdict() string {
	switch {
	case e.change.Rolls:
		return "rolls, every pod is replaced: " + strings.Join(e.change.Why, "; ")
	case !slices.ContainsFunc(e.change.Fields, func(f resources.FieldChange) bool { return f.Effect != resources.ObjectsOnly }):
		return "objects only, the pods go on as they are"
	}
	return "live, no pod is replaced and no stream is cut"
}

// print goes on after the name of the server. It asks the pods only where that
// tells something.
func (e *edit) print(ctx context.Context, w io.Writer, c *cluster.Cluster) {
	if e.spec.Empty() {
		fmt.Fprintln(w, ": nothing differs.")
		return
	}
	fmt.Fprintf(w, ": %s.\n", plain(e.verdict()))
	e.printTools(w)
	for _, field := range e.spec.Fields {
		fmt.Fprintln(w, "  "+plain(field.String()))
	}
	if e.change.Old != nil {
		fmt.Fprintf(w, "The spec of now is not accepted, so what runs is an older one: %s\n", line(e.change.Old.Error(), 200))
	}
	if len(e.change.Objects) > 0 {
		fmt.Fprintln(w, "Objects:")
	}
	for _, object := range e.change.Objects {
		fmt.Fprintf(w, "  %s %s is %s\n", object.Kind, object.Name, object.Action)
	}
	if slices.ContainsFunc(e.change.Why, func(why string) bool { return strings.HasPrefix(why, "new Secret") }) {
		fmt.Fprintf(w, "A key in the Secret %s-credentials would be live: it is always mounted.\n", resources.Name(e.key.Name))
	}
	if e.change.Rolls {
		load, err := c.Load(ctx, e.key)
		fmt.Fprintln(w, cost(load, err))
	}
}

func (e *edit) printTools(w io.Writer) {
	for _, name := range e.spec.Added {
		fmt.Fprintln(w, "  + "+name)
	}
	for _, tool := range e.spec.Changed {
		fmt.Fprintln(w, "  "+tool.Sign()+" "+tool.Name)
		for _, field := range tool.Fields {
			fmt.Fprintln(w, "      "+plain(field.String()))
		}
	}
	for _, name := range e.spec.Removed {
		fmt.Fprintln(w, "  - "+name)
	}
	if e.spec.Reordered {
		fmt.Fprintln(w, "  the order of tools")
	}
}

// cost says what a roll-out cuts.
func cost(load cluster.Load, err error) string {
	switch {
	case err != nil:
		return "How many streams the roll-out cuts is not known: " + plain(err.Error())
	case load.Pods == 0:
		return "No pod runs, so the roll-out cuts no stream."
	case load.Asked == 0:
		return fmt.Sprintf("The roll-out replaces %s. How many streams they hold is not known: %s", count(load.Pods, "pod"), plain(load.Err.Error()))
	}
	text := fmt.Sprintf("The roll-out replaces %s and cuts the %s that they hold now, each as its pod leaves; %s that run are finished first.",
		count(load.Pods, "pod"), count(load.Streams, "stream"), count(load.InFlight, "call"))
	if load.Err != nil {
		text += fmt.Sprintf(" Only %d of the pods could be asked: %s", load.Asked, plain(load.Err.Error()))
	}
	return text
}
