// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
)

// command is one word of the command line. A command without help is for this program's own use.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string) error
}

// commands returns all commands in the order in which people meet them.
func commands() []command {
	return []command{
		{"build", "[apiserver-only]", "build the programs into the cache", runBuild},
		{"assets", "", "print the folder with kube-apiserver, etcd and kubectl, for KUBEBUILDER_ASSETS", runAssets},
	}
}

// runBuild fills the cache.
func runBuild(ctx context.Context, args []string) error {
	names := binaries.All()
	switch {
	case len(args) == 1 && args[0] == "apiserver-only":
		names = binaries.Assets()
	case len(args) > 0:
		return errors.New("usage: cluster build [apiserver-only]")
	}
	dir, err := ensure(ctx, names)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "everything is in", dir)
	return nil
}

// runAssets prints only the folder, so that a shell can take it.
func runAssets(ctx context.Context, _ []string) error {
	dir, err := ensure(ctx, binaries.Assets())
	if err != nil {
		return err
	}
	fmt.Println(dir)
	return nil
}

// ensure builds what is missing and returns the folder of the named programs.
func ensure(ctx context.Context, names []string) (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	store, err := binaries.New(source, os.Stderr)
	if err != nil {
		return "", err
	}
	return store.Ensure(ctx, names)
}
