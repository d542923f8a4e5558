// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleEvents is how long files must be quiet before they are read: an
	// editor makes several changes in a row.
	settleEvents = 50 * time.Millisecond
	// maxSettle bounds how long a folder that is never quiet is waited for.
	maxSettle = 500 * time.Millisecond
	// pollPeriod is how often files are read without being told to. Watches miss
	// changes on some file systems, and of folders that appear later.
	pollPeriod = 10 * time.Second
	// dataLink is the link that the kubelet turns to a new folder once all files
	// in it are written: from then on they are whole.
	dataLink = "..data"
	// maxFolders bounds the folders of Secrets that are watched; others are only
	// polled.
	maxFolders = 256
)

// watch applies changes of the configuration, the secrets and the session keys
// until ctx ends. Folders are watched, not files: the kubelet swaps a symbolic
// link beside them, and editors rename.
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
	var latest time.Time // when files are read at the latest; zero if nothing happened
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-watcher.Events:
			if filepath.Base(event.Name) == dataLink && event.Has(fsnotify.Create) {
				s.follow(ctx, watcher)
			}
			// The kubelet links the names of new files after that.
			if latest.IsZero() {
				latest = time.Now().Add(maxSettle)
			}
			quiet.Reset(min(settleEvents, time.Until(latest)))
		case err := <-watcher.Errors:
			s.logger.WarnContext(ctx, "Failed to watch files, polling goes on", "error", err)
			quiet.Reset(settleEvents)
		case <-poll.C:
			quiet.Reset(0)
		case <-quiet.C:
			latest = time.Time{}
			s.follow(ctx, watcher)
		}
	}
}

// follow applies what has changed.
func (s *server) follow(ctx context.Context, watcher *fsnotify.Watcher) {
	// Before the files are read, so that no later change is missed.
	for _, folder := range s.folders() {
		// Adding twice has no effect.
		if err := watcher.Add(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.logger.WarnContext(ctx, "Failed to watch a folder, polling goes on", "folder", folder, "error", err)
		}
	}
	s.reload(ctx)
}

// folders are those whose changes matter: of the configuration, the session keys
// and every Secret that is mounted, whichever of them a tool or a caller needs
// now.
func (s *server) folders() []string {
	folders := []string{filepath.Dir(s.options.ConfigFile)}
	if dir := s.options.SessionKeysDir; dir != "" {
		folders = append(folders, dir)
	}
	if s.options.SecretsDir == "" {
		return folders
	}
	folders = append(folders, s.options.SecretsDir)
	dir, err := os.Open(s.options.SecretsDir)
	if err != nil {
		return folders // It may be missing.
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxFolders)
	if err != nil && !errors.Is(err, io.EOF) {
		return folders
	}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(s.options.SecretsDir, e.Name()))
		}
	}
	return folders
}
