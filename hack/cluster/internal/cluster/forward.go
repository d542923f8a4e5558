// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/hack/cluster/internal/forward"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

// Forward carries connections from listen, an address of the machine's own network, to a host:port inside. In the
// foreground it replaces this process; detached it runs until `down`, and asking again for the same changes nothing.
func (c *Cluster) Forward(ctx context.Context, listen, target string, detach bool) error {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return fmt.Errorf("--to %q is not HOST:PORT, for example orders.default.svc.cluster.local:8080: %w", target, err)
	}
	if err := c.checkLoopback(listen); err != nil {
		return err
	}
	if _, err := c.facts(); err != nil {
		return err
	}
	name := "forward-" + strings.ReplaceAll(listen, ":", "-")
	if detach {
		done, err := c.replaceForward(ctx, name, target)
		if done || err != nil {
			return err
		}
	}
	opened, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("failed to listen at %s: %w", listen, err)
	}
	listener := opened.(*net.TCPListener) //nolint:forcetypeassert // a "tcp" listener has no other type
	defer func() { _ = listener.Close() }()
	enter, err := c.enterArgs()
	if err != nil {
		return err
	}
	args := slices.Concat(enter, []string{"--", c.Layout.Self(), "carry", "--to", target})
	fmt.Fprintf(c.Out, "forwarding %s to %s\n", listener.Addr(), target)
	if !detach {
		return c.forwardHere(listener, args)
	}
	if err := c.startInside(ctx, name, append(args, "--record", name), listener); err != nil {
		return err
	}
	return c.await(ctx, 10*time.Second, func(context.Context) error {
		if record, err := process.Load(c.Layout.Record(name)); err != nil || !process.Proc.Alive(record.Identity) {
			return fmt.Errorf("the forwarder has not started, read %s", c.Layout.Log(name))
		}
		return nil
	})
}

// checkLoopback refuses addresses at which others on the network could reach the cluster.
func (c *Cluster) checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("--listen %q is not ADDRESS:PORT, for example 127.0.0.1:8080: %w", listen, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("--listen %q is not on loopback: the cluster has no protection against other machines", listen)
	}
	return nil
}

// replaceForward reports whether the named forwarder already serves target; one for another target is stopped.
func (c *Cluster) replaceForward(ctx context.Context, name, target string) (bool, error) {
	record, err := process.Load(c.Layout.Record(name))
	if err != nil || !process.Proc.Alive(record.Identity) {
		return false, nil //nolint:nilerr // a record that cannot be read is of no running forwarder
	}
	if record.Detail == target {
		fmt.Fprintf(c.Out, "already forwarding to %s\n", target)
		return true, nil
	}
	if err := process.Proc.Signal(record.Identity, syscall.SIGTERM); err != nil && !errors.Is(err, process.ErrGone) {
		return false, err
	}
	return false, c.await(ctx, 10*time.Second, func(context.Context) error {
		if process.Proc.Alive(record.Identity) {
			return fmt.Errorf("the forwarder to %s (process %d) does not end", record.Detail, record.PID)
		}
		return nil
	})
}

// forwardHere becomes the forwarder. The socket is moved to the descriptor at which it looks.
func (c *Cluster) forwardHere(listener *net.TCPListener, args []string) error {
	socket, err := listener.File()
	if err != nil {
		return fmt.Errorf("failed to hand over the listening socket: %w", err)
	}
	if int(socket.Fd()) == forward.ListenerFD {
		_, err = unix.FcntlInt(socket.Fd(), unix.F_SETFD, 0)
	} else {
		err = unix.Dup3(int(socket.Fd()), forward.ListenerFD, 0)
	}
	if err != nil {
		return fmt.Errorf("failed to hand over the listening socket: %w", err)
	}
	f, err := c.facts()
	if err != nil {
		return err
	}
	return become("nsenter", args, c.environment(f, c.Layout.KubeconfigInside()))
}
