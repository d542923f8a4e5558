// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// progressEvery is how often a running build says that it still runs.
const progressEvery = 30 * time.Second

// job is one run of the compiler.
type job struct {
	module  string   // folder of the go.mod
	ldflags string   // for the linker
	title   string   // for people
	names   []string // programs to build
	out     string   // folder that takes them
	group   group
}

// compile runs `go build` for a job's programs, all at once so that they share the packages that are compiled.
func (s *Store) compile(ctx context.Context, j job) error {
	fmt.Fprintf(s.Out, "building %s (%s): up to %s on 2 idle cores, less when Go's own caches are warm\n",
		j.title, strings.Join(j.names, ", "), j.group.cold)
	begin := time.Now()
	for _, chunk := range buildArgs(j) {
		cmd := exec.CommandContext(ctx, "go", chunk...)
		cmd.Dir, cmd.Env = j.module, buildEnv()
		var log strings.Builder
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 5 * time.Second
		if err := s.runWithProgress(cmd, j.title, begin); err != nil {
			return fmt.Errorf("failed to build %s: %w\n%s", j.title, err, log.String())
		}
	}
	fmt.Fprintf(s.Out, "built %s in %s\n", j.title, time.Since(begin).Round(time.Second))
	return nil
}

// buildArgs returns the arguments of each `go build`. Packages of one folder named main take the folder's name, so a
// package whose folder has another name than the program gets a run of its own.
func buildArgs(j job) [][]string {
	flags := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", j.ldflags, "-o"}
	together := append(append([]string{}, flags...), j.out+"/")
	var all [][]string
	shared := false
	for _, name := range j.names {
		path := j.group.packages[name]
		if strings.HasSuffix(path, "/"+name) {
			together = append(together, path)
			shared = true
			continue
		}
		all = append(all, append(append([]string{}, flags...), j.out+"/"+name, path))
	}
	if shared {
		all = append(all, together)
	}
	return all
}

// runWithProgress runs cmd and says every half minute that it still runs.
func (s *Store) runWithProgress(cmd *exec.Cmd, title string, begin time.Time) error {
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("failed to start go: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			fmt.Fprintf(s.Out, "  still building %s (%s)\n", title, time.Since(begin).Round(time.Second))
		}
	}
}

// buildEnv is the environment of the compiler: static programs, and nothing from a workspace or from GOFLAGS that would
// change what is built without changing the key.
func buildEnv() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
}

// shortSum is a name made from text.
func shortSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:keyLength]
}
