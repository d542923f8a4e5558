// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command images builds the container images of Fairlead without Docker: one docker-archive tar each, out of a
// static binary and the certificates of the public authorities. What an image must be is written in
// images.json, which a test compares with the Dockerfile.
//
// The same binaries, certificates, names and version give the same tars, byte for byte.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// certificateFiles lists where distributions keep the bundle of public authorities, in the order in which they
// are tried (as in Go's crypto/x509).
var certificateFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// options are the flags of the command.
type options struct {
	binaries     string
	output       string
	prefix       string
	tag          string
	version      string
	architecture string
	certificates string
	only         string
	specs        string
	created      time.Time
}

func main() {
	if err := run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// run builds the images that the arguments ask for and prints one line each: the name, the tar, its size.
func run(arguments []string, getenv func(string) string, stdout, stderr io.Writer) error {
	o, err := parse(arguments, getenv, stderr)
	if err != nil {
		return err
	}
	specs, err := load(o.specs)
	if err != nil {
		return err
	}
	certificates, err := readCertificates(o.certificates)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.output, 0o750); err != nil {
		return fmt.Errorf("failed to create the output folder: %w", err)
	}
	found := false
	for _, s := range specs {
		if o.only != "" && o.only != s.Name {
			continue
		}
		found = true
		line, err := buildOne(s, o, certificates)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(stdout, line); err != nil {
			return fmt.Errorf("failed to print the result: %w", err)
		}
	}
	if !found {
		return fmt.Errorf("no image is named %q", o.only)
	}
	return nil
}

// parse reads the flags. SOURCE_DATE_EPOCH (seconds, reproducible-builds.org) sets the time of creation; without
// it images are as old as the epoch, so that a build does not depend on when it ran.
func parse(arguments []string, getenv func(string) string, stderr io.Writer) (options, error) {
	o := options{created: time.Unix(0, 0).UTC()}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.binaries, "binaries", "bin", "folder of the static binaries")
	flags.StringVar(&o.output, "output", "bin/images", "folder to write the tars to")
	flags.StringVar(&o.prefix, "prefix", "fairlead.invalid", "registry and folder of the names, fully qualified: containerd takes nothing else")
	flags.StringVar(&o.tag, "tag", "dev", "tag of the names")
	flags.StringVar(&o.version, "version", "dev", "value of the label org.opencontainers.image.version")
	flags.StringVar(&o.architecture, "arch", runtime.GOARCH, "architecture of the binaries, in Go's terms")
	flags.StringVar(&o.certificates, "ca-certificates", "", "bundle of the public authorities; empty: that of this machine")
	flags.StringVar(&o.only, "only", "", "build this image alone, by its name; empty: all")
	flags.StringVar(&o.specs, "specs", "", "file that says what the images must be, in the form of images.json; empty: that of the product")
	if err := flags.Parse(arguments); err != nil {
		return options{}, fmt.Errorf("failed to read the flags: %w", err)
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))
	}
	if host, _, _ := strings.Cut(o.prefix, "/"); !strings.ContainsAny(host, ".:") && host != "localhost" {
		return options{}, fmt.Errorf("the prefix %q must begin with a registry's host, such as registry.example/you", o.prefix)
	}
	if epoch := getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return options{}, fmt.Errorf("failed to read SOURCE_DATE_EPOCH: %w", err)
		}
		o.created = time.Unix(seconds, 0).UTC()
	}
	return o, nil
}

// readCertificates reads the bundle at path, or the first one found on this machine when path is empty.
func readCertificates(path string) ([]byte, error) {
	candidates := certificateFiles
	if path != "" {
		candidates = []string{path}
	}
	for _, c := range candidates {
		bundle, err := os.ReadFile(c)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("failed to read the certificates: %w", err)
		}
		if !strings.Contains(string(bundle), "-----BEGIN CERTIFICATE-----") {
			return nil, fmt.Errorf("%s holds no certificate", c)
		}
		return bundle, nil
	}
	return nil, fmt.Errorf("found no certificates at %s: install ca-certificates or name a bundle with --ca-certificates", strings.Join(candidates, ", "))
}

// buildOne builds and writes one image and describes the result in a line.
func buildOne(s spec, o options, certificates []byte) (string, error) {
	path := filepath.Join(o.binaries, s.Name)
	binary, err := readStatic(path, o.architecture)
	if err != nil {
		return "", err
	}
	image, err := build(s, contents{binary: binary, certificates: certificates}, o)
	if err != nil {
		return "", fmt.Errorf("failed to build image %q: %w", s.Name, err)
	}
	reference := o.prefix + "/" + s.Name + ":" + o.tag
	target := filepath.Join(o.output, s.Name+".tar")
	size, err := write(image, reference, target)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %.1f MiB", reference, target, float64(size)/(1<<20)), nil
}
