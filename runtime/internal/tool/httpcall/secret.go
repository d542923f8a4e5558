// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/config"
)

const (
	// maxSecretSize bounds a header's value in bytes (64 KiB).
	maxSecretSize = 64 << 10
	// settled is the age from which a file's time of modification tells two
	// contents of one size apart; younger files are read each time.
	settled = 2 * time.Second
)

// secretHeader is a header whose value is a mounted file. Its last value is
// kept as long as the file is the same, so that a call costs one stat.
type secretHeader struct {
	source     config.SecretHeader
	secretsDir string
	cached     atomic.Pointer[secretValue]
}

// secretValue is what a file held.
type secretValue struct {
	file      os.FileInfo
	text      string
	spellings redactor
}

// errAbsent is why a Secret that does not exist cannot be read.
var errAbsent = errors.New("does not exist")

// SecretProblem is why a header's Secret cannot be used. It holds neither a value
// nor a path.
type SecretProblem struct {
	// Missing is whether the Secret or the key does not exist.
	Missing bool
	// Reason completes "key ... of Secret ...", such as "does not exist".
	Reason string
}

// CheckSecret reads the Secret of a header as a call does; nil says that it can
// be used.
func CheckSecret(secretsDir string, ref config.SecretKeyRef) *SecretProblem {
	_, err := readSecret(secretsDir, filepath.Join(ref.Name, ref.Key))
	if err == nil {
		return nil
	}
	return &SecretProblem{Missing: errors.Is(err, errAbsent), Reason: err.Error()}
}

// secretError says what is wrong with a secret. It names the secret and its
// key, nothing else: neither the path nor the value.
type secretError struct {
	secret, key, reason string
}

// Error implements error.
func (e *secretError) Error() string {
	return fmt.Sprintf("key %q of Secret %q %s", e.key, e.secret, e.reason)
}

// read returns the header's value, without its prefix. The error is a
// *secretError.
func (h *secretHeader) read() (*secretValue, error) {
	ref := h.source.SecretKeyRef
	name := filepath.Join(ref.Name, ref.Key)
	cached := h.cached.Load()
	if cached != nil {
		info, err := os.Stat(filepath.Join(h.secretsDir, name))
		if err == nil && os.SameFile(info, cached.file) && info.ModTime().Equal(cached.file.ModTime()) && info.Size() == cached.file.Size() {
			return cached, nil
		}
	}
	next, err := readSecret(h.secretsDir, name)
	if err != nil {
		h.cached.Store(nil)
		return nil, &secretError{secret: ref.Name, key: ref.Key, reason: err.Error()}
	}
	if time.Since(next.file.ModTime()) > settled {
		h.cached.Store(next)
	}
	return next, nil
}

// readSecret reads one file below dir; links that leave dir are not followed.
func readSecret(dir, name string) (*secretValue, error) {
	f, err := os.OpenInRoot(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretSize+1))
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	if len(data) > maxSecretSize {
		return nil, fmt.Errorf("has more than %d bytes", maxSecretSize)
	}
	// Files made with an editor or echo end with a line break that nobody means.
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if value == "" {
		return nil, errors.New("is empty")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return nil, errors.New("has a line break or another control character, which a header cannot carry")
	}
	return &secretValue{file: info, text: value, spellings: spellings(value)}, nil
}
