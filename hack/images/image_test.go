// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const certificate = "-----BEGIN CERTIFICATE-----\nnot really\n-----END CERTIFICATE-----\n"

// program returns the head of a Linux binary, with an interpreter (a dynamically linked one) if asked.
func program(t *testing.T, machine elf.Machine, interpreter bool) []byte {
	t.Helper()
	header := elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(machine),
		Version: uint32(elf.EV_CURRENT),
		Ehsize:  64,
	}
	var b bytes.Buffer
	if interpreter {
		header.Phoff, header.Phentsize, header.Phnum = 64, 56, 1
	}
	if err := binary.Write(&b, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	if interpreter {
		if err := binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_INTERP)}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// workspace makes a folder with both binaries and a bundle of certificates and returns the flags for it.
func workspace(t *testing.T, extra ...string) (dir string, arguments []string) {
	t.Helper()
	dir = t.TempDir()
	for _, n := range []string{"fairlead-operator", "fairlead-runtime"} {
		put(t, filepath.Join(dir, n), append(program(t, elf.EM_X86_64, false), n...))
	}
	put(t, filepath.Join(dir, "ca.crt"), []byte(certificate))
	arguments = []string{"-binaries", dir, "-output", filepath.Join(dir, "out"), "-ca-certificates", filepath.Join(dir, "ca.crt"), "-arch", "amd64"}
	return dir, append(arguments, extra...)
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func noEnvironment(string) string { return "" }

func TestImagesAreWhatTheSpecSays(t *testing.T) {
	t.Parallel()
	dir, arguments := workspace(t, "-version", "v9")
	var out bytes.Buffer
	if err := run(arguments, noEnvironment, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	specs, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	if len(specs) != 2 {
		t.Fatalf("images.json has %d images, want 2", len(specs))
	}
	for _, s := range specs {
		reference := "fairlead.invalid/" + s.Name + ":dev"
		if !strings.Contains(out.String(), reference+" ") {
			t.Errorf("the output does not name %s:\n%s", reference, out.String())
		}
		image := open(t, filepath.Join(dir, "out", s.Name+".tar"), reference)
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		checkConfig(t, s, file)
		checkFiles(t, s, image)
	}
}

// open reads an image back and checks that the archive names it in full, as containerd needs it.
func open(t *testing.T, path, reference string) v1.Image {
	t.Helper()
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || !slices.Equal(manifest[0].RepoTags, []string{reference}) {
		t.Fatalf("%s holds %+v, want the one tag %s", path, manifest, reference)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func checkConfig(t *testing.T, s spec, file *v1.ConfigFile) {
	t.Helper()
	c := file.Config
	if c.User != "65532:65532" {
		t.Errorf("%s: user %q, want 65532:65532", s.Name, c.User)
	}
	if !slices.Equal(c.Entrypoint, s.Entrypoint) || !slices.Equal(c.Cmd, s.Command) {
		t.Errorf("%s runs %q %q, want %q %q", s.Name, c.Entrypoint, c.Cmd, s.Entrypoint, s.Command)
	}
	if len(c.ExposedPorts) != len(s.Ports) {
		t.Errorf("%s exposes %v, want %v", s.Name, c.ExposedPorts, s.Ports)
	}
	if got, want := c.Healthcheck.Test, append([]string{"CMD"}, s.Healthcheck...); !slices.Equal(got, want) {
		t.Errorf("%s: health check %q, want %q", s.Name, got, want)
	}
	if got := c.Labels["org.opencontainers.image.version"]; got != "v9" {
		t.Errorf("%s: version label %q, want v9", s.Name, got)
	}
	if got := c.Labels["org.opencontainers.image.title"]; got != s.Name {
		t.Errorf("%s: title label %q", s.Name, got)
	}
	if file.OS != "linux" || file.Architecture != "amd64" || file.Created.Unix() != 0 {
		t.Errorf("%s: %s/%s of %s, want linux/amd64 of 1970", s.Name, file.OS, file.Architecture, file.Created)
	}
}

func checkFiles(t *testing.T, s spec, image v1.Image) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%s has %d layers (%v), want 1", s.Name, len(layers), err)
	}
	files := map[string]*tar.Header{}
	r := tar.NewReader(mutate.Extract(image))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = h
		if h.Uid != 0 || h.Gid != 0 || h.Mode&0o022 != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: %s is owned by %d:%d with mode %o of %s", s.Name, h.Name, h.Uid, h.Gid, h.Mode, h.ModTime)
		}
	}
	for _, want := range []string{strings.TrimPrefix(s.Entrypoint[0], "/"), "etc/ssl/certs/ca-certificates.crt"} {
		if files[want] == nil || files[want].Size == 0 {
			t.Errorf("%s lacks %s", s.Name, want)
		}
	}
	if mode := files[s.Name].Mode; mode != 0o555 {
		t.Errorf("%s: the binary has mode %o, want 555", s.Name, mode)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	t.Parallel()
	var sums [2][sha256.Size]byte
	for i := range sums {
		dir, arguments := workspace(t, "-only", "fairlead-runtime")
		if err := run(arguments, noEnvironment, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, "out", "fairlead-runtime.tar"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(content)
		if _, err := os.Stat(filepath.Join(dir, "out", "fairlead-operator.tar")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("-only built the other image too: %v", err)
		}
	}
	if sums[0] != sums[1] {
		t.Error("two builds of the same input differ")
	}
}

func TestOtherSpecs(t *testing.T) {
	t.Parallel()
	dir, arguments := workspace(t, "-specs", "SPECS")
	specs := filepath.Join(dir, "specs.json")
	arguments[len(arguments)-1] = specs
	put(t, specs, []byte(`{"images": [{"name": "backend", "user": "1:1", "entrypoint": ["/backend"], "ports": ["80/tcp"]}]}`))
	put(t, filepath.Join(dir, "backend"), program(t, elf.EM_X86_64, false))
	var out bytes.Buffer
	if err := run(arguments, noEnvironment, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "fairlead-") {
		t.Errorf("built the product's images too:\n%s", out.String())
	}
	file, err := open(t, filepath.Join(dir, "out", "backend.tar"), "fairlead.invalid/backend:dev").ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Config.User != "1:1" || file.Config.Healthcheck != nil {
		t.Errorf("user %q and health check %v, want 1:1 and none", file.Config.User, file.Config.Healthcheck)
	}

	put(t, specs, []byte(`{"images": [{"name": "backend", "usr": "1:1"}]}`))
	if err := run(arguments, noEnvironment, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), `unknown field "usr"`) {
		t.Errorf("got %v, want an error about usr", err)
	}
}

func TestEpochSetsTheDate(t *testing.T) {
	t.Parallel()
	dir, arguments := workspace(t, "-only", "fairlead-runtime", "-prefix", "localhost/x", "-tag", "t")
	epoch := func(string) string { return "1700000000" }
	if err := run(arguments, epoch, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	file, err := open(t, filepath.Join(dir, "out", "fairlead-runtime.tar"), "localhost/x/fairlead-runtime:t").ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.Created.Unix() != 1700000000 {
		t.Errorf("created %s, want that of SOURCE_DATE_EPOCH", file.Created)
	}
}

func TestWrongInput(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		extra   []string
		epoch   string
		want    string
	}{
		{name: "argument", extra: []string{"now"}, want: `unexpected argument "now"`},
		{name: "short prefix", extra: []string{"-prefix", "local"}, want: "must begin with a registry's host"},
		{name: "prefix without a host", extra: []string{"-prefix", "local/x"}, want: "must begin with a registry's host"},
		{name: "tag", extra: []string{"-tag", "a b"}, want: "failed to read the image name"},
		{name: "unknown image", extra: []string{"-only", "other"}, want: `no image is named "other"`},
		{name: "architecture", extra: []string{"-arch", "mips"}, want: `unknown architecture "mips"`},
		{name: "other architecture", extra: []string{"-arch", "arm64"}, want: "is built for EM_X86_64, not for arm64"},
		{name: "epoch", epoch: "yesterday", want: "failed to read SOURCE_DATE_EPOCH"},
		{name: "no binary", prepare: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "fairlead-operator")); err != nil {
				t.Fatal(err)
			}
		}, want: "run `make build` first"},
		{name: "not a binary", prepare: func(t *testing.T, dir string) {
			t.Helper()
			put(t, filepath.Join(dir, "fairlead-operator"), []byte("#!/bin/sh\n"))
		}, want: "as a Linux binary"},
		{name: "dynamic binary", prepare: func(t *testing.T, dir string) {
			t.Helper()
			put(t, filepath.Join(dir, "fairlead-operator"), program(t, elf.EM_X86_64, true))
		}, want: "build it with CGO_ENABLED=0"},
		{name: "no certificates", prepare: func(t *testing.T, dir string) {
			t.Helper()
			put(t, filepath.Join(dir, "ca.crt"), []byte("empty"))
		}, want: "holds no certificate"},
		{name: "missing certificates", prepare: func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
				t.Fatal(err)
			}
		}, want: "found no certificates"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, arguments := workspace(t, tt.extra...)
			if tt.prepare != nil {
				tt.prepare(t, dir)
			}
			err := run(arguments, func(string) string { return tt.epoch }, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if tars, err := filepath.Glob(filepath.Join(dir, "out", "*")); err != nil || len(tars) > 0 {
				t.Errorf("left %v (%v)", tars, err)
			}
		})
	}
}
