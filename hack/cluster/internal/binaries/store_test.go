// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compiler stands in for Go: it writes the names of the programs into their files.
type compiler struct {
	mu   sync.Mutex
	runs [][]string
	// fail is returned after the first program is written.
	fail error
}

func (c *compiler) build(_ context.Context, j job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = append(c.runs, j.names)
	for _, name := range j.names {
		if err := os.WriteFile(filepath.Join(j.out, name), []byte(name), 0o755); err != nil {
			return err
		}
		if c.fail != nil {
			return c.fail
		}
	}
	return nil
}

// newStore returns a store over the real build modules with a compiler that only pretends.
func newStore(t *testing.T) (*Store, *compiler) {
	t.Helper()
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	c := &compiler{}
	return &Store{Dir: filepath.Join(t.TempDir(), "cluster"), Source: source, Out: io.Discard, build: c.build}, c
}

func TestEnsureBuildsOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	dir, err := s.Ensure(t.Context(), Assets())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Assets() {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != name {
			t.Errorf("got %q and error %v for %s", got, err, name)
		}
	}
	if again, err := s.Ensure(t.Context(), Assets()); err != nil || again != dir {
		t.Errorf("got folder %q and error %v the second time, want %q", again, err, dir)
	}
	if _, err := s.Ensure(t.Context(), []string{Kubectl, Kubelet}); err != nil {
		t.Fatal(err)
	}
	want := [][]string{{Etcd}, {APIServer, Kubectl}, {Kubelet}}
	if diff := cmp.Diff(want, c.runs); diff != "" {
		t.Errorf("compiler runs (-want +got):\n%s", diff)
	}
}

func TestEnsureRefusesAnUnknownProgram(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	if _, err := s.Ensure(t.Context(), []string{"kubeadm"}); err == nil {
		t.Error("want an error for a program that no module has")
	}
}

func TestEnsureAfterAKilledBuild(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		damage func(t *testing.T, s *Store, program string)
	}{
		{"an empty file under the final name", func(t *testing.T, _ *Store, program string) {
			t.Helper()
			mustWrite(t, program, "", 0o755)
		}},
		{"a file that nobody may run", func(t *testing.T, _ *Store, program string) {
			t.Helper()
			if err := os.Remove(program); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, program, "half", 0o644)
		}},
		{"no file, and a folder of unfinished work", func(t *testing.T, s *Store, program string) {
			t.Helper()
			if err := os.Remove(program); err != nil {
				t.Fatal(err)
			}
			unfinished := filepath.Join(s.Dir, tmpPrefix+"123")
			if err := os.MkdirAll(unfinished, 0o755); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, filepath.Join(unfinished, Etcd), "half", 0o755)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, c := newStore(t)
			dir, err := s.Ensure(t.Context(), []string{Etcd})
			if err != nil {
				t.Fatal(err)
			}
			program, err := filepath.EvalSymlinks(filepath.Join(dir, Etcd))
			if err != nil {
				t.Fatal(err)
			}
			test.damage(t, s, program)
			if _, err := s.Ensure(t.Context(), []string{Etcd}); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(program); err != nil || string(got) != Etcd {
				t.Errorf("got %q and error %v, want a new program", got, err)
			}
			if len(c.runs) != 2 {
				t.Errorf("got %d builds, want 2", len(c.runs))
			}
			assertNothingUnfinished(t, s)
		})
	}
}

func TestEnsureLeavesNothingOfAFailedBuild(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	c.fail = errors.New("no memory")
	if _, err := s.Ensure(t.Context(), []string{APIServer, Kubectl}); !errors.Is(err, c.fail) {
		t.Errorf("got error %v, want %v", err, c.fail)
	}
	assertNothingUnfinished(t, s)
	c.fail = nil
	if _, err := s.Ensure(t.Context(), []string{APIServer, Kubectl}); err != nil {
		t.Fatal(err)
	}
	if want := []string{APIServer, Kubectl}; !slices.Equal(c.runs[1], want) {
		t.Errorf("got a build of %v after the failed one, want %v", c.runs[1], want)
	}
}

func TestEnsureAtTheSameTimeBuildsOnce(t *testing.T) {
	t.Parallel()
	s, c := newStore(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.Ensure(t.Context(), []string{Etcd}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(c.runs) != 1 {
		t.Errorf("got %d builds, want 1", len(c.runs))
	}
}

func TestBuildArgs(t *testing.T) {
	t.Parallel()
	kubernetes := groups()[1]
	tests := []struct {
		name string
		job  job
		want [][]string
	}{
		{
			"programs named like their folders share one run",
			job{group: kubernetes, names: []string{Kubectl, Kubelet}, ldflags: "-s", out: "/out"},
			[][]string{{
				"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s", "-o", "/out/",
				"k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes/cmd/kubelet",
			}},
		},
		{
			"another name needs a run of its own",
			job{group: groups()[0], names: []string{Etcd}, ldflags: "-s", out: "/out"},
			[][]string{{
				"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s", "-o", "/out/etcd", "go.etcd.io/etcd/server/v3",
			}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, buildArgs(test.job)); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func mustWrite(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func assertNothingUnfinished(t *testing.T, s *Store) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(s.Dir, tmpPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("unfinished work is left: %v", left)
	}
}
