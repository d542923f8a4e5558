// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"fairlead.dev/fairlead/runtime/keyring"
)

const (
	// maxEntries bounds the keys of one folder.
	maxEntries = 1000
	// maxEntrySize bounds one entry's file in bytes (4 KiB).
	maxEntrySize = 4 << 10
	// minKeyLength is the length in bytes below which a key is refused, since
	// it could be guessed.
	minKeyLength = 16
	// digestPrefix marks a value that is a digest.
	digestPrefix = "sha256:"
)

// The codes of Problem.
const (
	problemMissing    = "SecretMissing"
	problemUnreadable = "SecretUnreadable"
	problemTooMany    = "TooManyEntries"
	problemEntry      = "InvalidEntry"
)

// readFolder reads the entries of secretsDir/secret in name order. Entries that
// are broken are reported one by one and do not hurt the others.
func readFolder(secretsDir, secret string) (entries []*entry, problems []Problem) {
	root, err := os.OpenRoot(secretsDir)
	if err != nil {
		return nil, []Problem{folderProblem(secret, err)}
	}
	defer root.Close()
	dir, err := root.Open(secret)
	if err != nil {
		return nil, []Problem{folderProblem(secret, err)}
	}
	defer dir.Close()
	names, tooMany, err := entryNames(dir)
	if err != nil {
		return nil, []Problem{folderProblem(secret, err)}
	}
	if tooMany {
		problems = append(problems, Problem{
			Code: problemTooMany, Secret: secret,
			Reason: fmt.Sprintf("it has more than %d entries; the others are not used, split the clients over several servers", maxEntries),
		})
	}
	seen := make(map[[sha256.Size]byte]string, len(names))
	for _, name := range names {
		e, err := readEntry(root, secret, name)
		if err == nil {
			if first, twice := seen[e.digest]; twice {
				err = fmt.Errorf("it has the same key as entry %q; give each client a key of its own", first)
			}
		}
		if err != nil {
			problems = append(problems, Problem{Code: problemEntry, Secret: secret, Entry: name, Reason: err.Error()})
			continue
		}
		seen[e.digest] = name
		entries = append(entries, e)
	}
	return entries, problems
}

// folderProblem explains why the whole folder cannot be read.
func folderProblem(secret string, err error) Problem {
	if errors.Is(err, fs.ErrNotExist) {
		return Problem{Code: problemMissing, Secret: secret, Reason: "the Secret does not exist; create it, until then no API key is valid"}
	}
	return Problem{Code: problemUnreadable, Secret: secret, Reason: "the Secret's folder cannot be read: " + pathless(err)}
}

// pathless is the reason of a file error without the path, which is a detail of
// the pod.
func pathless(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}

// entryNames lists the names of entries, sorted. Names that begin with a dot
// are the kubelet's (..data, ..2026_11_21) or an editor's.
func entryNames(dir fs.File) (names []string, tooMany bool, err error) {
	reader, ok := dir.(fs.ReadDirFile)
	if !ok {
		return nil, false, errors.New("not a folder")
	}
	for {
		// Read in portions: a folder of a million files is not listed whole.
		batch, err := reader.ReadDir(256)
		for _, e := range batch {
			if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
				continue
			}
			if len(names) == maxEntries {
				slices.Sort(names)
				return names, true, nil
			}
			names = append(names, e.Name())
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("failed to list the entries: %w", err)
		}
	}
}

// readEntry reads one key. Errors never quote the value.
func readEntry(root *os.Root, secret, name string) (*entry, error) {
	// Root follows the kubelet's symlinks within secretsDir and none that leave it.
	f, err := root.Open(secret + "/" + name)
	if err != nil {
		return nil, errors.New("it cannot be read: " + pathless(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEntrySize+1))
	if err != nil {
		return nil, errors.New("it cannot be read: " + pathless(err))
	}
	if len(data) > maxEntrySize {
		return nil, fmt.Errorf("it is larger than %d bytes", maxEntrySize)
	}
	digest, roles, err := parseEntry(data)
	if err != nil {
		return nil, err
	}
	return &entry{digest: digest, principal: Principal{Key: "apikey:" + name, Name: name, Roles: roles}}, nil
}

// parseEntry understands the three forms of a value: the key itself,
// "sha256:" and its digest in hex, or a JSON object with one of both and roles.
func parseEntry(data []byte) (digest [sha256.Size]byte, roles []string, err error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || data[0] != '{' {
		digest, err = parseKey(string(data))
		return digest, nil, err
	}
	var object struct {
		Key    *string  `json:"key"`
		SHA256 *string  `json:"sha256"`
		Roles  []string `json:"roles"`
	}
	if json.Unmarshal(data, &object, json.RejectUnknownMembers(true)) != nil {
		// The decoder's error may quote the value, so it is not passed on.
		return digest, nil, errors.New(`it is not valid: the JSON must be an object with "key" or "sha256", and "roles" (a list of strings), each at most once and nothing else`)
	}
	if (object.Key == nil) == (object.SHA256 == nil) {
		return digest, nil, errors.New(`it must have exactly one of "key" and "sha256"`)
	}
	if slices.Contains(object.Roles, "") {
		return digest, nil, errors.New(`it has an empty role in "roles"`)
	}
	if object.Key != nil {
		digest, err = hashKey(strings.TrimSpace(*object.Key))
	} else {
		digest, err = parseDigest(strings.TrimPrefix(strings.TrimSpace(*object.SHA256), digestPrefix))
	}
	return digest, object.Roles, err
}

// parseKey understands a plain value.
func parseKey(value string) ([sha256.Size]byte, error) {
	if hexDigest, ok := strings.CutPrefix(value, digestPrefix); ok {
		return parseDigest(hexDigest)
	}
	return hashKey(value)
}

// hashKey checks a key and hashes it.
func hashKey(key string) (digest [sha256.Size]byte, err error) {
	switch {
	case key == "":
		return digest, errors.New("it is empty")
	case keyring.IsVerifierToken(key):
		return digest, fmt.Errorf("its key begins with %q, as the operator's tokens do; use another", keyring.TokenPrefix)
	case len(key) < minKeyLength:
		return digest, fmt.Errorf("its key is shorter than %d characters; use a random one, for example of openssl rand -hex 32", minKeyLength)
	case !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return digest, errors.New("its key has characters that a header cannot carry; use visible ASCII without spaces")
	}
	return sha256.Sum256([]byte(key)), nil
}

// parseDigest reads 64 hex digits.
func parseDigest(hexDigest string) (digest [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(hexDigest)
	if err != nil || len(raw) != sha256.Size {
		return digest, fmt.Errorf("its SHA-256 digest must have %d hex digits", 2*sha256.Size)
	}
	return [sha256.Size]byte(raw), nil
}
