// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestUnknownCommand(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"destroy"}); err == nil || !strings.Contains(err.Error(), `"destroy"`) {
		t.Errorf("got error %v, want one that names the word", err)
	}
}

func TestCommandNamesAreUnique(t *testing.T) {
	t.Parallel()
	var names []string
	for _, c := range commands() {
		if slices.Contains(names, c.name) {
			t.Errorf("the command %q is there twice", c.name)
		}
		names = append(names, c.name)
	}
}

func TestParseRefusesStrayWords(t *testing.T) {
	t.Parallel()
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	if err := parse(flags, []string{"now"}); err == nil || !strings.Contains(err.Error(), `"now"`) {
		t.Errorf("got error %v, want one that names the word", err)
	}
}

func TestAfterDashes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		args, want []string
	}{
		{"dashes", []string{"--", "get", "--", "x"}, []string{"get", "--", "x"}},
		{"no dashes", []string{"get", "pods"}, []string{"get", "pods"}},
		{"nothing", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := afterDashes(test.args); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The working folder belongs to the whole process, so this test does not run beside others.
func TestSourceDir(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{here, filepath.Join(here, "..", ".."), filepath.Join(here, "internal", "pki")} {
		t.Chdir(dir)
		if got, err := sourceDir(); err != nil || got != here {
			t.Errorf("got %q and error %v in %s, want %q", got, err, dir, here)
		}
	}
	t.Chdir(t.TempDir())
	if got, err := sourceDir(); err == nil {
		t.Errorf("got %q outside of the checkout, want an error", got)
	}
}
