// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// buffer collects output and lets a test wait for some of it.
type buffer struct {
	mu      sync.Mutex
	data    bytes.Buffer
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{})} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// wait returns what the first group of the pattern matches, once it is there.
func (b *buffer) wait(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		text, changed := b.data.String(), b.changed
		b.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no %q came in:\n%s", pattern, text)
		}
	}
}

// command runs one command line to its end.
func command(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	o, e := newBuffer(), newBuffer()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = run(ctx, streams{in: strings.NewReader(stdin), out: o, err: e}, args)
	return code, o.String(), e.String()
}

// process is a command that runs until it is stopped.
type process struct {
	out, err *buffer
	cancel   context.CancelFunc
	done     chan int
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{out: newBuffer(), err: newBuffer(), cancel: cancel, done: make(chan int, 1)}
	go func() { p.done <- run(ctx, streams{in: strings.NewReader(""), out: p.out, err: p.err}, args) }()
	return p
}

// stop is Ctrl-C; it gives the exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	p.cancel()
	select {
	case code := <-p.done:
		return code
	case <-time.After(20 * time.Second):
		t.Fatalf("the command does not end; it said:\n%s%s", p.out, p.err)
		return 0
	}
}

// write makes a file and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	rewrite(t, file, text)
	return file
}

// rewrite replaces a file as editors do.
func rewrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+"~", file); err != nil {
		t.Fatal(err)
	}
}

var (
	address  = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	revision = regexp.MustCompile(`\b[0-9a-f]{16}\b`)
	versions = regexp.MustCompile(`"version": "[^"]*"`)
	commands = regexp.MustCompile(`\S+(main|kubectl-fairlead)\.test`)
	folders  = regexp.MustCompile(`(/[\w.-]+)+/([\w-]+\.yaml)`)
	created  = regexp.MustCompile(`"createdAt": "[^"]*"`)
)

// golden compares text with a file, after the parts that differ from run to run.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = address.ReplaceAllString(got, "ADDRESS")
	got = revision.ReplaceAllString(got, "REVISION")
	got = versions.ReplaceAllString(got, `"version": "VERSION"`)
	got = commands.ReplaceAllString(got, "kubectl fairlead")
	got = strings.ReplaceAll(got, "go run ./kubectl-fairlead", "kubectl fairlead")
	got = folders.ReplaceAllString(got, "$2")
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); check it, then run with -update:\n%s", file, diff)
	}
}
