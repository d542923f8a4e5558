// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"fairlead.dev/fairlead/hack/cluster/internal/apiclient"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

// Status writes what runs to out and returns an error unless the cluster is ready.
func (c *Cluster) Status(ctx context.Context, out io.Writer) error {
	f, err := c.facts()
	if err != nil {
		if errors.Is(err, ErrNotRunning) && c.leftovers() {
			return fmt.Errorf("%w, which also removes what a dead one left", err)
		}
		return err
	}
	if err := c.processTable(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nAPI server   https://%s\nkubeconfig   %s\nlogs         %s\nprograms     %s\n",
		f.API, c.Layout.KubeconfigOutside(), c.Layout.Path("logs"), f.Bin)
	client, err := apiclient.New(c.Layout, f.API)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.Do(ctx, http.MethodGet, "/readyz", nil); err != nil {
		return err
	}
	if err := client.NodeReady(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "node         Ready")
	return nil
}

// processTable lists every recorded program.
func (c *Cluster) processTable(out io.Writer) error {
	records, err := filepath.Glob(c.Layout.Record("*"))
	if err != nil {
		return fmt.Errorf("failed to list the cluster's processes: %w", err)
	}
	slices.Sort(records)
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "PROGRAM\tPID\tSTATE\tDETAIL")
	for _, path := range records {
		record, err := process.Load(path)
		state := "running"
		if err != nil || !process.Proc.Alive(record.Identity) {
			state = "not running"
		}
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", name, record.PID, state, record.Detail)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("failed to print the table: %w", err)
	}
	return nil
}

// Kubeconfig returns the path of the administrator's kubeconfig, for the machine's own network or for the inside.
func (c *Cluster) Kubeconfig(inside bool) (string, error) {
	if _, err := c.facts(); err != nil {
		return "", err
	}
	if inside {
		return c.Layout.KubeconfigInside(), nil
	}
	return c.Layout.KubeconfigOutside(), nil
}

// Signal sends a signal to a program of the cluster by its name in the status. A program that it ends is started again.
func (c *Cluster) Signal(name string, signal syscall.Signal) error {
	if _, err := c.facts(); err != nil {
		return err
	}
	record, err := process.Load(c.Layout.Record(name))
	if err != nil {
		return fmt.Errorf("no program %q runs; `cluster status` lists what does", name)
	}
	return process.Proc.Signal(record.Identity, signal)
}
