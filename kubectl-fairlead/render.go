// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
)

func renderCommand(s streams) *cobra.Command {
	var (
		files    []string
		image    string
		replicas int32
	)
	cmd := &cobra.Command{
		Use:   "render -f FILE",
		Short: "Print the objects that the operator would apply",
		Long: `Print the objects that the operator would apply for the MCPServers in the files,
as YAML. Owner references are left out, since they need the object's uid, and
spec.exposure.profile: Auto counts as None, since it needs the cluster's classes.

Two kinds of objects are not printed: the Secret with the session keys, whose bytes
only the operator can derive, and the ControllerRevisions of the history.`,
		Example: `  kubectl fairlead render -f orders.yaml`,
		Args:    onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return render(cmd.Context(), s, files, resources.Defaults{RuntimeImage: image, Replicas: replicas})
		},
	}
	bindFiles(cmd, &files)
	cmd.Flags().StringVar(&image, "runtime-image", "fairlead.invalid/fairlead-runtime:dev", "the operator's --runtime-image")
	cmd.Flags().Int32Var(&replicas, "default-replicas", 2, "replicas of servers that do not say")
	return cmd
}

func render(ctx context.Context, s streams, files []string, defaults resources.Defaults) error {
	servers, verdicts, problems, err := judge(ctx, s, files, defaults)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		problems = append(problems, v.Problems...)
	}
	if len(problems) > 0 {
		return refuse(s, problems)
	}
	if len(servers) == 0 {
		return &exitError{code: codeUsage, err: errors.New("there is no MCPServer in what was given")}
	}
	first := true
	for _, v := range verdicts {
		for _, object := range v.Objects.List() {
			if !first {
				if _, err := io.WriteString(s.out, "---\n"); err != nil {
					return err
				}
			}
			first = false
			data, err := encode(object)
			if err != nil {
				return fmt.Errorf("failed to encode %s: %w", object.GetName(), err)
			}
			if _, err := s.out.Write(data); err != nil {
				return err
			}
		}
	}
	return nil
}

// refuse prints problems to standard error and gives their exit code.
func refuse(s streams, problems []manifest.Problem) error {
	for _, p := range problems {
		s.say("%s", p)
	}
	return &exitError{code: problemCode(problems)}
}

// encode leaves out status, which the types write even when it is empty and the
// operator never applies.
func encode(object resources.Object) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	delete(fields, "status")
	return yaml.Marshal(fields)
}
