// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/cgroup"
	"fairlead.dev/fairlead/hack/cluster/internal/image"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/netns"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
	"fairlead.dev/fairlead/hack/cluster/internal/supervisor"
)

// Up starts the cluster, or waits until the one that runs is ready. apiListen is where the API server is reached from
// outside. Whatever a dead cluster left is removed first, its objects and images included.
func (c *Cluster) Up(ctx context.Context, apiListen string) error {
	begin := time.Now()
	if err := preflight(ctx, c.Out); err != nil {
		return err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if running, err := c.facts(); err == nil {
		return c.resume(ctx, begin, running)
	}
	var bin string
	err = c.do(begin, "programs are built", func() (err error) {
		bin, err = c.Ensure(ctx, binaries.All())
		return err
	})
	if err != nil {
		return err
	}
	if c.leftovers() {
		err := c.do(begin, "what an earlier cluster left is removed", func() error { return c.remove(ctx, io.Discard) })
		if err != nil {
			return err
		}
	}
	if err := c.create(ctx, begin, bin, apiListen); err != nil {
		return fmt.Errorf("%w\nlogs are in %s; `cluster down` removes everything", err, c.Layout.Path("logs"))
	}
	return c.greet(begin, bin)
}

// resume does what is left to do for a cluster that another `up` started.
func (c *Cluster) resume(ctx context.Context, begin time.Time, running facts) error {
	finish := c.finish
	if running.Complete {
		finish = c.awaitReady
	}
	if err := finish(ctx, begin, running); err != nil {
		return fmt.Errorf("the cluster runs but is not ready; `cluster status` says more, `cluster down` removes it: %w", err)
	}
	fmt.Fprintf(c.Out, "%6.1fs  the cluster already runs, since %s\n",
		time.Since(begin).Seconds(), running.Started.Local().Format(time.DateTime))
	return nil
}

// create makes a cluster on a machine that has none.
func (c *Cluster) create(ctx context.Context, begin time.Time, bin, apiListen string) error {
	listener, err := c.listen(ctx, apiListen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	f := facts{Bin: bin, API: listener.Addr().String(), Started: begin}
	steps := []step{
		{"certificates and settings are written", func() error { return c.writeFiles(f) }},
		{"network namespace " + layout.Netns + " is made", func() error { return netns.Create(ctx) }},
		{"supervisor is started", func() error { return c.startSupervisor(ctx, bin, listener) }},
	}
	if err := c.steps(begin, steps); err != nil {
		return err
	}
	return c.finish(ctx, begin, f)
}

// finish waits for the API server and gives the cluster what its pods need.
func (c *Cluster) finish(ctx context.Context, begin time.Time, f facts) error {
	steps := []step{
		{"API server answers at " + f.API, func() error { return c.awaitAPI(ctx, f.API) }},
		{"pause image is loaded", func() error { return c.loadPause(ctx, f.Bin) }},
		{"name server is known", func() error { return c.apply(ctx, f.Bin, dnsManifest()) }},
	}
	if err := c.steps(begin, steps); err != nil {
		return err
	}
	if err := c.awaitReady(ctx, begin, f); err != nil {
		return err
	}
	f.Complete = true
	return c.writeFacts(f)
}

// listen opens the socket at which the API server is reached from outside, at another port if the usual one is taken.
func (c *Cluster) listen(ctx context.Context, address string) (*net.TCPListener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) && address == layout.DefaultAPIListen {
		listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err == nil {
			fmt.Fprintf(c.Out, "%s is taken by another program, using %s\n", address, listener.Addr())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("failed to listen for the API server, choose another address with --api-listen: %w", err)
	}
	return listener.(*net.TCPListener), nil //nolint:forcetypeassert // a "tcp" listener has no other type
}

// writeFiles writes everything that the programs read.
func (c *Cluster) writeFiles(f facts) error {
	for _, name := range []string{"processes", "logs", "images"} {
		if err := os.MkdirAll(c.Layout.Path(name), 0o755); err != nil {
			return fmt.Errorf("failed to create a folder of the cluster: %w", err)
		}
	}
	if err := pki.WriteAll(c.Layout, f.API, f.Started); err != nil {
		return err
	}
	if err := node.WriteConfig(c.Layout); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("failed to find this program: %w", err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("failed to read this program: %w", err)
	}
	if err := os.WriteFile(c.Layout.Self(), content, 0o755); err != nil {
		return fmt.Errorf("failed to copy this program: %w", err)
	}
	return c.writeFacts(f)
}

// startSupervisor starts the supervisor in its namespaces and in a session of its own, so that it outlives this command.
func (c *Cluster) startSupervisor(ctx context.Context, bin string, listener *net.TCPListener) error {
	group, err := cgroup.Open(layout.Cgroup)
	if err != nil {
		return err
	}
	if err := group.Create(); err != nil {
		return err
	}
	args := []string{
		"--net=" + layout.NetnsPath, "unshare", "--mount", "--propagation", "private",
		c.Layout.Self(), "supervise", "--bin", bin,
	}
	if err := c.startInside(ctx, supervisor.Name, args, listener); err != nil {
		return err
	}
	return c.await(ctx, 10*time.Second, func(context.Context) error {
		if _, err := c.supervisor(); err != nil {
			return fmt.Errorf("the supervisor has not started, read %s", c.Layout.Log(supervisor.Name))
		}
		return nil
	})
}

// startInside starts `nsenter args` detached, with its output in a log and the listening socket, if there is one, as its
// descriptor 3.
func (c *Cluster) startInside(ctx context.Context, name string, args []string, listener *net.TCPListener) error {
	var sockets []*os.File
	if listener != nil {
		socket, err := listener.File()
		if err != nil {
			return fmt.Errorf("failed to hand over the listening socket: %w", err)
		}
		defer func() { _ = socket.Close() }()
		sockets = []*os.File{socket}
	}
	log, err := os.OpenFile(c.Layout.Log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("failed to open a log: %w", err)
	}
	defer func() { _ = log.Close() }()
	// Not CommandContext: the process must survive this command's end.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "nsenter", args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = sockets
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("failed to start %s: %w", name, err)
	}
	if err := cmd.Process.Release(); err != nil {
		return fmt.Errorf("failed to let go of %s: %w", name, err)
	}
	return nil
}

// loadPause imports the image that every pod needs.
func (c *Cluster) loadPause(ctx context.Context, bin string) error {
	archive := c.Layout.Path("images", binaries.Pause+".tar")
	if err := image.WriteArchive(layout.PauseImage, "/"+binaries.Pause, filepath.Join(bin, binaries.Pause), archive); err != nil {
		return err
	}
	return c.await(ctx, time.Minute, func(ctx context.Context) error { return c.importArchive(ctx, archive) })
}

// greet says what to do with the new cluster.
func (c *Cluster) greet(begin time.Time, bin string) error {
	_, err := fmt.Fprintf(c.Out, "%6.1fs  the cluster is ready; try:\n\n  export KUBECONFIG=%s\n  %s get nodes\n",
		time.Since(begin).Seconds(), c.Layout.KubeconfigOutside(), filepath.Join(bin, binaries.Kubectl))
	return err
}
