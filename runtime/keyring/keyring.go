// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keyring holds the session keys of one server: which there are, how
// they are read from the folder that the operator mounts, and the token by which
// the operator's verifier introduces itself. The operator and the runtime share
// it, so that both agree on every byte.
package keyring

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// The files of a ring, which are the keys of its Secret too.
const (
	FileCurrent  = "current"
	FileNext     = "next"
	FilePrevious = "previous"
)

// ProblemCode is the code under which a pod says that it cannot read its session
// keys. Unlike other Secrets, theirs is the operator's to write.
const ProblemCode = "SessionKeysUnreadable"

// Key is 32 secret bytes. All zero stands for no key.
type Key [32]byte

// idPrefix keeps an id from being of use elsewhere.
const idPrefix = "fairlead key id"

// ID names a key without telling it: the first 8 hex digits of SHA-256 over
// "fairlead key id" and the key.
func (k Key) ID() string {
	sum := sha256.Sum256(append([]byte(idPrefix), k[:]...))
	return hex.EncodeToString(sum[:4])
}

// IsZero reports that there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// String and GoString keep a key out of logs: they give its id.
func (k Key) String() string { return "key " + k.ID() }

// GoString implements fmt.GoStringer; see String.
func (k Key) GoString() string { return k.String() }

// Ring is what one server's replicas hold: Current makes new ids, and all three
// are accepted. Next is published ahead, so that every replica has it before
// anyone uses it. Only Previous may be zero.
type Ring struct {
	Current, Next, Previous Key
}

// Keys are the keys of the ring in the order in which they are tried: current,
// next, previous, without zero ones.
func (r Ring) Keys() []Key {
	return slices.DeleteFunc([]Key{r.Current, r.Next, r.Previous}, Key.IsZero)
}

// IDs are the ids of Keys, in their order; empty for the zero ring.
func (r Ring) IDs() []string {
	keys := r.Keys()
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	return ids
}

// Load reads a ring from the files "current", "next" and "previous" of dir, 32
// bytes each. "previous" may be missing. Without the folder, or with none of the
// files in it, the error is fs.ErrNotExist. Errors never tell a byte of a key.
func Load(dir string) (Ring, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Ring{}, fmt.Errorf("failed to open the session keys: %w", err)
	}
	defer root.Close()
	var ring Ring
	missing := 0
	for _, file := range []struct {
		name string
		into *Key
	}{{FileCurrent, &ring.Current}, {FileNext, &ring.Next}, {FilePrevious, &ring.Previous}} {
		err = readKey(root, file.name, file.into)
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist):
			missing++
		default:
			return Ring{}, fmt.Errorf("failed to read the session key %q: %w", file.name, err)
		}
	}
	switch {
	case missing == 3:
		return Ring{}, fmt.Errorf("failed to read the session keys: %w", fs.ErrNotExist)
	case ring.Current.IsZero():
		return Ring{}, fmt.Errorf("failed to read the session keys: %q is missing", FileCurrent)
	case ring.Next.IsZero():
		return Ring{}, fmt.Errorf("failed to read the session keys: %q is missing", FileNext)
	}
	return ring, nil
}

// readKey reads one file whole, and no more than a key of it.
func readKey(root *os.Root, name string, into *Key) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(len(into))+1))
	if err != nil {
		return err
	}
	if len(data) != len(into) {
		return fmt.Errorf("it does not have exactly %d bytes", len(into))
	}
	copy(into[:], data)
	if into.IsZero() {
		return errors.New("it has only zero bytes, which is no secret")
	}
	return nil
}
