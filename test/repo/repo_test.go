// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package repo_test holds the rules of the repository itself: its import walls, its headers and sizes, and the
// places that must say the same.
package repo_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// modulePath is the module of the product; the workshop's modules lie below hack/ and bench/.
const modulePath = "fairlead.dev/fairlead"

// root is the folder of the repository.
var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		panic(err)
	}
	return dir
})

// output runs a command in the repository and returns what it prints.
func output(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir = root()
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, stderr.String())
	}
	return string(out)
}

// files lists what is in the repository or about to be: tracked files, and new ones that no .gitignore names.
// Only files with one of the suffixes are returned, all of them without a suffix.
func files(t *testing.T, suffixes ...string) []string {
	t.Helper()
	var paths []string
	for path := range strings.SplitSeq(output(t, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		wanted := len(suffixes) == 0 || slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(path, s) })
		if path == "" || !wanted {
			continue
		}
		// A file that was deleted but not committed is still listed.
		if info, err := os.Lstat(filepath.Join(root(), path)); err != nil || !info.Mode().IsRegular() {
			continue
		}
		paths = append(paths, path)
	}
	return paths
}

// read returns the content of a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// generated says whether a Go file was written by a program (https://go.dev/s/generatedcode).
func generated(content string) bool {
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "package ") {
			return false
		}
		if strings.HasPrefix(line, "// Code generated ") && strings.HasSuffix(line, " DO NOT EDIT.") {
			return true
		}
	}
	return false
}
