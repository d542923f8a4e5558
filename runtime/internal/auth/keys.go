// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/keyring"
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

// Missing reports that the Secret does not exist; else it cannot be used, or an
// entry in it.
func (p Problem) Missing() bool { return p.Code == problemMissing }

// Error names the Secret, the entry, and what to do.
func (p Problem) Error() string {
	if p.Entry == "" {
		return fmt.Sprintf("API keys of Secret %q: %s", p.Secret, p.Reason)
	}
	return fmt.Sprintf("API key %q of Secret %q is not used: %s", p.Entry, p.Secret, p.Reason)
}

// Rules say who is let in.
type Rules struct {
	config.Auth
	// UID is the server's, which the verifier's tokens are bound to, and Ring
	// holds the keys that they are made with. Without one of them no token is
	// valid.
	UID  string
	Ring keyring.Ring
}

// Keys authenticates API keys, the operator's verifier, and anonymous callers
// where they are allowed.
type Keys struct {
	secretsDir string
	state      atomic.Pointer[keyState]
}

// keyState is one immutable set of keys.
type keyState struct {
	anonymous bool
	// keyed is true when API keys are configured, even if none is valid.
	keyed    bool
	byDigest map[[sha256.Size]byte]*entry
	byName   map[string]*entry
	uid      string
	ring     keyring.Ring
	// generation is one more than that of the set before; Commit sets it.
	generation uint64
}

// entry is one valid key.
type entry struct {
	digest    [sha256.Size]byte
	principal Principal
}

// New loads the keys that the rules name from the folders below secretsDir. It
// always returns a usable Keys: what could not be loaded lets nobody in and is
// in the report.
func New(rules Rules, secretsDir string) (*Keys, Report) {
	k := &Keys{secretsDir: secretsDir}
	k.state.Store(&keyState{})
	report := k.Load(rules).Commit()
	return k, report
}

// Loaded is a set of keys that was read and lets nobody in yet.
type Loaded struct {
	keys   *Keys
	state  *keyState
	report Report
}

// Load reads the keys that the rules name, which may be the same as before after
// their folder changed. Nothing is different until Commit.
func (k *Keys) Load(rules Rules) *Loaded {
	next := &keyState{anonymous: rules.AnonymousAccess == "Allowed", uid: rules.UID, ring: rules.Ring}
	var report Report
	if rules.APIKeys != nil {
		next.keyed = true
		report.Enabled = true
		var entries []*entry
		entries, report.Problems = readFolder(k.secretsDir, rules.APIKeys.SecretRef.Name)
		next.index(entries)
	}
	report.Entries = len(next.byName)
	return &Loaded{keys: k, state: next, report: report}
}

// Commit puts the keys into force: requests see either all old or all new ones.
// It does not block. Calls of it must not overlap.
func (l *Loaded) Commit() Report {
	l.state.generation = l.keys.Generation() + 1
	l.report.Removed, l.report.Changed = l.state.since(l.keys.state.Swap(l.state))
	return l.report
}

// Generation implements Generational.
func (k *Keys) Generation() uint64 { return k.state.Load().generation }

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
	if keyring.IsVerifierToken(credential) {
		return state.verifier(credential)
	}
	if e := state.find(credential); e != nil {
		return e.principal, nil
	}
	return Principal{}, invalid("the API key is not valid")
}

// verifier checks the token of the operator's verifier.
func (s *keyState) verifier(token string) (Principal, error) {
	if s.uid == "" || s.ring.CheckVerifierToken(token, s.uid, time.Now()) != nil {
		return Principal{}, invalid("the verifier's token is not valid")
	}
	return Principal{Key: VerifierKey, Name: VerifierKey, Verifier: true}, nil
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
