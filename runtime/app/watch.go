// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

const (
	// settleEvents is how long files must be quiet before they are read: an
	// editor or the kubelet makes several changes in a row.
	settleEvents = 50 * time.Millisecond
	// pollPeriod is how often files are read without being told to. Watches miss
	// changes on some file systems, and of folders that appear later.
	pollPeriod = 10 * time.Second
)

// watch applies changes of the configuration and the secrets until ctx ends.
// Folders are watched, not files: the kubelet swaps a symbolic link beside
// them, and editors rename.
func (s *server) watch(ctx context.Context, halt func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		halt()
		return err
	}
	defer watcher.Close()
	poll := time.NewTicker(pollPeriod)
	defer poll.Stop()
	quiet := time.NewTimer(0) // Files may have changed since they were read.
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet.Reset(settleEvents)
		case err := <-watcher.Errors:
			s.logger.WarnContext(ctx, "Failed to watch files, polling goes on", "error", err)
			quiet.Reset(settleEvents)
		case <-poll.C:
			quiet.Reset(0)
		case <-quiet.C:
			// Before the files are read, so that no later change is missed.
			s.watchFolders(ctx, watcher)
			s.reload(ctx)
			// The new configuration may name other secrets.
			s.watchFolders(ctx, watcher)
		}
	}
}

// watchFolders adds what is not watched yet. Adding twice has no effect.
func (s *server) watchFolders(ctx context.Context, watcher *fsnotify.Watcher) {
	folders := []string{filepath.Dir(s.options.ConfigFile)}
	if s.options.SecretsDir != "" {
		folders = append(folders, s.options.SecretsDir)
	}
	if dir := s.keys.Dir(); dir != "" {
		folders = append(folders, dir)
	}
	for _, folder := range folders {
		if err := watcher.Add(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.logger.WarnContext(ctx, "Failed to watch a folder, polling goes on", "folder", folder, "error", err)
		}
	}
}

// reload applies what has changed. It is called by watch only.
func (s *server) reload(ctx context.Context) {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	s.reportKeys(ctx, s.keys.Reload())
	sum, program, err := read(s.options, s.options.ConfigFile)
	if sum == s.sum {
		// A file that could not be read has no sum; one that was refused before
		// need not be refused again.
		return
	}
	s.sum = sum
	if err == nil {
		next, buildErr := catalog.Build(program, s.catalog, s.deps())
		if err = buildErr; err == nil {
			s.catalog = next
		}
	}
	if err != nil {
		s.refused(ctx, err)
		s.swapped(err)
		return
	}
	c := program.Server
	s.limits.Resize(limitConfig(c))
	s.sessions.Resize(sessionOptions(c))
	s.core.Configure(settings(c))
	s.handler.Configure(s.access(c))
	s.reportKeys(ctx, s.keys.Apply(c.Auth))
	changed := s.engine.Swap(s.revision(c, s.catalog))
	s.configured(ctx, c, nil)
	if changed {
		s.sessions.Mark(transport.ListChanged)
		s.stateless.Mark(transport.ListChanged)
	}
	s.logger.InfoContext(ctx, "Applied a configuration", "revision", c.Revision, "tools", s.engine.Tools(), "listChanged", changed)
	s.swapped(nil)
}

func (s *server) swapped(err error) {
	if s.options.OnSwap != nil {
		s.options.OnSwap(s.engine.Revision(), err)
	}
}
