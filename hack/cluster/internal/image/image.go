// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image makes container images of one static program and reads the names in image archives, without any
// container tool.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
)

// user is the numeric user of the images; pods that must not run as root need a number.
const user = "65532:65532"

// Archive returns a docker-archive (`docker save`) of one image with one layer that holds one program. The same program
// gives the same bytes.
func Archive(name, entrypoint string, program []byte) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	layer, err := tarOf([]file{{path: entrypoint[1:], content: program, mode: 0o755}})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{entrypoint}, "User": user},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return nil, fmt.Errorf("failed to encode the image's configuration: %w", err)
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]dockerManifest{{
		Config: configName, RepoTags: []string{name}, Layers: []string{"layer.tar"},
	}})
	if err != nil {
		return nil, fmt.Errorf("failed to encode the image's manifest: %w", err)
	}
	return tarOf([]file{
		{path: "layer.tar", content: layer, mode: 0o644},
		{path: configName, content: config, mode: 0o644},
		{path: dockerManifestFile, content: manifest, mode: 0o644},
	})
}

// WriteArchive makes the image of the program at path and writes it to out.
func WriteArchive(name, entrypoint, path, out string) error {
	program, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("failed to read the program of image %q: %w", name, err)
	}
	archive, err := Archive(name, entrypoint, program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, archive, 0o644); err != nil {
		return fmt.Errorf("failed to write the image %q: %w", name, err)
	}
	return nil
}

// file is one entry of a tar.
type file struct {
	path    string
	content []byte
	mode    int64
}

// tarOf returns a tar whose entries carry no time and no owner, so that equal files give equal bytes.
func tarOf(files []file) ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.content))}
		if err := writer.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("failed to add %q to a tar: %w", f.path, err)
		}
		if _, err := writer.Write(f.content); err != nil {
			return nil, fmt.Errorf("failed to add %q to a tar: %w", f.path, err)
		}
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("failed to finish a tar: %w", err)
	}
	return out.Bytes(), nil
}

// digest is the lower-case hexadecimal SHA-256 of content.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
