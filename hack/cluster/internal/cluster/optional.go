// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/apiclient"
	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
	"fairlead.dev/fairlead/hack/cluster/internal/supervisor"
)

// optional is an addon that only `up --with` brings.
type optional struct {
	manifest string
	// answers returns nil once the addon works.
	answers func(c *Cluster, ctx context.Context, f facts) error
}

// optionals returns the addons by the names of their programs.
func optionals() map[string]optional {
	return map[string]optional{
		binaries.MetricsServer: {metricsManifest(), func(c *Cluster, ctx context.Context, f facts) error {
			return c.awaitAnswer(ctx, f.API, "/apis/metrics.k8s.io/v1beta1/nodes")
		}},
		// The API server carries nothing to a Service whose EndpointSlice is not made from a selector.
		binaries.Traefik: {traefikManifest(), func(c *Cluster, ctx context.Context, _ facts) error {
			return c.awaitAlive(ctx, func(ctx context.Context) error { return c.reaches(ctx, traefikAddress) })
		}},
	}
}

// With adds an addon to the running cluster and waits until it works. An addon that is there already is left as it is.
func (c *Cluster) With(ctx context.Context, name string) error {
	begin := time.Now()
	addon, ok := optionals()[name]
	if !ok {
		return fmt.Errorf("there is no addon %q; there are: %s", name, strings.Join(binaries.Addons(), ", "))
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := c.facts()
	if err != nil {
		return err
	}
	return c.steps(begin, []step{
		{name + " is known to the API server", func() error { return c.apply(ctx, f.Bin, addon.manifest) }},
		{name + " is started", func() error { return c.keep(ctx, name) }},
		{name + " answers", func() error { return addon.answers(c, ctx, f) }},
	})
}

// keep starts a process inside that keeps the addon's program running until `down`.
func (c *Cluster) keep(ctx context.Context, name string) error {
	record := c.Layout.Record(supervisor.KeeperOf(name))
	alive := func() bool {
		r, err := process.Load(record)
		return err == nil && process.Proc.Alive(r.Identity)
	}
	if alive() {
		return nil
	}
	bin, err := c.Ensure(ctx, []string{name})
	if err != nil {
		return err
	}
	enter, err := c.enterArgs()
	if err != nil {
		return err
	}
	args := slices.Concat(enter, []string{"--", c.Layout.Self(), "keep", "--bin", bin, "--addon", name})
	if err := c.startInside(ctx, supervisor.KeeperOf(name), args, nil); err != nil {
		return err
	}
	return c.await(ctx, 10*time.Second, func(context.Context) error {
		if !alive() {
			return fmt.Errorf("%s has not started, read %s", name, c.Layout.Log(supervisor.KeeperOf(name)))
		}
		return nil
	})
}

// awaitAnswer waits until the API server has an answer at path.
func (c *Cluster) awaitAnswer(ctx context.Context, api, path string) error {
	client, err := apiclient.New(c.Layout, api)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.awaitAlive(ctx, func(ctx context.Context) error {
		_, err := client.Do(ctx, http.MethodGet, path, nil)
		return err
	})
}
