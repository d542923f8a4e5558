// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// oneServer is for commands that take the name of an MCPServer.
var oneServer = takes("NAME")

// takes is for commands with these arguments, as their Use names them.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return fmt.Errorf("%s takes %s, but was given %s: `%s --help` has examples",
			cmd.Name(), strings.Join(names, " and "), given(args), cmd.CommandPath())
	}
}

// onlyFiles is for commands that take nothing but -f.
func onlyFiles(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes its files by -f: %s -f %s", cmd.Name(), cmd.CommandPath(), strings.Join(args, " -f "))
}

// unknownFlag adds where the flags are listed.
func unknownFlag(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: `%s --help` lists the flags", err, cmd.CommandPath())
}

func given(args []string) string {
	if len(args) == 0 {
		return "nothing"
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	return strings.Join(quoted, " ")
}
