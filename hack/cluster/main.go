// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a real single-node Kubernetes cluster from Go modules on one Linux machine, in a network and mount
// namespace of its own. README.md says what it needs and what each command does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
)

// exitInterrupted is what shells use for a command that SIGINT ended.
const exitInterrupted = 130

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	interrupted := ctx.Err() != nil
	stop()
	if err == nil {
		return
	}
	if interrupted {
		// What failed then failed because of it.
		fmt.Fprintln(os.Stderr, "cluster: interrupted; the same command goes on from here, `cluster down` removes everything")
		os.Exit(exitInterrupted)
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	os.Exit(1)
}

// run finds the named command and runs it.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return usage()
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	return fmt.Errorf("unknown command %q; `cluster help` lists the commands", args[0])
}

// usage prints the commands that are meant for people.
func usage() error {
	fmt.Println("A local Kubernetes cluster from Go modules, in a network and mount namespace of its own.")
	fmt.Println()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		if c.help != "" {
			fmt.Fprintf(table, "  %s %s\t%s\n", c.name, c.args, c.help)
		}
	}
	return table.Flush()
}

// sourceDir finds the folder of this program's module, which holds the build modules.
func sourceDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("failed to find the working folder: %w", err)
	}
	for {
		for _, candidate := range []string{dir, filepath.Join(dir, "hack", "cluster")} {
			if _, err := os.Stat(filepath.Join(candidate, "build", "kubernetes", "go.mod")); err == nil {
				return candidate, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("failed to find hack/cluster/build: run this command inside the checkout")
		}
		dir = parent
	}
}
