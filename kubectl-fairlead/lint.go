// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/admission"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
)

func lintCommand(s streams) *cobra.Command {
	var (
		files  []string
		output string
	)
	cmd := &cobra.Command{
		Use:   "lint -f FILE",
		Short: "Judge MCPServer manifests as a cluster would, without one",
		Long: `Judge MCPServer manifests as a cluster would, without one: the schema and rules
that the API server holds, and then all that the operator compiles: JSON schemas,
CEL in templates, URLs. Of spec.pod, what the API server would refuse in a pod is
found as far as it needs no cluster. Quotas, policies and the limits of an operator
are not known here. Other objects in the files are passed over.

FILE may be a folder, or - for standard input; -f may be repeated.`,
		Example: `  kubectl fairlead lint -f orders.yaml
  kustomize build . | kubectl fairlead lint -f - -o json`,
		Args: onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output, "text", "json"); err != nil {
				return err
			}
			return lint(cmd.Context(), s, files, output)
		},
	}
	bindFiles(cmd, &files)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func bindFiles(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "file or folder of manifests, or -; may be repeated")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // The flag is defined one line above.
	}
}

// lintReport is the JSON form of a verdict.
type lintReport struct {
	OK       bool               `json:"ok"`
	Servers  []lintServer       `json:"servers"`
	Problems []manifest.Problem `json:"problems"`
}

type lintServer struct {
	File     string `json:"file"`
	Object   string `json:"object"`
	OK       bool   `json:"ok"`
	Tools    int    `json:"tools,omitempty"`
	Revision string `json:"revision,omitempty"`
}

func lint(ctx context.Context, s streams, files []string, output string) error {
	objects, verdicts, problems, err := judge(ctx, s, files, resources.Defaults{})
	if err != nil {
		return err
	}
	report := lintReport{Servers: []lintServer{}, Problems: []manifest.Problem{}}
	for i, o := range objects {
		v := verdicts[i]
		entry := lintServer{File: o.File, Object: o.String(), OK: len(v.Problems) == 0}
		if entry.OK {
			entry.Tools, entry.Revision = len(v.Server.Spec.Tools), v.Objects.Revision
		}
		report.Servers = append(report.Servers, entry)
		problems = append(problems, v.Problems...)
	}
	report.Problems = append(report.Problems, problems...)
	report.OK = len(problems) == 0 && len(report.Servers) > 0
	if output == "json" {
		if err := printJSON(s.out, report); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(s.out, p)
		}
		for _, e := range report.Servers {
			if e.OK {
				fmt.Fprintf(s.out, "%s: %s: ok, %s, revision %s\n", e.File, e.Object, count(e.Tools, "tool"), e.Revision)
			}
		}
	}
	switch {
	case len(problems) > 0:
		return &exitError{code: problemCode(problems)}
	case len(report.Servers) == 0:
		return &exitError{code: codeUsage, err: errors.New("there is no MCPServer in what was given")}
	}
	return nil
}

// problemCode is that of a finding, unless a file could not be read at all.
func problemCode(problems []manifest.Problem) int {
	if slices.ContainsFunc(problems, func(p manifest.Problem) bool { return p.Unreadable }) {
		return codeUsage
	}
	return codeFailed
}

// judge reads the files and judges every MCPServer in them.
func judge(ctx context.Context, s streams, files []string, defaults resources.Defaults) (servers []*manifest.Object, verdicts []admission.Verdict, problems []manifest.Problem, err error) {
	judge, err := admission.New()
	if err != nil {
		return nil, nil, nil, err
	}
	objects, problems := manifest.Read(files, s.in)
	for _, o := range objects {
		if o.Misnamed() {
			problems = append(problems, manifest.Problem{
				File: o.File, Object: o.String(), Path: "kind",
				Message: fmt.Sprintf("%q is no kind of %s: use MCPServer", o.GetKind(), o.GroupVersionKind().Group),
			})
		}
		if o.IsServer() {
			servers = append(servers, o)
			verdicts = append(verdicts, judge.Server(ctx, o, defaults))
		}
	}
	return servers, verdicts, slices.Clip(problems), nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
