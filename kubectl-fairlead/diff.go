// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/cluster"
)

func diffCommand(s streams) *cobra.Command {
	var (
		p     place
		files []string
	)
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Show what applying a manifest would do to the servers of a cluster",
		Long: `Show what applying a manifest would do to the MCPServers of a cluster: whether
running pods take it up live or are replaced, and why; which tools come (+), change
(~) and go (-); which objects change; and how many streams a roll-out cuts.

The manifest is taken as kubectl apply takes it. Of an object that was not applied
that way, the manifest's spec replaces the whole spec. The operator's own
configuration is not known here: what it forbids is not shown.

The streams are asked of the pods, which takes get on pods/proxy.

Exit codes are those of kubectl diff: 0 nothing differs, 1 something differs,
above 1 an error.`,
		Example: `  kubectl fairlead diff -f orders.yaml`,
		Args:    onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return diff(cmd.Context(), s, &p, files)
		},
	}
	p.bind(cmd)
	bindFiles(cmd, &files)
	return cmd
}

func diff(ctx context.Context, s streams, p *place, files []string) error {
	servers, verdicts, problems, err := judge(ctx, s, files, resources.Defaults{})
	if err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	for _, v := range verdicts {
		problems = append(problems, v.Problems...)
	}
	switch {
	case len(problems) > 0:
		_ = refuse(s, problems)
		return &exitError{code: codeUsage}
	case len(servers) == 0:
		return &exitError{code: codeUsage, err: errors.New("there is no MCPServer in what was given")}
	}
	c, err := cluster.Open(p.options())
	if err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	differs := false
	for i, v := range verdicts {
		name := v.Server.Name
		if v.Server.Namespace != "" {
			name = v.Server.Namespace + "/" + name
		}
		key, err := c.Key(name)
		if err != nil {
			return &exitError{code: codeUsage, err: fmt.Errorf("%s: %w", servers[i].File, err)}
		}
		live, err := c.Server(ctx, key)
		if _, ok := errors.AsType[*cluster.NotFoundError](err); ok {
			differs = true
			fmt.Fprintf(s.out, "MCPServer %s does not exist yet: it would be created, with %s.\n", key, count(len(v.Server.Spec.Tools), "tool"))
			continue
		}
		if err != nil {
			return unreachable(ctx, err)
		}
		next, err := applied(live, v.Server)
		if err != nil {
			return &exitError{code: codeUsage, err: err}
		}
		e, err := compareServers(live, next)
		if err != nil {
			return &exitError{code: codeUsage, err: err}
		}
		differs = differs || !e.spec.Empty()
		fmt.Fprintf(s.out, "MCPServer %s", key)
		e.print(ctx, s.out, c)
	}
	if differs {
		return &exitError{code: codeFailed}
	}
	return nil
}

// applied returns the live server with the spec that it has after kubectl
// apply: a field that the manifest once had and has no longer goes, a field of
// others stays (kubernetes.io, "Merge patch calculation").
func applied(live, manifest *fairleadv1alpha1.MCPServer) (*fairleadv1alpha1.MCPServer, error) {
	next := live.DeepCopy()
	last := live.Annotations[corev1.LastAppliedConfigAnnotation]
	if last == "" {
		next.Spec = *manifest.Spec.DeepCopy()
		return next, nil
	}
	type object struct {
		Spec json.RawMessage `json:"spec"`
	}
	var original object
	if err := json.Unmarshal([]byte(last), &original); err != nil {
		return nil, fmt.Errorf("failed to read the annotation %s of MCPServer %q: %w", corev1.LastAppliedConfigAnnotation, live.Name, err)
	}
	spec, err := mergeSpecs(original.Spec, &manifest.Spec, &live.Spec)
	if err != nil {
		return nil, fmt.Errorf("failed to merge the manifest into MCPServer %q: %w", live.Name, err)
	}
	next.Spec = *spec
	return next, nil
}

func mergeSpecs(original []byte, modified, current *fairleadv1alpha1.MCPServerSpec) (*fairleadv1alpha1.MCPServerSpec, error) {
	wanted, err := json.Marshal(modified)
	if err != nil {
		return nil, err
	}
	have, err := json.Marshal(current)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(original)) == 0 {
		original = []byte("{}")
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, wanted, have)
	if err != nil {
		return nil, err
	}
	var fields, changes map[string]any
	if err := errors.Join(json.Unmarshal(have, &fields), json.Unmarshal(patch, &changes)); err != nil {
		return nil, err
	}
	merged, err := json.Marshal(merge(fields, changes))
	if err != nil {
		return nil, err
	}
	spec := &fairleadv1alpha1.MCPServerSpec{}
	return spec, json.Unmarshal(merged, spec)
}

// merge applies a JSON merge patch (RFC 7396, section 2).
func merge(target, patch map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(target, key)
		case map[string]any:
			inner, _ := target[key].(map[string]any)
			target[key] = merge(inner, value)
		default:
			target[key] = value
		}
	}
	return target
}
