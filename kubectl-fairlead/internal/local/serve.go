// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sync/errgroup"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/admission"
	"fairlead.dev/fairlead/runtime/app"
	"fairlead.dev/fairlead/runtime/config"
)

// quiet is how long a file must be left alone before it is read: editors write
// it in several steps.
const quiet = 100 * time.Millisecond

// Options say what to serve and whom to tell.
type Options struct {
	// File is the manifest; Name chooses among several MCPServers in it.
	File, Name string
	// Listen and AdminListen are addresses with a port.
	Listen, AdminListen string
	// Version is this program's.
	Version string
	// Logger takes the runtime's logs.
	Logger *slog.Logger
	// OnReady is called once, when clients can connect.
	OnReady func(Ready)
	// OnEdit is called for each edit of the manifest.
	OnEdit func(Edit)
}

// Ready is what serves.
type Ready struct {
	Server        *fairleadv1alpha1.MCPServer
	Program       *config.Program
	Revision      string
	Listen, Admin net.Addr
	// Warnings are about what the manifest leaves out.
	Warnings []string
}

// Edit is what became of an edit. With an Err, which is a *RefusedError for a
// manifest that cannot be served, everything stays as it was.
type Edit struct {
	Program *config.Program
	// Before is what was served until now.
	Before   *config.Program
	Revision string
	// OldSpec and NewSpec are the specs before and after; equal when only
	// Secrets changed.
	OldSpec, NewSpec *fairleadv1alpha1.MCPServerSpec
	// Secrets are the names of the Secrets and ConfigMaps whose contents
	// changed, sorted.
	Secrets  []string
	Warnings []string
	Err      error
}

// Serve serves until ctx ends.
func Serve(ctx context.Context, o Options) error {
	judge, err := admission.New()
	if err != nil {
		return err
	}
	s := &source{file: o.File, name: o.Name, listen: o.Listen, judge: judge}
	first, err := s.load(ctx)
	if err != nil {
		return err
	}
	// One server is served until the end, whatever else comes into the file.
	s.name = first.server.Name
	files, err := newFolder()
	if err != nil {
		return err
	}
	defer files.remove()
	if err := files.write(first.encoded, first.secrets); err != nil {
		return err
	}
	watcher, err := watch(o.File)
	if err != nil {
		return err
	}
	defer watcher.Close()

	f := &follower{options: o, source: s, files: files, current: first, swaps: make(chan swap, 16)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return app.Run(ctx, app.Options{
			ConfigFile: files.config(), SecretsDir: files.secrets(), Listen: o.Listen, AdminListen: o.AdminListen,
			Drain: leave(), AllowLoopback: true, Trace: true, Version: o.Version, Logger: o.Logger,
			OnReady: func(listen, admin net.Addr) {
				o.OnReady(Ready{
					Server: first.server, Program: first.program, Revision: first.revision,
					Listen: listen, Admin: admin, Warnings: first.warnings,
				})
			},
			OnSwap: f.swapped,
		})
	})
	group.Go(func() error { return f.follow(ctx, watcher) })
	return group.Wait()
}

// leave is quick here: no endpoints have to catch up, and somebody waits for
// the prompt. It is no part of the configuration, whose revision is the same as
// that of lint.
func leave() *app.Drain {
	return &app.Drain{Settle: time.Millisecond, Window: time.Second, CallTimeout: 2 * time.Second}
}

// watch watches the folder of the file, since editors replace files by others.
func watch(file string) (*fsnotify.Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("failed to watch files: %w", err)
	}
	if err := watcher.Add(filepath.Dir(file)); err != nil {
		_ = watcher.Close()
		return nil, fmt.Errorf("failed to watch %q: %w", filepath.Dir(file), err)
	}
	return watcher, nil
}

// swap is what the runtime says about a new configuration.
type swap struct {
	revision string
	err      error
}

// follower applies edits of the manifest.
type follower struct {
	options Options
	source  *source
	files   folder

	current *loaded // what is served
	pending *loaded // what was written and not yet confirmed
	broken  string  // the last refusal, so that it is not repeated
	swaps   chan swap
}

// swapped is called by the runtime, which must not wait for us.
func (f *follower) swapped(revision string, err error) {
	select {
	case f.swaps <- swap{revision, err}:
	default: // follow lags far behind: the next swap tells it more.
	}
}

// follow runs until ctx ends.
func (f *follower) follow(ctx context.Context, watcher *fsnotify.Watcher) error {
	settled := time.NewTimer(0)
	if !settled.Stop() {
		<-settled.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-watcher.Events:
			if !ok {
				return nil
			}
			if filepath.Base(event.Name) == filepath.Base(f.options.File) && !event.Has(fsnotify.Chmod) {
				settled.Reset(quiet)
			}
		case err, ok := <-watcher.Errors:
			if !ok {
				return nil
			}
			f.options.Logger.WarnContext(ctx, "Failed to watch the manifest", "error", err)
		case <-settled.C:
			f.edited(ctx)
		case s := <-f.swaps:
			f.confirm(s)
		}
	}
}

// edited reads the manifest again.
func (f *follower) edited(ctx context.Context) {
	next, err := f.source.load(ctx)
	if err == nil {
		err = f.files.write(next.encoded, next.secrets)
	}
	if err != nil {
		if err.Error() != f.broken {
			f.broken = err.Error()
			f.options.OnEdit(f.edit(f.current, err))
		}
		return
	}
	mended := f.broken != ""
	f.broken = ""
	edit := f.edit(next, nil)
	switch {
	case next.revision != f.current.revision:
		f.pending = next
	case mended || len(edit.Secrets) > 0:
		// The runtime follows Secrets by itself; or it is back to what is served.
		f.current = next
		f.options.OnEdit(edit)
	}
}

// edit describes the way from what is served to next.
func (f *follower) edit(next *loaded, err error) Edit {
	return Edit{
		Program: next.program, Before: f.current.program, Revision: next.revision,
		OldSpec: &f.current.server.Spec, NewSpec: &next.server.Spec,
		Secrets: changedFolders(f.current.secrets, next.secrets), Warnings: next.warnings, Err: err,
	}
}

// changedFolders are the names whose values differ.
func changedFolders(before, after map[string]map[string][]byte) []string {
	all := maps.Clone(before)
	maps.Copy(all, after)
	var changed []string
	for name := range all {
		old, had := before[name]
		now, has := after[name]
		if had != has || !maps.EqualFunc(old, now, bytes.Equal) {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

// confirm reports what the runtime did with the last edit.
func (f *follower) confirm(s swap) {
	p := f.pending
	switch {
	case p == nil:
	case s.err != nil:
		f.pending = nil
		f.options.OnEdit(f.edit(f.current, s.err))
	case s.revision == p.revision:
		edit := f.edit(p, nil)
		f.current, f.pending = p, nil
		f.options.OnEdit(edit)
	}
}
