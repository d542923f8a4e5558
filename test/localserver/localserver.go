// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package localserver serves a configuration on loopback for tests that cross
// rooms.
package localserver

import (
	"context"
	"log/slog"
	"net"
	"testing"

	"fairlead.dev/fairlead/runtime/app"
)

// Start serves a configuration file until the test ends and returns the address
// for clients. The server may call backends on loopback; it ends without an
// error or the test fails.
func Start(t *testing.T, configFile, secretsDir string) string {
	t.Helper()
	ready := make(chan string, 1)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		done <- app.Run(ctx, app.Options{
			ConfigFile: configFile, SecretsDir: secretsDir,
			Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AllowLoopback: true,
			Logger:  slog.New(slog.DiscardHandler),
			OnReady: func(clients, _ net.Addr) { ready <- clients.String() },
		})
	}()
	select {
	case address := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the server ended with %v", err)
			}
		})
		return address
	case err := <-done:
		cancel()
		t.Fatalf("the server did not start: %v", err)
		return ""
	}
}
