// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Files that name an archive's images.
const (
	dockerManifestFile = "manifest.json"
	ociIndexFile       = "index.json"
)

// maxManifest bounds what is read of a file that names images, in bytes.
const maxManifest = 4 << 20

// ociNames are the annotations of an OCI index that carry an image's full name, the most specific first.
func ociNames() []string {
	return []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}
}

// dockerManifest is an entry of manifest.json in a docker-archive.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// CheckName returns an error unless name says its registry and its tag or digest. The kubelet looks images up by full
// names, so one imported by a short name is never found.
func CheckName(name string) error {
	registry, rest, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(registry, ".:") && registry != "localhost" {
		return fmt.Errorf("image name %q does not begin with a registry: call it docker.io/local/%s", name, name)
	}
	if !strings.ContainsAny(rest, ":@") {
		return fmt.Errorf("image name %q has no tag: call it %s:dev", name, name)
	}
	return nil
}

// Names returns the names of all images in a docker-archive or OCI archive, which may be compressed with gzip. An archive
// without images is an error.
func Names(path string) ([]string, error) {
	opened, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("failed to open the image archive: %w", err)
	}
	defer func() { _ = opened.Close() }()
	names, err := namesOf(opened)
	if err != nil {
		return nil, fmt.Errorf("failed to read the image archive %q: %w", path, err)
	}
	return names, nil
}

// namesOf reads the names from an open archive.
func namesOf(archive io.Reader) ([]string, error) {
	buffered := bufio.NewReader(archive)
	var source io.Reader = buffered
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("failed to decompress: %w", err)
		}
		source = unzipped
	}
	var docker, oci []string
	reader := tar.NewReader(source)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar: %w", err)
		}
		switch strings.TrimPrefix(header.Name, "./") {
		case dockerManifestFile:
			docker, err = dockerNames(reader)
		case ociIndexFile:
			oci, err = indexNames(reader)
		}
		if err != nil {
			return nil, err
		}
	}
	// An archive may hold both forms of the same images; the first has full names in every tool that writes it.
	if len(docker) > 0 {
		return docker, nil
	}
	if len(oci) > 0 {
		return oci, nil
	}
	return nil, errors.New("it names no image: expected manifest.json with RepoTags or index.json with names")
}

// dockerNames reads manifest.json.
func dockerNames(reader io.Reader) ([]string, error) {
	var manifests []dockerManifest
	if err := json.NewDecoder(io.LimitReader(reader, maxManifest)).Decode(&manifests); err != nil {
		return nil, fmt.Errorf("failed to decode manifest.json: %w", err)
	}
	var names []string
	for _, m := range manifests {
		names = append(names, m.RepoTags...)
	}
	return names, nil
}

// indexNames reads index.json of an OCI image layout.
func indexNames(reader io.Reader) ([]string, error) {
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	if err := json.NewDecoder(io.LimitReader(reader, maxManifest)).Decode(&index); err != nil {
		return nil, fmt.Errorf("failed to decode index.json: %w", err)
	}
	var names []string
	for _, m := range index.Manifests {
		for _, annotation := range ociNames() {
			if name := m.Annotations[annotation]; name != "" {
				names = append(names, name)
				break
			}
		}
	}
	return names, nil
}
