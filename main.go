// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fairlead-operator runs the servers that MCPServer objects declare.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/controllers/manager"
)

// version is set by the linker.
var version = "dev"

// healthTimeout bounds the healthcheck command.
const healthTimeout = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fairlead-operator:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	var options manager.Options
	var kubeconfig string
	root := &cobra.Command{
		Use:           "fairlead-operator",
		Short:         "Run the servers that MCPServer objects declare",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			cfg, err := clusterConfig(kubeconfig)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewJSONHandler(cmd.OutOrStdout(), &slog.HandlerOptions{Level: options.LogLevel}))
			return manager.Run(cmd.Context(), cfg, options, log.With(slog.String("version", version)))
		},
	}
	options.BindFlags(root.Flags())
	root.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file; without it $KUBECONFIG, the pod's service account, or ~/.kube/config")
	root.AddCommand(versionCommand(), healthcheckCommand())
	return root
}

// clusterConfig prefers what is named explicitly, then the pod's own account.
func clusterConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		cfg, err := rest.InClusterConfig()
		if err == nil || !errors.Is(err, rest.ErrNotInCluster) {
			return cfg, err
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("failed to find a cluster: run in one, or name one with --kubeconfig: %w", err)
	}
	return cfg, nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}

// healthcheckCommand asks the operator beside it, for an image without a shell.
func healthcheckCommand() *cobra.Command {
	var address string
	command := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running operator whether it is healthy",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return fmt.Errorf("--health-probe-bind-address must be host:port or :port: %w", err)
			}
			if host == "" {
				host = "127.0.0.1"
			}
			return checkHealth(cmd.Context(), "http://"+net.JoinHostPort(host, port)+"/healthz")
		},
	}
	command.Flags().StringVar(&address, "health-probe-bind-address", manager.DefaultHealthProbeBindAddress, "address of /healthz")
	return command
}

func checkHealth(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("failed to ask %s: %w", url, err)
	}
	client := &http.Client{Timeout: healthTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("failed to ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
