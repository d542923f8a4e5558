// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package auth says who is calling and what callers may do. It fails closed: a
// missing folder of keys, a broken entry or a wrong credential lets nobody in.
package auth

import (
	"net/http"
	"slices"

	"fairlead.dev/fairlead/runtime/config"
)

// AnonymousKey is the Key of the principal that gave no credential, VerifierKey
// that of the operator's verifier. Neither can be an entry's, which have a prefix.
const (
	AnonymousKey = "anonymous"
	VerifierKey  = "verifier"
)

// Principal is who calls. It never holds a credential, so it may be kept as
// long as a session lives.
type Principal struct {
	// Key binds sessions and counts: "apikey:" and the entry's name,
	// AnonymousKey or VerifierKey. It is stable when the credential is rotated.
	Key string
	// Name is the subject that templates and logs see: the entry's name,
	// AnonymousKey or VerifierKey.
	Name string
	// Roles are those that the credential carries; shared, never modified.
	Roles []string
	// Anonymous is true without a credential.
	Anonymous bool
	// Verifier is true for the operator's verifier, which sees every tool and may
	// only discover the server and list them; see Policy.Allowed.
	Verifier bool
}

// Anonymous is the principal without a credential.
func Anonymous() Principal {
	return Principal{Key: AnonymousKey, Name: AnonymousKey, Anonymous: true}
}

// Authenticator tells who sends a request. The error is an *Error. It is safe
// for concurrent use.
type Authenticator interface {
	Authenticate(r *http.Request) (Principal, error)
}

// Generational is an Authenticator that can tell that nothing has changed.
type Generational interface {
	Authenticator
	// Generation is never zero and larger after each change of the keys. While it
	// is the same, Authenticate says the same of a request, unless that is the
	// verifier's, whose token expires.
	Generation() uint64
}

// The codes of Error.
const (
	// CodeMissing means that no credential was given and one is needed.
	CodeMissing = "missing_credentials"
	// CodeInvalid means that a credential was given and is not valid.
	CodeInvalid = "invalid_credentials"
	// CodeAmbiguous means that several different credentials were given.
	CodeAmbiguous = "ambiguous_credentials"
)

// Error refuses a request. Its text is safe for clients: it never holds a
// credential or the name of an entry.
type Error struct {
	// Status is the HTTP status: 401, or 400 for an ambiguous request.
	Status int
	// Code is one of the Code constants; it is the "error" of the answer's body
	// and a metric's label.
	Code string
	// Message says what to do.
	Message string
	// Challenge is the value of WWW-Authenticate (RFC 9110 §11.6.1, RFC 6750
	// §3); empty for status 400.
	Challenge string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Policy says what a principal may call. The zero value allows nothing that
// does not name a role.
type Policy struct {
	// AllowByDefault lets every authenticated principal use what has no access
	// rule of its own; an anonymous principal counts as authenticated, since it
	// exists only where anonymous access was written down.
	AllowByDefault bool
}

// NewPolicy returns the policy of auth.defaultAccess, which defaults to Allowed.
func NewPolicy(cfg config.Auth) Policy {
	return Policy{AllowByDefault: cfg.DefaultAccess == "" || cfg.DefaultAccess == "Allowed"}
}

// Allowed reports whether p may see and use what a guards. Without a rule the
// policy's default decides; a rule without roles allows nobody. The verifier sees
// everything, since the engine takes no call from it.
func (policy Policy) Allowed(p Principal, a *config.Access) bool {
	if p.Verifier {
		return true
	}
	if a == nil {
		return policy.AllowByDefault
	}
	for _, role := range p.Roles {
		if slices.Contains(a.AnyRole, role) {
			return true
		}
	}
	return false
}
