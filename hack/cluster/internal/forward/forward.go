// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package forward carries TCP connections from the machine's own network into the cluster's. The listening socket is
// opened outside and handed to a process inside: a socket keeps the namespace in which it was made.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// maxConnections bounds the connections of one forwarder; more wait in the kernel's queue.
const maxConnections = 1024

// dialTimeout bounds the wait for the target, name lookup included.
const dialTimeout = 10 * time.Second

// ListenerFD is the descriptor at which a forwarder inside finds its socket.
const ListenerFD = 3

// Inherited returns the listening socket that this process was started with.
func Inherited() (net.Listener, error) {
	file := os.NewFile(ListenerFD, "listener")
	if file == nil {
		return nil, errors.New("failed to take over the listening socket: there is none")
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("failed to take over the listening socket: %w", err)
	}
	return listener, file.Close()
}

// Serve carries each connection of listener to target, a host:port in which host may be a name of the cluster. It returns
// after ctx ended and all connections are closed.
func Serve(ctx context.Context, listener net.Listener, target string) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait: it closes the connections
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	slots := make(chan struct{}, maxConnections)
	for {
		slots <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("failed to accept a connection: %w", err)
		}
		connections.Go(func() {
			defer func() { <-slots }()
			carry(ctx, conn, target)
		})
	}
}

// carry copies both ways until both are done or ctx ends. A target that cannot be reached closes the connection, which is
// all that TCP can say.
func carry(ctx context.Context, client net.Conn, target string) {
	defer func() { _ = client.Close() }()
	server, err := Dial(ctx, target)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		return
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { oneWay(server, client) })
	both.Go(func() { oneWay(client, server) })
	both.Wait()
}

// oneWay copies until the source ends and passes the end on, so that the other direction can finish.
func oneWay(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Dial connects to target from inside the namespace. Names are asked of the cluster's name server.
func Dial(ctx context.Context, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := net.Dialer{Resolver: Resolver()}
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, fmt.Errorf("failed to reach %q inside the cluster: %w", target, err)
	}
	return conn, nil
}

// Resolver asks the cluster's name server, whatever this machine's own settings say.
func Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(layout.DNSServiceIP, "53"))
		},
	}
}
