// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package selftest checks a whole cluster through its command line: everything that a demo or a test relies on works, a
// killed cluster is replaced, and the removed one leaves the machine as it was.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/cgroup"
	"fairlead.dev/fairlead/hack/cluster/internal/image"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// probeImage is the image of the test's pods.
const probeImage = "docker.io/local/cluster-probe:1"

// attempts bounds how often a question is asked until it is answered; they are half a second apart.
const attempts = 60

// Test is one run.
type Test struct {
	// Self is this program's file.
	Self string
	// Bin is the folder of all programs, the probe included.
	Bin string
	Out io.Writer

	dir string // for files of the run
}

// Run refuses to touch a machine that has a cluster.
func (t *Test) Run(ctx context.Context) (err error) {
	if _, err := os.Lstat(layout.DefaultRoot); err == nil {
		return errors.New("a cluster is on this machine: run `cluster down` first, the self-test removes it otherwise")
	}
	t.dir, err = os.MkdirTemp("", "fairlead-selftest-")
	if err != nil {
		return fmt.Errorf("failed to create a folder for the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	keep := filepath.Dir(t.Bin)
	before, err := take(ctx, keep)
	if err != nil {
		return err
	}
	failure := t.stories(ctx)
	removal := t.all(ctx, []story{
		{"down removes the cluster", func(ctx context.Context) error { return t.cluster(ctx, "down") }},
		{"down again finds nothing", func(ctx context.Context) error { return t.wantOutput(ctx, "nothing to remove", "down") }},
		{"the machine is as before", func(ctx context.Context) error { return t.compare(ctx, before, keep) }},
	})
	return errors.Join(failure, removal)
}

// story is one checked behaviour.
type story struct {
	name string
	run  func(ctx context.Context) error
}

// stories checks everything that works while the cluster is up.
func (t *Test) stories(ctx context.Context) error {
	return t.all(ctx, []story{
		{"up starts a cluster", func(ctx context.Context) error { return t.cluster(ctx, "up") }},
		{"up again says that it runs", func(ctx context.Context) error { return t.wantOutput(ctx, "already runs", "up") }},
		{"an addon joins the running cluster", func(ctx context.Context) error {
			return t.wantOutput(ctx, binaries.MetricsServer+" answers", "up", "--with", binaries.MetricsServer)
		}},
		{"an ingress controller joins it too", func(ctx context.Context) error {
			return t.wantOutput(ctx, binaries.Traefik+" answers", "up", "--with", binaries.Traefik)
		}},
		{"status is good", func(ctx context.Context) error { return t.wantOutput(ctx, "Ready", "status") }},
		{"load refuses a short image name", t.refuseShortName},
		{"load imports an image", t.load},
		{"two restricted pods become Ready", t.deploy},
		{"both replicas answer at the ClusterIP", t.askClusterIP},
		{"a command inside resolves the Service's name", t.askByName},
		{"a pod resolves and reaches the Service", t.askFromPod},
		{"a name outside does not exist", t.askOutside},
		{"logs, exec and port-forward work", t.kubectlVerbs},
		{"a detached forwarder carries a name's port", t.forward},
		{"the addon measures the node", func(ctx context.Context) error {
			return eventually(ctx, func(ctx context.Context) error {
				return t.wantOutput(ctx, layout.NodeName, "kubectl", "--", "top", "nodes")
			})
		}},
		{"a killed program is started again", t.killOne},
		{"up replaces a cluster whose processes were all killed", t.killAll},
	})
}

// all runs stories in order and stops at the first failure.
func (t *Test) all(ctx context.Context, stories []story) error {
	for _, s := range stories {
		begin := time.Now()
		if err := s.run(ctx); err != nil {
			fmt.Fprintf(t.Out, "FAIL  %s\n", s.name)
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(t.Out, "ok    %s (%.1fs)\n", s.name, time.Since(begin).Seconds())
	}
	return nil
}

// output runs a command of this program and returns everything that it wrote.
func (t *Test) output(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, t.Self, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("failed to run `cluster %s`: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// cluster runs a command of this program.
func (t *Test) cluster(ctx context.Context, args ...string) error {
	_, err := t.output(ctx, args...)
	return err
}

// wantOutput runs a command of this program, whose output must contain want.
func (t *Test) wantOutput(ctx context.Context, want string, args ...string) error {
	got, err := t.output(ctx, args...)
	if err == nil && !strings.Contains(got, want) {
		return fmt.Errorf("`cluster %s` wrote %q, want %q in it", strings.Join(args, " "), got, want)
	}
	return err
}

// eventually asks until there is no error.
func eventually(ctx context.Context, ask func(ctx context.Context) error) error {
	var err error
	for range attempts {
		if err = ask(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return err
}

// refuseShortName loads an archive whose image the kubelet would never find.
func (t *Test) refuseShortName(ctx context.Context) error {
	archive, err := image.Archive(probeImage, "/probe", []byte("no program"))
	if err != nil {
		return err
	}
	short := strings.ReplaceAll(string(archive), probeImage, "short:1"+strings.Repeat(" ", len(probeImage)-len("short:1")))
	path := filepath.Join(t.dir, "short.tar")
	if err := os.WriteFile(path, []byte(short), 0o600); err != nil {
		return fmt.Errorf("failed to write an archive: %w", err)
	}
	if _, err := t.output(ctx, "load", path); err == nil || !strings.Contains(err.Error(), "docker.io/local/short") {
		return fmt.Errorf("got %w, want an error that names docker.io/local/short", err)
	}
	return nil
}

// load imports the probe's image.
func (t *Test) load(ctx context.Context) error {
	path := filepath.Join(t.dir, "probe.tar")
	if err := image.WriteArchive(probeImage, "/probe", filepath.Join(t.Bin, binaries.Probe), path); err != nil {
		return err
	}
	return t.wantOutput(ctx, probeImage, "load", path)
}

// killOne kills the scheduler, which the supervisor must start again.
func (t *Test) killOne(ctx context.Context) error {
	pids, err := t.output(ctx, "exec", "--", "pidof", binaries.Scheduler)
	if err != nil {
		return err
	}
	if err := t.cluster(ctx, "signal", binaries.Scheduler, "kill"); err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		now, err := t.output(ctx, "exec", "--", "pidof", binaries.Scheduler)
		if err == nil && now == pids {
			return fmt.Errorf("process %s is still there", pids)
		}
		return err
	})
}

// killAll kills every process of the cluster, its containers included, and starts it again.
func (t *Test) killAll(ctx context.Context) error {
	group, err := cgroup.Open(layout.Cgroup)
	if err != nil {
		return err
	}
	killing, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := group.Kill(killing); err != nil {
		return err
	}
	if err := t.wantOutput(ctx, "what an earlier cluster left is removed", "up"); err != nil {
		return err
	}
	return t.wantOutput(ctx, "Ready", "status")
}

// compare reports what the cluster left.
func (t *Test) compare(ctx context.Context, before snapshot, keep string) error {
	return eventually(ctx, func(ctx context.Context) error {
		after, err := take(ctx, keep)
		if err != nil {
			return err
		}
		if left := after.added(before); len(left) > 0 {
			return fmt.Errorf("the cluster left:\n  %s", strings.Join(left, "\n  "))
		}
		if lost := before.added(after); len(lost) > 0 {
			return fmt.Errorf("the cluster removed what was there before:\n  %s", strings.Join(lost, "\n  "))
		}
		return nil
	})
}
