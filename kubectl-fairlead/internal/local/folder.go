// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package local runs the MCPServer of a manifest on this machine: it stands in
// for the operator and the kubelet by writing the files that a pod would mount,
// and follows the manifest as it is edited.
package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	configFile = "server.yaml"
	secretsDir = "secrets"
)

// folder is a private folder with what a pod would mount.
type folder struct{ root string }

// newFolder makes it where nobody else may look; the caller removes it.
func newFolder() (folder, error) {
	root, err := os.MkdirTemp("", "fairlead-serve-") // Mode 0700.
	if err != nil {
		return folder{}, fmt.Errorf("failed to make a folder for the configuration: %w", err)
	}
	f := folder{root: root}
	if err := os.MkdirAll(f.configDir(), 0o700); err != nil {
		f.remove()
		return folder{}, fmt.Errorf("failed to make a folder for the configuration: %w", err)
	}
	if err := os.MkdirAll(f.secrets(), 0o700); err != nil {
		f.remove()
		return folder{}, fmt.Errorf("failed to make a folder for Secrets: %w", err)
	}
	return f, nil
}

func (f folder) configDir() string { return filepath.Join(f.root, "server") }
func (f folder) config() string    { return filepath.Join(f.configDir(), configFile) }
func (f folder) secrets() string   { return filepath.Join(f.root, secretsDir) }

// remove leaves nothing: there are keys in it.
func (f folder) remove() { _ = os.RemoveAll(f.root) }

// write puts the contents of Secrets in place and then the configuration, which
// may refer to them. Every file appears whole; what is no longer named goes.
func (f folder) write(config []byte, secrets map[string]map[string][]byte) error {
	for name, values := range secrets {
		dir := filepath.Join(f.secrets(), name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("failed to make the folder of Secret %q: %w", name, err)
		}
		for key, value := range values {
			if err := replace(filepath.Join(dir, key), value); err != nil {
				return fmt.Errorf("failed to write key %q of Secret %q: %w", key, name, err)
			}
		}
		if err := removeOthers(dir, func(key string) bool { _, ok := values[key]; return ok }); err != nil {
			return err
		}
	}
	if err := replace(f.config(), config); err != nil {
		return fmt.Errorf("failed to write the configuration: %w", err)
	}
	return removeOthers(f.secrets(), func(name string) bool { _, ok := secrets[name]; return ok })
}

// removeOthers removes the entries of a folder that are not kept.
func removeOthers(dir string, keep func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("failed to list %q: %w", dir, err)
	}
	for _, entry := range entries {
		if keep(entry.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("failed to remove %q: %w", entry.Name(), err)
		}
	}
	return nil
}

// replace writes a file whole or not at all, and not when it is the same: each
// write makes the runtime read again.
func replace(name string, data []byte) error {
	old, err := os.ReadFile(name) //nolint:gosec // G304: the name is in a folder of our own.
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary := filepath.Join(filepath.Dir(name), "..tmp-"+filepath.Base(name))
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
