// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"fairlead.dev/fairlead/runtime/config"
)

// lastGood is the file that the operator writes beside server.yaml: the last
// revision that all pods served.
const lastGood = "last-good.yaml"

// maxFile bounds what is read of a configuration file: larger ones are an error
// of the decoder, which names the limit.
const maxFile = config.MaxSize + 1

// loaded is a configuration file that was read.
type loaded struct {
	// sum tells whether the file has changed.
	sum     [sha256.Size]byte
	program *config.Program
	// err says why the newer server.yaml is not what is served.
	err error
}

// load reads the configuration at the start: server.yaml, else last-good.yaml
// with the reason noted.
func load(o Options) (loaded, error) {
	sum, data, err := read(o.ConfigFile)
	if err == nil {
		var program *config.Program
		if program, err = compile(o, o.ConfigFile, data); err == nil {
			return loaded{sum: sum, program: program}, nil
		}
	}
	path := filepath.Join(filepath.Dir(o.ConfigFile), lastGood)
	_, data, olderErr := read(path)
	if errors.Is(olderErr, os.ErrNotExist) {
		return loaded{}, err
	}
	if olderErr == nil {
		var older *config.Program
		if older, olderErr = compile(o, path, data); olderErr == nil {
			return loaded{sum: sum, program: older, err: err}, nil
		}
	}
	return loaded{}, errors.Join(err, olderErr)
}

// read reads a configuration file. One that cannot be read has no sum.
func read(path string) (sum [sha256.Size]byte, data []byte, err error) {
	if data, err = readFile(path); err != nil {
		return sum, nil, fmt.Errorf("failed to read the configuration: %w", err)
	}
	return sha256.Sum256(data), data, nil
}

func compile(o Options, path string, data []byte) (*config.Program, error) {
	server, err := config.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("failed to decode %q: %w", path, err)
	}
	program, err := config.CompileWith(server, o.compileOptions())
	if err != nil {
		return nil, fmt.Errorf("failed to compile %q: %w", path, err)
	}
	return program, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // G304: the path is a flag.
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil && len(data) > config.MaxSize {
		err = fmt.Errorf("%q is larger than %d bytes", path, config.MaxSize)
	}
	return data, err
}
