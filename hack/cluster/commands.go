// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/cluster"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/selftest"
)

// command is one word of the command line. A command without help is for this program's own use.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string) error
}

// commands returns all commands in the order in which people meet them.
func commands() []command {
	return []command{
		{"up", "[--api-listen ADDRESS] [--with ADDON]", "start the cluster, or wait until the running one is ready", runUp},
		{"down", "", "remove the cluster and all that it occupies outside of the cache", runDown},
		{"status", "", "say what runs", runStatus},
		{"load", "ARCHIVE [ARCHIVE...]", "import image archives into the node", runLoad},
		{"kubeconfig", "[--inside]", "print the path of the administrator's kubeconfig", runKubeconfig},
		{"kubectl", "-- ARGUMENTS", "run the cluster's kubectl", runKubectl},
		{"exec", "-- COMMAND", "run a command inside, where ClusterIPs and the cluster's names work", runExec},
		{"forward", "--listen ADDRESS --to HOST:PORT [--detach]", "carry a loopback port to an address inside", runForward},
		{"signal", "PROGRAM kill|stop|continue", "disturb a program of the cluster; a killed one starts again", runSignal},
		{"build", "[apiserver-only|addons]", "build the programs into the cache", runBuild},
		{"assets", "", "print the folder with kube-apiserver, etcd and kubectl, for KUBEBUILDER_ASSETS", runAssets},
		{"selftest", "", "check a whole cluster's life; refuses if one is here", runSelftest},
		{"supervise", "", "", runSupervise},
		{"keep", "", "", runKeep},
		{"carry", "", "", runCarry},
		{"resolve", "", "", runResolve},
		{"reach", "", "", runReach},
	}
}

// theCluster is the one cluster of this machine.
func theCluster() *cluster.Cluster {
	return &cluster.Cluster{
		Layout: layout.Layout{Root: layout.DefaultRoot},
		Out:    os.Stderr,
		Ensure: ensure,
	}
}

func runUp(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	listen := flags.String("api-listen", layout.DefaultAPIListen, "where the API server is reached from outside")
	var addons []string
	flags.Func("with", "also run this addon: "+strings.Join(binaries.Addons(), " or "), func(name string) error {
		if !slices.Contains(binaries.Addons(), name) {
			return fmt.Errorf("it is none of %s", strings.Join(binaries.Addons(), ", "))
		}
		addons = append(addons, name)
		return nil
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	cluster := theCluster()
	if err := cluster.Up(ctx, *listen); err != nil {
		return err
	}
	for _, name := range addons {
		if err := cluster.With(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func runDown(ctx context.Context, _ []string) error { return theCluster().Down(ctx) }

func runStatus(ctx context.Context, _ []string) error { return theCluster().Status(ctx, os.Stdout) }

func runLoad(ctx context.Context, args []string) error { return theCluster().Load(ctx, args) }

func runKubeconfig(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("kubeconfig", flag.ContinueOnError)
	inside := flags.Bool("inside", false, "for programs inside the network namespace")
	if err := parse(flags, args); err != nil {
		return err
	}
	path, err := theCluster().Kubeconfig(*inside)
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

func runKubectl(_ context.Context, args []string) error {
	return theCluster().Kubectl(afterDashes(args))
}

func runExec(_ context.Context, args []string) error { return theCluster().Exec(afterDashes(args)) }

func runForward(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("forward", flag.ContinueOnError)
	listen := flags.String("listen", "", "loopback ADDRESS:PORT of this machine")
	to := flags.String("to", "", "HOST:PORT inside; HOST may be a name such as orders.default.svc.cluster.local")
	detach := flags.Bool("detach", false, "return at once and forward until `cluster down`")
	if err := parse(flags, args); err != nil {
		return err
	}
	return theCluster().Forward(ctx, *listen, *to, *detach)
}

// runSignal disturbs one program, for tests of what happens then.
func runSignal(_ context.Context, args []string) error {
	signals := map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP, "continue": syscall.SIGCONT}
	if len(args) != 2 || signals[args[1]] == 0 {
		return errors.New("usage: cluster signal PROGRAM kill|stop|continue, with a PROGRAM of `cluster status`")
	}
	return theCluster().Signal(args[0], signals[args[1]])
}

// runBuild fills the cache.
func runBuild(ctx context.Context, args []string) error {
	names := binaries.All()
	switch {
	case len(args) == 1 && args[0] == "apiserver-only":
		names = binaries.Assets()
	case len(args) == 1 && args[0] == "addons":
		names = binaries.Addons()
	case len(args) > 0:
		return errors.New("usage: cluster build [apiserver-only|addons]")
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

// runSelftest starts and removes a cluster of its own.
func runSelftest(ctx context.Context, _ []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("failed to find this program: %w", err)
	}
	bin, err := ensure(ctx, slices.Concat(binaries.All(), binaries.Addons(), []string{binaries.Probe}))
	if err != nil {
		return err
	}
	test := &selftest.Test{Self: self, Bin: bin, Out: os.Stdout}
	return test.Run(ctx)
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

// parse reads flags and refuses words that are none.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("failed to read the flags of `cluster %s`: %w", flags.Name(), err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("`cluster %s` takes no argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}

// afterDashes drops the dashes that end this program's own words.
func afterDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}
