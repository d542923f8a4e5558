// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"fmt"
	"io"
	"os"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

// KeeperOf names the process that keeps an addon running, in logs and records.
func KeeperOf(addon string) string { return "keeper-" + addon }

// Keep runs one program beside those of Run and starts it again each time it ends, until ctx ends.
func Keep(ctx context.Context, l layout.Layout, p node.Program, out io.Writer) error {
	id, err := process.Proc.Identify(os.Getpid())
	if err != nil {
		return fmt.Errorf("failed to identify the keeper of %s: %w", p.Name, err)
	}
	if err := process.Save(l.Record(KeeperOf(p.Name)), process.Record{Identity: id}); err != nil {
		return err
	}
	c := start(context.WithoutCancel(ctx), l, p, out)
	<-ctx.Done()
	c.stop()
	return nil
}
