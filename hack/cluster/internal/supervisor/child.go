// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

const (
	// firstPause and longestPause bound the wait before a program that ended is started again.
	firstPause   = time.Second
	longestPause = 30 * time.Second
	// stable is how long a program must run for its next pause to be the first again.
	stable = time.Minute
	// grace is how long a program may take to end after SIGTERM.
	grace = 5 * time.Second
	// readyTimeout bounds the wait for a program's first answer, on a machine that is busy.
	readyTimeout = 2 * time.Minute
	// readyInterval is the pause between two questions.
	readyInterval = 100 * time.Millisecond
)

// child keeps one program running.
type child struct {
	program node.Program
	layout  layout.Layout
	out     io.Writer
	cancel  context.CancelFunc
	done    chan struct{} // closed when the program has ended for good
}

// start runs the program until stop is called.
func start(ctx context.Context, l layout.Layout, p node.Program, out io.Writer) *child {
	ctx, cancel := context.WithCancel(ctx)
	c := &child{program: p, layout: l, out: out, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.keep(ctx)
	}()
	return c
}

// stop ends the program and waits for it.
func (c *child) stop() {
	c.cancel()
	<-c.done
}

// keep starts the program again each time it ends.
func (c *child) keep(ctx context.Context) {
	pause := firstPause
	for {
		begin := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > stable {
			pause = firstPause
		}
		fmt.Fprintf(c.out, "%s %s ended, starting it again in %s: %v\n",
			time.Now().Format(time.TimeOnly), c.program.Name, pause, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// once runs the program to its end.
func (c *child) once(ctx context.Context) error {
	path := c.layout.Log(c.program.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("failed to create the log folder: %w", err)
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("failed to open the log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, c.program.Path, c.program.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = c.layout.Root
	cmd.Env = append(os.Environ(), c.program.Env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("failed to start: %w", err)
	}
	recordErr := c.record(cmd.Process.Pid)
	return errors.Join(recordErr, cmd.Wait())
}

// record notes which process runs the program.
func (c *child) record(pid int) error {
	id, err := process.Proc.Identify(pid)
	if errors.Is(err, process.ErrGone) {
		return nil // it has ended already, which Wait reports
	}
	if err != nil {
		return err
	}
	return process.Save(c.layout.Record(c.program.Name), process.Record{Identity: id})
}

// awaitReady returns when the program answers.
func (c *child) awaitReady(ctx context.Context) error {
	if c.program.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := c.program.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready, read %s: %w", c.program.Name, c.layout.Log(c.program.Name), err)
		case <-time.After(readyInterval):
		}
	}
}
