// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"testing"
	"testing/fstest"
)

func TestKeyChangesWithEachInput(t *testing.T) {
	t.Parallel()
	module := func(change func(fstest.MapFS)) fstest.MapFS {
		m := fstest.MapFS{
			"go.mod":      {Data: []byte("module m\n")},
			"go.sum":      {Data: []byte("sum\n")},
			"sub/main.go": {Data: []byte("package main\n")},
		}
		if change != nil {
			change(m)
		}
		return m
	}
	base, err := Key(module(nil), "-s -w", "go1.26.8 linux amd64")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		change   func(fstest.MapFS)
		flags    string
		version  string
		wantSame bool
	}{
		{name: "nothing", wantSame: true},
		{name: "another kind of file", change: func(m fstest.MapFS) { m["README.md"] = &fstest.MapFile{} }, wantSame: true},
		{name: "go.mod", change: func(m fstest.MapFS) { m["go.mod"].Data = []byte("module n\n") }},
		{name: "go.sum", change: func(m fstest.MapFS) { m["go.sum"].Data = []byte("mus\n") }},
		{name: "a source", change: func(m fstest.MapFS) { m["sub/main.go"].Data = []byte("package other\n") }},
		{name: "a new source", change: func(m fstest.MapFS) { m["sub/more.go"] = &fstest.MapFile{} }},
		{name: "linker flags", flags: "-s -w -X a.b=c"},
		{name: "compiler", version: "go1.26.9 linux amd64"},
		{name: "architecture", version: "go1.26.8 linux arm64"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			flags, version := "-s -w", "go1.26.8 linux amd64"
			if test.flags != "" {
				flags = test.flags
			}
			if test.version != "" {
				version = test.version
			}
			got, err := Key(module(test.change), flags, version)
			if err != nil {
				t.Fatal(err)
			}
			if (got == base) != test.wantSame {
				t.Errorf("got key %s and before %s, want the same: %t", got, base, test.wantSame)
			}
		})
	}
}

func TestKeySeparatesFlagsFromVersion(t *testing.T) {
	t.Parallel()
	one, err := Key(fstest.MapFS{}, "ab", "c")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Key(fstest.MapFS{}, "a", "bc")
	if err != nil {
		t.Fatal(err)
	}
	if one == other {
		t.Error("moving text from one input to the next gives the same key")
	}
}

func TestRequiredVersion(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, gomod, want string }{
		{"a line of its own", "module m\n\nrequire k8s.io/kubernetes v1.36.3\n", "v1.36.3"},
		{"in a block", "require (\n\tk8s.io/kubernetes-x v9.0.0\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n", "v1.36.3"},
		{"only replaced", "replace k8s.io/kubernetes => k8s.io/kubernetes v1.0.0\n", ""},
		{"absent", "module m\n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := requiredVersion([]byte(test.gomod), "k8s.io/kubernetes")
			if got != test.want || (err != nil) != (test.want == "") {
				t.Errorf("got %q and error %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestLinkerFlags(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, stamp, version, want string }{
		{"no stamp", "", "v1.36.3", "-s -w"},
		{"stamped", "p/version", "v1.36.3", "-s -w -X p/version.gitVersion=v1.36.3 -X p/version.gitMajor=1 -X p/version.gitMinor=36"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := linkerFlags(test.stamp, test.version); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
