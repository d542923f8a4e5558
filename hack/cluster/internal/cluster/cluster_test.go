// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
	"fairlead.dev/fairlead/hack/cluster/internal/supervisor"
)

func TestMissingPackages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		present []string
		want    []string
	}{
		{
			"a new machine",
			[]string{"nsenter"},
			[]string{"containerd", "containernetworking-plugins", "iproute2", "nftables", "runc"},
		},
		{"one plugin is missing", []string{
			"ip", "nsenter", "nft", "runc", "containerd", "ctr", "/usr/lib/cni/ptp",
		}, []string{"containernetworking-plugins"}},
		{"all", []string{
			"ip", "nsenter", "nft", "runc", "containerd", "ctr", "/usr/lib/cni/ptp", "/usr/lib/cni/host-local",
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			look := func(program string) (string, error) {
				if slices.Contains(test.present, program) {
					return program, nil
				}
				return "", os.ErrNotExist
			}
			if diff := cmp.Diff(test.want, missingPackages(needs(), look)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckLoopback(t *testing.T) {
	t.Parallel()
	tests := []struct {
		listen string
		want   string
	}{
		{"127.0.0.1:8080", ""},
		{"127.0.0.2:0", ""},
		{"[::1]:8080", ""},
		{"0.0.0.0:8080", "not on loopback"},
		{":8080", "not on loopback"},
		{"192.0.2.1:8080", "not on loopback"},
		{"example.com:8080", "not on loopback"},
		{"8080", "not ADDRESS:PORT"},
		{"", "not ADDRESS:PORT"},
	}
	c := &Cluster{}
	for _, test := range tests {
		t.Run(test.listen, func(t *testing.T) {
			t.Parallel()
			err := c.checkLoopback(test.listen)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestDNSManifestHasTheClustersAddresses(t *testing.T) {
	t.Parallel()
	got := dnsManifest()
	for _, want := range []string{
		"clusterIP: " + layout.DNSServiceIP, "addresses: [" + layout.NodeIP + "]", "kind: User, name: system:coredns",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "$") {
		t.Errorf("a placeholder is left in:\n%s", got)
	}
}

func TestCommandsWithoutACluster(t *testing.T) {
	t.Parallel()
	dead := process.Record{Identity: process.Identity{PID: os.Getpid(), Start: 1, Boot: "another"}}
	tests := []struct {
		name string
		run  func(c *Cluster) error
	}{
		{"load", func(c *Cluster) error { return c.Load(t.Context(), []string{"image.tar"}) }},
		{"exec", func(c *Cluster) error { return c.Exec([]string{"true"}) }},
		{"kubectl", func(c *Cluster) error { return c.Kubectl(nil) }},
		{"status", func(c *Cluster) error { return c.Status(t.Context(), io.Discard) }},
		{"kubeconfig", func(c *Cluster) error { _, err := c.Kubeconfig(false); return err }},
		{"forward", func(c *Cluster) error { return c.Forward(t.Context(), "127.0.0.1:1", "a:1", true) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := &Cluster{Layout: layout.Layout{Root: t.TempDir()}, Out: io.Discard}
			if err := test.run(c); !errors.Is(err, ErrNotRunning) {
				t.Errorf("got error %v without a record, want %v", err, ErrNotRunning)
			}
			// Our own id stands in for a process that got the supervisor's id after its death.
			if err := process.Save(c.Layout.Record(supervisor.Name), dead); err != nil {
				t.Fatal(err)
			}
			if err := c.writeFacts(facts{API: "127.0.0.1:1"}); err != nil {
				t.Fatal(err)
			}
			if err := test.run(c); !errors.Is(err, ErrNotRunning) {
				t.Errorf("got error %v with a reused id, want %v", err, ErrNotRunning)
			}
		})
	}
}

func TestAwaitGivesUpWithTheLastReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Cluster{Out: io.Discard}
		asked := 0
		reason := errors.New("not yet")
		err := c.await(t.Context(), time.Minute, func(context.Context) error {
			asked++
			return reason
		})
		if !errors.Is(err, reason) || !strings.Contains(err.Error(), "1m0s") {
			t.Errorf("got error %v, want the reason and the time", err)
		}
		if want := int(time.Minute / pollInterval); asked < want-1 || asked > want+1 {
			t.Errorf("asked %d times, want about %d", asked, want)
		}
	})
}

func TestStepsStopAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &Cluster{Out: &out}
	failure := errors.New("no")
	err := c.steps(time.Now(), []step{
		{"first is done", func() error { return nil }},
		{"second is done", func() error { return failure }},
		{"third is done", func() error { t.Error("a part ran after a failed one"); return nil }},
	})
	if !errors.Is(err, failure) {
		t.Errorf("got error %v, want %v", err, failure)
	}
	if got := out.String(); !strings.Contains(got, "first is done") || strings.Contains(got, "second") {
		t.Errorf("got the report %q, want only the first part", got)
	}
}
