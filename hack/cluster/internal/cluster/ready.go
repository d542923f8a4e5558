// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/apiclient"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/supervisor"
)

const (
	// pollInterval is the pause between two questions.
	pollInterval = 100 * time.Millisecond
	// readyTimeout bounds each wait; on an idle machine all of them together take about ten seconds.
	readyTimeout = 3 * time.Minute
)

// await calls ask until it returns nil, for at most timeout, and then returns its last error.
func (c *Cluster) await(ctx context.Context, timeout time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s: %w", timeout, err)
		case <-time.After(pollInterval):
		}
	}
}

// awaitAPI waits for the API server, and stops waiting if the supervisor dies.
func (c *Cluster) awaitAPI(ctx context.Context, api string) error {
	client, err := apiclient.New(c.Layout, api)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.awaitAlive(ctx, func(ctx context.Context) error {
		_, err := client.Do(ctx, http.MethodGet, "/readyz", nil)
		return err
	})
}

// awaitReady waits for everything that a first pod needs.
func (c *Cluster) awaitReady(ctx context.Context, begin time.Time, f facts) error {
	client, err := apiclient.New(c.Layout, f.API)
	if err != nil {
		return err
	}
	defer client.Close()
	const account = "/api/v1/namespaces/default/serviceaccounts/default"
	steps := []struct {
		what string
		ask  func(ctx context.Context) error
	}{
		{"API server is ready", func(ctx context.Context) error {
			_, err := client.Do(ctx, http.MethodGet, "/readyz", nil)
			return err
		}},
		{"node is Ready", client.NodeReady},
		{"pods can be made", func(ctx context.Context) error {
			_, err := client.Do(ctx, http.MethodGet, account, nil)
			return err
		}},
		{"names are answered at " + layout.DNSServiceIP, c.resolves},
	}
	for _, s := range steps {
		if err := c.do(begin, s.what, func() error { return c.awaitAlive(ctx, s.ask) }); err != nil {
			return err
		}
	}
	return nil
}

// awaitAlive waits for ask, as long as the supervisor lives.
func (c *Cluster) awaitAlive(ctx context.Context, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := c.await(ctx, readyTimeout, func(ctx context.Context) error {
		if _, err := c.supervisor(); err != nil {
			cancel(ErrNotRunning)
		}
		return ask(ctx)
	})
	if err != nil && errors.Is(context.Cause(ctx), ErrNotRunning) {
		return fmt.Errorf("the supervisor ended, read %s: %w", c.Layout.Log(supervisor.Name), err)
	}
	return err
}

// reaches says whether something accepts connections at an address inside, through kube-proxy.
func (c *Cluster) reaches(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", "--net="+layout.NetnsPath, c.Layout.Self(), "reach", address).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nothing answers at %s: %w: %s", address, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// resolves asks the cluster's name server for the API server's name, through kube-proxy.
func (c *Cluster) resolves(ctx context.Context) error {
	// A question from before kube-proxy's first rules is never answered: ask again soon.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	name := "kubernetes.default.svc." + layout.Domain
	out, err := exec.CommandContext(ctx, "nsenter", "--net="+layout.NetnsPath, c.Layout.Self(), "resolve", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the name server does not answer for %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	if got := strings.TrimSpace(string(out)); got != layout.APIServiceIP {
		return fmt.Errorf("the name server says %s is at %q instead of %s", name, got, layout.APIServiceIP)
	}
	return nil
}
