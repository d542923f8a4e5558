// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package binaries builds the programs of a cluster from Go modules and keeps them in a cache, each under a key made from
// everything that went into it.
package binaries

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tmpPrefix marks folders of builds that have not finished.
const tmpPrefix = ".tmp-"

// Store is the cache. All its methods may be called by several processes at once: builders wait for each other.
type Store struct {
	// Dir holds the cache's files; it is created when needed.
	Dir string
	// Source is the folder hack/cluster, which holds the build modules.
	Source string
	// Out takes the progress lines.
	Out io.Writer
	// build runs the compiler; tests replace it.
	build func(ctx context.Context, job job) error
}

// New returns the cache of this user: FAIRLEAD_CACHE, or fairlead below XDG_CACHE_HOME or ~/.cache.
func New(source string, out io.Writer) (*Store, error) {
	dir := os.Getenv("FAIRLEAD_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("failed to find a cache folder, set FAIRLEAD_CACHE to one: %w", err)
		}
		dir = filepath.Join(user, "fairlead")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("failed to resolve FAIRLEAD_CACHE %q: %w", dir, err)
	}
	s := &Store{Dir: filepath.Join(dir, "cluster"), Source: source, Out: out}
	s.build = s.compile
	return s, nil
}

// Ensure builds what is missing of the named programs and returns a folder that holds exactly these names.
func (s *Store) Ensure(ctx context.Context, names []string) (string, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return "", fmt.Errorf("failed to create the cache: %w", err)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()

	targets := map[string]string{}
	for _, g := range groups() {
		wanted := wantedOf(g, names)
		if len(wanted) == 0 {
			continue
		}
		dir, err := s.ensureGroup(ctx, g, wanted)
		if err != nil {
			return "", err
		}
		for _, name := range wanted {
			targets[name] = filepath.Join(dir, name)
		}
	}
	for _, name := range names {
		if targets[name] == "" {
			return "", fmt.Errorf("failed to find a build module for program %q", name)
		}
	}
	return s.linkFolder(targets)
}

// wantedOf returns those of names that g builds, sorted.
func wantedOf(g group, names []string) []string {
	var wanted []string
	for _, name := range names {
		if _, ok := g.packages[name]; ok {
			wanted = append(wanted, name)
		}
	}
	slices.Sort(wanted)
	return slices.Compact(wanted)
}

// ensureGroup returns the folder of g's current key, with the wanted programs in it.
func (s *Store) ensureGroup(ctx context.Context, g group, wanted []string) (string, error) {
	module := filepath.Join(s.Source, filepath.FromSlash(g.dir))
	title, ldflags := g.dir, linkerFlags("", "")
	if g.versionOf != "" {
		gomod, err := os.ReadFile(filepath.Join(module, "go.mod"))
		if err != nil {
			return "", fmt.Errorf("failed to read the build module %q: %w", g.dir, err)
		}
		version, err := requiredVersion(gomod, g.versionOf)
		if err != nil {
			return "", fmt.Errorf("%s: %w", g.dir, err)
		}
		title, ldflags = filepath.Base(g.dir)+" "+version, linkerFlags(g.stamp, version)
	}
	goVersion, err := s.goVersion(ctx, module)
	if err != nil {
		return "", err
	}
	key, err := Key(os.DirFS(module), ldflags, goVersion)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Dir, filepath.Base(g.dir)+"-"+key)
	missing := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return readable(filepath.Join(dir, name))
	})
	if len(missing) == 0 {
		return dir, nil
	}
	return dir, s.buildInto(ctx, dir, job{module: module, ldflags: ldflags, title: title, names: missing, group: g})
}

// buildInto builds in a folder of its own and moves each finished program to dir: a reader sees a whole file or none.
func (s *Store) buildInto(ctx context.Context, dir string, j job) (err error) {
	if err := s.removeUnfinished(); err != nil {
		return err
	}
	j.out, err = os.MkdirTemp(s.Dir, tmpPrefix)
	if err != nil {
		return fmt.Errorf("failed to create a folder for the build: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(j.out)) }()
	if err := s.build(ctx, j); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("failed to create %q: %w", dir, err)
	}
	for _, name := range j.names {
		if err := os.Rename(filepath.Join(j.out, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("failed to put %s into the cache: %w", name, err)
		}
	}
	return nil
}

// removeUnfinished deletes what killed builds left. The lock is held, so no living build owns such a folder.
func (s *Store) removeUnfinished() error {
	left, err := filepath.Glob(filepath.Join(s.Dir, tmpPrefix+"*"))
	if err != nil {
		return fmt.Errorf("failed to list unfinished builds: %w", err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("failed to remove the unfinished build %q: %w", path, err)
		}
	}
	return nil
}

// linkFolder returns a folder with one symbolic link per program. Its name is made from the links, so it never changes.
func (s *Store) linkFolder(targets map[string]string) (string, error) {
	names := make([]string, 0, len(targets))
	for name := range targets {
		names = append(names, name)
	}
	slices.Sort(names)
	lines := make([]string, 0, len(names))
	for _, name := range names {
		lines = append(lines, name+" "+targets[name])
	}
	dir := filepath.Join(s.Dir, "bin-"+shortSum(strings.Join(lines, "\n")))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("failed to create %q: %w", dir, err)
	}
	for _, name := range names {
		if err := replaceLink(targets[name], filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// replaceLink makes path a link to target in one step.
func replaceLink(target, path string) error {
	if current, err := os.Readlink(path); err == nil && current == target {
		return nil
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("failed to remove %q: %w", tmp, err)
	}
	if err := os.Symlink(target, tmp); err != nil {
		return fmt.Errorf("failed to link %q: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("failed to link %q: %w", path, err)
	}
	return nil
}

// lock waits until no other process builds. The kernel drops the lock of a process that dies.
func (s *Store) lock(ctx context.Context) (func(), error) {
	file, err := os.OpenFile(filepath.Join(s.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("failed to open the cache's lock: %w", err)
	}
	for said := false; ; said = true {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("failed to lock %q: %w", file.Name(), err), file.Close())
		}
		if !said {
			fmt.Fprintln(s.Out, "waiting for another build to finish")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// goVersion asks the toolchain that module selects for its version.
func (s *Store) goVersion(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH")
	cmd.Dir = module
	cmd.Env = buildEnv()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("failed to ask Go for its version, install Go 1.26 or newer: %w", withStderr(err))
	}
	return strings.Join(strings.Fields(string(out)), " "), nil
}

// withStderr adds what a failed command wrote to its error.
func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		text := strings.TrimSpace(string(exit.Stderr))
		return fmt.Errorf("%w: %s", err, cmp.Or(text, "no message"))
	}
	return err
}
