// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"fairlead.dev/fairlead/runtime/config"
)

// realm names the protected space in every challenge (RFC 9110 §11.5).
const realm = `Bearer realm="fairlead"`

// maxCredential bounds a credential in a header in bytes. Keys in files are
// bounded by their file; a longer header can match nothing, so it is not hashed.
const maxCredential = maxEntrySize

// Report says what loading the keys found. It names entries, never values.
type Report struct {
	// Enabled is false when no API keys are configured.
	Enabled bool
	// Entries counts the keys that are valid now.
	Entries int
	// Problems are the entries that were refused, and a folder that is missing
	// or unreadable, in name order; empty when all is well.
	Problems []Problem
	// Removed are the principal keys whose credential this load made invalid,
	// sorted: the entry is gone or holds another key. Their streams are due to
	// be closed; whoever has the new key connects again.
	Removed []string
	// Changed are the principal keys whose roles this load changed, sorted.
	Changed []string
}

// Problem is one thing that is wrong with the keys.
type Problem struct {
	// Code is "SecretMissing" (the folder does not exist), "SecretUnreadable",
	// "TooManyEntries" or "InvalidEntry".
	Code string
	// Secret is the name of the Secret and Entry that of the key in it; Entry is
	// empty when the whole Secret is concerned.
	Secret, Entry string
	// Reason says what is wrong and what to do; it never holds a value.
	Reason string
}

// Keys authenticates API keys, and anonymous callers where they are allowed.
type Keys struct {
	secretsDir string

	// loading serializes Apply and Reload; readers only load state.
	loading sync.Mutex
	cfg     config.Auth
	state   atomic.Pointer[keyState]
}

// keyState is one immutable set of keys.
type keyState struct {
	anonymous bool
	// keyed is true when API keys are configured, even if none is valid.
	keyed    bool
	byDigest map[[sha256.Size]byte]*entry
	byName   map[string]*entry
}

// entry is one valid key.
type entry struct {
	digest    [sha256.Size]byte
	principal Principal
}

// New loads the keys that cfg names from the folders below secretsDir. It
// always returns a usable Keys: what could not be loaded lets nobody in and is
// in the report.
func New(cfg config.Auth, secretsDir string) (*Keys, Report) {
	k := &Keys{secretsDir: secretsDir}
	k.state.Store(&keyState{})
	report := k.Apply(cfg)
	return k, report
}

// Apply takes on a new configuration and loads its keys, whole and at once.
func (k *Keys) Apply(cfg config.Auth) Report {
	k.loading.Lock()
	defer k.loading.Unlock()
	k.cfg = cfg
	return k.load()
}

// Reload loads the keys again, after their folder changed. Requests see either
// all old or all new keys.
func (k *Keys) Reload() Report {
	k.loading.Lock()
	defer k.loading.Unlock()
	return k.load()
}

// Dir is the folder to watch for changes; empty when no API keys are configured.
func (k *Keys) Dir() string {
	k.loading.Lock()
	defer k.loading.Unlock()
	if k.cfg.APIKeys == nil {
		return ""
	}
	return filepath.Join(k.secretsDir, k.cfg.APIKeys.SecretRef.Name)
}

// load reads the folder and swaps the state; the caller holds loading.
func (k *Keys) load() Report {
	next := &keyState{anonymous: k.cfg.AnonymousAccess == "Allowed"}
	var report Report
	if k.cfg.APIKeys != nil {
		next.keyed = true
		report.Enabled = true
		var entries []*entry
		entries, report.Problems = readFolder(k.secretsDir, k.cfg.APIKeys.SecretRef.Name)
		next.index(entries)
	}
	report.Entries = len(next.byName)
	report.Removed, report.Changed = next.since(k.state.Swap(next))
	return report
}

// index fills the maps.
func (s *keyState) index(entries []*entry) {
	s.byDigest = make(map[[sha256.Size]byte]*entry, len(entries))
	s.byName = make(map[string]*entry, len(entries))
	for _, e := range entries {
		s.byDigest[e.digest] = e
		s.byName[e.principal.Key] = e
	}
}

// since lists the principals of prev that are gone or different.
func (s *keyState) since(prev *keyState) (removed, changed []string) {
	if prev.anonymous && !s.anonymous {
		removed = append(removed, AnonymousKey)
	}
	for name, old := range prev.byName {
		now, ok := s.byName[name]
		switch {
		case !ok || now.digest != old.digest:
			removed = append(removed, name)
		case !slices.Equal(now.principal.Roles, old.principal.Roles):
			changed = append(changed, name)
		}
	}
	slices.Sort(removed)
	slices.Sort(changed)
	return removed, changed
}

// Authenticate implements Authenticator. A credential is read from
// "Authorization: Bearer K" or "X-API-Key: K"; both may be given if they are
// equal. A credential that is not valid is refused even where anonymous access
// is allowed, so that a typing error never silently loses rights.
func (k *Keys) Authenticate(r *http.Request) (Principal, error) {
	state := k.state.Load()
	credential, given, err := credentialOf(r.Header)
	if err != nil {
		return Principal{}, err
	}
	if !given {
		if state.anonymous {
			return Anonymous(), nil
		}
		return Principal{}, &Error{
			Status: http.StatusUnauthorized, Code: CodeMissing, Challenge: realm,
			Message: "credentials are required: send the API key as Authorization: Bearer KEY or X-API-Key: KEY",
		}
	}
	if e := state.find(credential); e != nil {
		return e.principal, nil
	}
	return Principal{}, invalid("the API key is not valid")
}

// find looks a credential up by its digest. The map's timing depends only on
// the digest, which nobody can steer; the final comparison takes constant time.
func (s *keyState) find(credential string) *entry {
	if !s.keyed || len(credential) > maxCredential {
		return nil
	}
	digest := sha256.Sum256([]byte(credential))
	e, ok := s.byDigest[digest]
	if !ok || subtle.ConstantTimeCompare(e.digest[:], digest[:]) != 1 {
		return nil
	}
	return e
}

// credentialOf reads the credential of a request's header.
func credentialOf(h http.Header) (credential string, given bool, err error) {
	bearers, keys := h.Values("Authorization"), h.Values("X-Api-Key")
	if len(bearers) > 1 || len(keys) > 1 {
		return "", false, ambiguous("a credential header was sent more than once")
	}
	var bearer, key string
	if len(bearers) == 1 {
		scheme, token, found := strings.Cut(bearers[0], " ")
		token = strings.Trim(token, " ")
		if !found || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t") {
			return "", false, invalid("the Authorization header is malformed: it must be Bearer KEY")
		}
		bearer = token
	}
	if len(keys) == 1 {
		key = strings.Trim(keys[0], " \t")
		if key == "" {
			return "", false, invalid("the X-API-Key header is empty")
		}
	}
	switch {
	case bearer != "" && key != "" && subtle.ConstantTimeCompare([]byte(bearer), []byte(key)) != 1:
		return "", false, ambiguous("Authorization and X-API-Key carry different credentials; send one")
	case bearer != "":
		return bearer, true, nil
	default:
		return key, key != "", nil
	}
}

// invalid is a 401 for a credential that was given.
func invalid(message string) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: CodeInvalid, Message: message,
		Challenge: realm + `, error="invalid_token"`,
	}
}

// ambiguous is a 400: RFC 6750 §2 forbids more than one way in one request.
func ambiguous(message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: CodeAmbiguous, Message: message}
}
