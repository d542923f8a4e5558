// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/apiclient"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// dialReady is ready when something listens at address.
func dialReady(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return fmt.Errorf("failed to reach %s: %w", address, err)
		}
		return conn.Close()
	}
}

// apiReady is ready when the API server says so.
func apiReady(l layout.Layout) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := apiclient.New(l, layout.APIInside())
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = client.Do(ctx, http.MethodGet, "/readyz", nil)
		return err
	}
}
