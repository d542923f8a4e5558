// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"
)

// descriptionWidth is what fits beside the other columns of a usual terminal.
const descriptionWidth = 72

func toolsCommand(s streams) *cobra.Command {
	var (
		t      target
		output string
	)
	cmd := &cobra.Command{
		Use:   "tools TARGET",
		Short: "List the tools that a server offers to you",
		Long:  "List the tools that a server offers to you.\n\n" + targetHelp,
		Example: `  kubectl fairlead tools http://127.0.0.1:8080/mcp
  kubectl fairlead tools shop/orders --api-key-file key.txt`,
		Args: takes("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, "table", "json"); err != nil {
				return err
			}
			c, err := t.connect(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			tools, err := c.Tools(cmd.Context())
			if err != nil {
				return t.failure(cmd.Context(), clientOptions(&t), args[0], err)
			}
			if output == "json" {
				return printJSON(s.out, map[string]any{"tools": tools})
			}
			if len(tools) == 0 {
				s.say("%s offers no tools to you.", args[0])
				return nil
			}
			return table(s.out, toolRows(tools))
		},
	}
	t.bind(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func toolRows(tools []*mcp.Tool) [][]string {
	rows := [][]string{{"NAME", "ARGUMENTS", "HINTS", "DESCRIPTION"}}
	for _, tool := range tools {
		rows = append(rows, []string{
			line(tool.Name, 128), signature(tool), hints(tool.Annotations), line(tool.Description, descriptionWidth),
		})
	}
	return rows
}

// hints are what the tool says about itself, by the names of MCP.
func hints(a *mcp.ToolAnnotations) string {
	var all []string
	switch {
	case a == nil:
	case a.ReadOnlyHint:
		all = append(all, "read-only")
	case a.DestructiveHint != nil && *a.DestructiveHint:
		all = append(all, "destructive")
	}
	if a != nil && a.IdempotentHint && !a.ReadOnlyHint {
		all = append(all, "idempotent")
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ",")
}

// signature lists a tool's arguments, the required ones first, the others in
// brackets.
func signature(tool *mcp.Tool) string {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
	}
	data, err := json.Marshal(tool.InputSchema)
	if err != nil || json.Unmarshal(data, &schema) != nil {
		return "?"
	}
	var parts []string
	for _, name := range schema.Required {
		parts = append(parts, line(name, 64))
	}
	for _, name := range sortedKeys(schema.Properties) {
		if !slices.Contains(schema.Required, name) {
			parts = append(parts, "["+line(name, 64)+"]")
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, " ")
}
