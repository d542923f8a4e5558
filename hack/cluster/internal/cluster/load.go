// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"fairlead.dev/fairlead/hack/cluster/internal/image"
)

// Load imports image archives into the cluster's node. All names are checked before the first import.
func (c *Cluster) Load(ctx context.Context, archives []string) error {
	if len(archives) == 0 {
		return errors.New("usage: cluster load ARCHIVE [ARCHIVE...]")
	}
	if _, err := c.facts(); err != nil {
		return err
	}
	all := make([][]string, len(archives))
	for i, archive := range archives {
		names, err := image.Names(archive)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := image.CheckName(name); err != nil {
				return fmt.Errorf("failed to load %q: %w", archive, err)
			}
		}
		all[i] = names
	}
	for i, archive := range archives {
		if err := c.importArchive(ctx, archive); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "loaded %s\n", strings.Join(all[i], ", "))
	}
	return nil
}

// importArchive gives one archive to containerd, in the namespace that the kubelet looks into.
func (c *Cluster) importArchive(ctx context.Context, archive string) error {
	cmd := exec.CommandContext(ctx, "ctr", "--address", c.Layout.Containerd(), "--namespace", "k8s.io", "images", "import", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to import %q: %w: %s", archive, err, strings.TrimSpace(string(out)))
	}
	return nil
}
