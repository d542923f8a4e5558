// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package app puts the rooms of the runtime together: it loads the
// configuration, serves clients and the admin port, follows changes of the
// files, and takes leave.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/telemetry"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// Defaults of Options.
const (
	DefaultListen      = ":8080"
	DefaultAdminListen = ":8081"
	DefaultSecretsDir  = "/etc/fairlead/secrets" //nolint:gosec // G101: a folder, not a credential.
	// DefaultSessionKeysDir is the command's; Options have none.
	DefaultSessionKeysDir = "/etc/fairlead/session-keys"
)

// endgame is how long the process may still take after the drain, within the
// grace period that the operator computes.
const endgame = 3 * time.Second

// Options are what Run needs.
type Options struct {
	// ConfigFile is server.yaml. A last-good.yaml beside it is used at the
	// start if server.yaml cannot be.
	ConfigFile string
	// SecretsDir holds a folder for each Secret; it may be missing.
	SecretsDir string
	// SessionKeysDir holds the session keys; it may be missing. Without it, or
	// empty, nobody is taken for the operator's verifier.
	SessionKeysDir string
	// Listen is the address for clients, AdminListen that for probes and
	// metrics; empty means the defaults.
	Listen, AdminListen string
	// PeerListen is the address for the other replicas of the server; empty means
	// that there are none. PeerAddress is the IP address at which they reach this
	// replica, and Peers where they are: host:port[,host:port...], with names that
	// may have many addresses. All three are given, or none.
	PeerListen, PeerAddress, Peers string
	// AllowLoopback lets tools call backends on this machine, for use at a
	// terminal.
	AllowLoopback bool
	// Trace honours "fairlead.dev/trace" in requests, for use at a terminal.
	Trace bool
	// Drain, if set, replaces the drain of the configuration: at a terminal
	// nobody waits for endpoints.
	Drain *Drain
	// Root is the root of the file system, in which the kernel tells the memory
	// limit and what is used of it; nil means the machine's.
	Root fs.FS
	// Version is this program's, as clients see it.
	Version string
	// Logger takes all logs; nil means JSON to standard error, with the level
	// of the configuration.
	Logger *slog.Logger
	// OnReady is called once, when both ports are open.
	OnReady func(listen, admin net.Addr)
	// OnSwap is called after each changed file was read: with the revision that
	// is served from then on, or with the reason why it stays as it was.
	OnSwap func(revision string, err error)
}

// Drain says how Run takes leave; see config.Drain.
type Drain struct {
	Settle, Window, CallTimeout time.Duration
}

func (o Options) withDefaults() (Options, *slog.LevelVar) {
	level := &slog.LevelVar{}
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	if o.AdminListen == "" {
		o.AdminListen = DefaultAdminListen
	}
	if o.Logger == nil {
		o.Logger = telemetry.NewLogger(os.Stderr, level)
	}
	o.Logger = telemetry.Annotate(o.Logger, func(ctx context.Context) []slog.Attr {
		return transport.LogAttrs(ctx, telemetry.HashSession)
	})
	if o.Root == nil {
		o.Root = os.DirFS("/")
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	return o, level
}

// Run serves until ctx ends and then takes leave: readiness off, everything
// served until endpoints caught up, no new sessions and streams, the streams
// closed spread over the drain window, running calls finished. It returns nil
// after that. Without a configuration that can be served it returns an error
// that names the field.
func Run(ctx context.Context, o Options) error {
	o, level := o.withDefaults()
	first, err := load(o)
	if err != nil {
		return err
	}
	listener, adminListener, err := listen(ctx, o)
	if err != nil {
		return err
	}
	peers, err := listenForPeers(ctx, o)
	if err != nil {
		return errors.Join(err, listener.Close(), adminListener.Close())
	}
	s, err := newServer(ctx, o, level, first, isLoopback(listener.Addr()), peers)
	if err != nil {
		return errors.Join(err, listener.Close(), adminListener.Close(), peers.close())
	}
	// Requests outlive ctx: whoever is being served when SIGTERM comes still
	// gets an answer.
	base, halt := context.WithCancel(context.WithoutCancel(ctx))
	defer halt()
	clients := httpserver.NewServer(base, s.handler, o.Logger)
	admin := httpserver.NewServer(base, s.adminHandler(), o.Logger)
	admin.WriteTimeout = 30 * time.Second
	parked := s.park(listener, clients)

	var group errgroup.Group
	group.Go(func() error { return serve(clients, parked, halt) })
	group.Go(func() error { return serve(admin, adminListener, halt) })
	group.Go(func() error { s.sessions.Run(base); return nil })
	group.Go(func() error { s.returner.run(base); return nil })
	s.runPeers(base, &group, peers, halt)
	group.Go(func() error { return s.watch(base, halt) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			s.leave(base, clients, parked)
		case <-base.Done():
		}
		halt()
		return errors.Join(clients.Close(), admin.Close(), s.closePeers())
	})
	o.Logger.InfoContext(ctx, "Serving", "address", listener.Addr().String(), "adminAddress", adminListener.Addr().String(),
		"revision", s.engine.Revision(), "tools", s.engine.Tools(), "version", o.Version)
	if o.OnReady != nil {
		o.OnReady(listener.Addr(), adminListener.Addr())
	}
	err = errors.Join(group.Wait(), s.close(ctx))
	s.core.Wait()
	return err
}

func serve(server *http.Server, listener net.Listener, halt func()) error {
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	halt()
	return fmt.Errorf("failed to serve %q: %w", listener.Addr(), err)
}

func listen(ctx context.Context, o Options) (clients, admin net.Listener, err error) {
	var c net.ListenConfig
	if clients, err = c.Listen(ctx, "tcp", o.Listen); err != nil {
		return nil, nil, fmt.Errorf("failed to listen on %q for clients: %w", o.Listen, err)
	}
	if admin, err = c.Listen(ctx, "tcp", o.AdminListen); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("failed to listen on %q for probes and metrics: %w", o.AdminListen, err), clients.Close())
	}
	return clients, admin, nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// compileOptions relax the configuration at a terminal.
func (o Options) compileOptions() config.CompileOptions {
	return config.CompileOptions{AllowLoopback: o.AllowLoopback}
}
