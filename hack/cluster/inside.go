// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"

	"fairlead.dev/fairlead/hack/cluster/internal/cluster"
	"fairlead.dev/fairlead/hack/cluster/internal/forward"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
	"fairlead.dev/fairlead/hack/cluster/internal/supervisor"
)

// runSupervise is started by `up`, inside the namespaces, with the API server's outer socket.
func runSupervise(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("supervise", flag.ContinueOnError)
	bin := flags.String("bin", "", "folder of the built programs")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := cluster.ExtendPath(); err != nil {
		return err
	}
	listener, err := forward.Inherited()
	if err != nil {
		return err
	}
	return supervisor.Run(ctx, layout.Layout{Root: layout.DefaultRoot}, *bin, listener, os.Stdout)
}

// runKeep is started by `up --with`, inside the namespaces.
func runKeep(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("keep", flag.ContinueOnError)
	bin := flags.String("bin", "", "folder of the built programs")
	addon := flags.String("addon", "", "name of the addon")
	if err := parse(flags, args); err != nil {
		return err
	}
	l := layout.Layout{Root: layout.DefaultRoot}
	program, ok := node.Addon(l, *bin, *addon)
	if !ok {
		return fmt.Errorf("there is no addon %q", *addon)
	}
	return supervisor.Keep(ctx, l, program, os.Stdout)
}

// runCarry is started by `forward`, inside the namespaces, with the outer socket.
func runCarry(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("carry", flag.ContinueOnError)
	to := flags.String("to", "", "target")
	record := flags.String("record", "", "name of this process's record; empty for none")
	if err := parse(flags, args); err != nil {
		return err
	}
	listener, err := forward.Inherited()
	if err != nil {
		return err
	}
	if *record != "" {
		id, err := process.Proc.Identify(os.Getpid())
		if err != nil {
			return fmt.Errorf("failed to identify this forwarder: %w", err)
		}
		path := layout.Layout{Root: layout.DefaultRoot}.Record(*record)
		if err := process.Save(path, process.Record{Identity: id, Detail: *to}); err != nil {
			return err
		}
	}
	return forward.Serve(ctx, listener, *to)
}

// runResolve prints the addresses of a name, as the cluster's name server gives them.
func runResolve(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: cluster resolve NAME")
	}
	addresses, err := forward.Resolver().LookupHost(ctx, args[0])
	if err != nil {
		return fmt.Errorf("failed to resolve %q: %w", args[0], err)
	}
	for _, address := range addresses {
		fmt.Println(address)
	}
	return nil
}

// runReach says whether something accepts connections at HOST:PORT, where HOST may be a name of the cluster.
func runReach(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: cluster reach HOST:PORT")
	}
	dialer := net.Dialer{Resolver: forward.Resolver()}
	conn, err := dialer.DialContext(ctx, "tcp", args[0])
	if err != nil {
		return fmt.Errorf("failed to reach %q: %w", args[0], err)
	}
	return conn.Close()
}
