// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// The fairlead-runtime serves the tools of one MCPServer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/runtime/app"
)

// version is set by the linker; see buildVersion.
var version string

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		// The first signal begins the drain, the second ends the process at
		// once.
		<-signals
		cancel()
		<-signals
		os.Exit(1)
	}()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fairlead-runtime:", err)
		os.Exit(1)
	}
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

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "fairlead-runtime",
		Short:         "Serve the tools of an MCPServer to MCP clients of every era",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), healthcheckCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), buildVersion())
			return err
		},
	})
	return root
}

func serveCommand() *cobra.Command {
	o := app.Options{Version: buildVersion()}
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve until SIGTERM, then finish calls and close streams",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return app.Run(c.Context(), o) },
	}
	flags := c.Flags()
	flags.StringVar(&o.ConfigFile, "config", "", "the server.yaml to serve; it is followed as it changes")
	flags.StringVar(&o.SecretsDir, "secrets-dir", app.DefaultSecretsDir, "the folder with a folder for each Secret")
	flags.StringVar(&o.SessionKeysDir, "session-keys-dir", app.DefaultSessionKeysDir, "the folder with the session keys: current, next and previous; it may be missing")
	flags.StringVar(&o.Listen, "listen", app.DefaultListen, "the address for clients")
	flags.StringVar(&o.AdminListen, "admin-listen", app.DefaultAdminListen, "the address for probes and metrics")
	flags.StringVar(&o.PeerListen, "peer-listen", "", "the address for the other replicas of the server; empty if there are none")
	flags.StringVar(&o.PeerAddress, "peer-address", "", "the IP address at which the other replicas reach this one")
	flags.StringVar(&o.Peers, "peers", "", "where the replicas are: host:port[,host:port...]; a name may have many addresses")
	if err := c.MarkFlagRequired("config"); err != nil {
		panic(err) // The flag is declared above.
	}
	return c
}

// healthTimeout bounds a health check.
const healthTimeout = 5 * time.Second

func healthcheckCommand() *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running runtime whether it is healthy",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return healthcheck(c.Context(), address) },
	}
	c.Flags().StringVar(&address, "admin-address", "127.0.0.1:8081", "the address of the admin port")
	return c
}

func healthcheck(ctx context.Context, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("failed to read --admin-address %q: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("failed to reach the runtime: %w", err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<10))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the runtime at %q is not healthy: status %d", address, response.StatusCode)
	}
	return errors.Join(err, response.Body.Close())
}
