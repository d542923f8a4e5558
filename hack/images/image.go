// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	_ "embed" // images.json.
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The intervals of each image's health check, the same as in the Dockerfile.
const (
	healthInterval    = 30 * time.Second
	healthTimeout     = 5 * time.Second
	healthStartPeriod = 10 * time.Second
	healthRetries     = 3
)

// certificatesPath is where crypto/x509 looks first.
const certificatesPath = "etc/ssl/certs/ca-certificates.crt"

//go:embed images.json
var imagesJSON []byte

// spec is what one image must be, as images.json says.
type spec struct {
	// Name is the image's name and that of its binary.
	Name string `json:"name"`
	// Target is the stage of the Dockerfile that builds the same image.
	Target string `json:"target"`
	// User is numeric, so that a kubelet can check runAsNonRoot.
	User string `json:"user"`
	// Entrypoint and Command are what runs, without a shell.
	Entrypoint []string `json:"entrypoint"`
	Command    []string `json:"command"`
	// Ports are the ports that the binary listens on, as "8080/tcp".
	Ports []string `json:"ports"`
	// Healthcheck is the command that asks the binary's own health endpoint; empty: the image has no check.
	Healthcheck []string `json:"healthcheck"`
	// Labels are the image's labels without the version, which the build adds.
	Labels map[string]string `json:"labels"`
}

// load reads the specs in a file strictly; without a name, the product's own, images.json.
func load(name string) ([]spec, error) {
	data := imagesJSON
	if name != "" {
		var err error
		if data, err = os.ReadFile(filepath.Clean(name)); err != nil {
			return nil, fmt.Errorf("failed to read the specs: %w", err)
		}
	}
	var file struct {
		Images []spec `json:"images"`
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, fmt.Errorf("failed to decode the specs: %w", err)
	}
	return file.Images, nil
}

// readStatic reads a binary and refuses one that an image without a C library could not run: built for another
// architecture, or linked dynamically.
func readStatic(path, architecture string) ([]byte, error) {
	machine, ok := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]
	if !ok {
		return nil, fmt.Errorf("unknown architecture %q: amd64 or arm64", architecture)
	}
	binary, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("failed to read the binary (run `make build` first): %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("failed to read %q as a Linux binary: %w", path, err)
	}
	if file.Machine != machine {
		return nil, fmt.Errorf("%q is built for %s, not for %s", path, file.Machine, architecture)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%q is linked dynamically: build it with CGO_ENABLED=0", path)
		}
	}
	return binary, nil
}

// contents are the files of an image.
type contents struct {
	binary       []byte
	certificates []byte
}

// build makes the image of one layer that s describes.
func build(s spec, c contents, o options) (v1.Image, error) {
	raw, err := layerTar(s, c, o.created)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
		// The tar goes to a local disk and is read once: time counts for more than the last bytes.
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching,
	)
	if err != nil {
		return nil, fmt.Errorf("failed to make the layer: %w", err)
	}
	image, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: o.created}, CreatedBy: "hack/images"},
	})
	if err != nil {
		return nil, fmt.Errorf("failed to add the layer: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("failed to read the image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", o.architecture
	file.Created = v1.Time{Time: o.created}
	file.Config = configuration(s, o.version)
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return nil, fmt.Errorf("failed to set the image's configuration: %w", err)
	}
	return image, nil
}

// configuration translates a spec to the terms of an image.
func configuration(s spec, version string) v1.Config {
	c := v1.Config{
		User:         s.User,
		Entrypoint:   s.Entrypoint,
		Cmd:          s.Command,
		ExposedPorts: map[string]struct{}{},
		WorkingDir:   "/",
		Labels:       map[string]string{"org.opencontainers.image.version": version},
	}
	if len(s.Healthcheck) > 0 {
		c.Healthcheck = &v1.HealthConfig{
			Test:        append([]string{"CMD"}, s.Healthcheck...),
			Interval:    healthInterval,
			Timeout:     healthTimeout,
			StartPeriod: healthStartPeriod,
			Retries:     healthRetries,
		}
	}
	for _, p := range s.Ports {
		c.ExposedPorts[p] = struct{}{}
	}
	maps.Copy(c.Labels, s.Labels)
	return c
}

// layerTar writes the files of the one layer: owned by root and writable by nobody.
func layerTar(s spec, c contents, modified time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	buffer.Grow(len(c.binary) + len(c.certificates) + 1<<14)
	w := tar.NewWriter(&buffer)
	add := func(name string, kind byte, mode int64, content []byte) error {
		header := &tar.Header{
			Typeflag: kind, Name: name, Mode: mode, Size: int64(len(content)),
			ModTime: modified, Format: tar.FormatPAX,
		}
		if err := w.WriteHeader(header); err != nil {
			return fmt.Errorf("failed to write the head of %q: %w", name, err)
		}
		if _, err := w.Write(content); err != nil {
			return fmt.Errorf("failed to write %q: %w", name, err)
		}
		return nil
	}
	for _, folder := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/"} {
		if err := add(folder, tar.TypeDir, 0o755, nil); err != nil {
			return nil, err
		}
	}
	if err := add(certificatesPath, tar.TypeReg, 0o444, c.certificates); err != nil {
		return nil, err
	}
	if err := add(s.Name, tar.TypeReg, 0o555, c.binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("failed to end the layer: %w", err)
	}
	return buffer.Bytes(), nil
}

// write writes the image as a docker-archive and returns the size of the file. The file appears whole or not at all.
func write(image v1.Image, reference, target string) (int64, error) {
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return 0, fmt.Errorf("failed to read the image name %q: %w", reference, err)
	}
	temporary := target + ".partial"
	if err := tarball.WriteToFile(temporary, tag, image); err != nil {
		return 0, fmt.Errorf("failed to write %q: %w", temporary, err)
	}
	if err := os.Rename(temporary, target); err != nil {
		return 0, fmt.Errorf("failed to put %q in place: %w", target, err)
	}
	info, err := os.Stat(target)
	if err != nil {
		return 0, fmt.Errorf("failed to look at %q: %w", target, err)
	}
	return info.Size(), nil
}
