// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// The kubectl-fairlead plugin judges, renders and runs MCPServer manifests, and
// lists, calls and watches the tools of running servers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker; see buildVersion.
var version string

// The exit codes, as the help of the root command lists them.
const (
	codeFailed      = 1   // findings, or the tool answered with an error or is not there
	codeUsage       = 2   // wrong flags or arguments, files that cannot be read, addresses that cannot be used
	codeUnreachable = 3   // no connection, or the server refused
	codeUnknown     = 4   // the call was cut: it may or may not have run
	codeInterrupted = 130 // Ctrl-C
)

// exitError carries an exit code. Its err may be nil when everything was said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second Ctrl-C ends at once.
	code := run(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes one command line and gives its exit code.
func run(ctx context.Context, s streams, args []string) int {
	root := rootCommand(s) //nolint:contextcheck // Each command gets its context from cobra.
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		// Cobra's own: an unknown command or flag, or a wrong count of arguments.
		exit = &exitError{code: codeUsage, err: err}
	}
	if exit.err != nil && (ctx.Err() == nil || exit.code != codeInterrupted) {
		fmt.Fprintln(s.err, "Error:", exit.err)
	}
	return exit.code
}

func rootCommand(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-fairlead",
		Short: "Judge, run, call, watch and roll back MCP servers",
		Long: `Judge, render and run MCPServer manifests on this machine; list, call and watch
the tools of MCP servers, in a cluster or anywhere; and show what an edit does to
a server in a cluster, its history and the way back.

Exit codes: 0 success; 1 a finding of lint, a difference that diff found, or a
tool that answered with an error or is not there; 2 wrong usage, or a file or an
address that cannot be used; 3 the server cannot be reached or refuses; 4 a call
was cut and may or may not have run; 130 interrupted.`,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl fairlead"},
		Version:           buildVersion(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(unknownFlag)
	root.AddCommand(
		lintCommand(s), renderCommand(s), serveCommand(s),
		toolsCommand(s), callCommand(s), watchCommand(s),
		diffCommand(s), historyCommand(s), rollbackCommand(s), refreshCommand(s),
	)
	return root
}

// buildVersion is the version that the linker set, else that of the module or
// the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return "devel-" + setting.Value[:12]
		}
	}
	return "devel"
}
