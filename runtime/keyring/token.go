// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	// TokenPrefix begins every verifier token; no API key may begin so.
	TokenPrefix = "flv1."
	// tokenLife is how long a token is valid: long enough for one check and for
	// clocks that differ a little.
	tokenLife = time.Minute
	// maxTokenLife bounds what a token may claim, so that one that leaked from a
	// clock far ahead is of little use.
	maxTokenLife = 2 * time.Minute
	// maxTokenLength bounds a token in bytes; VerifierToken's have 99.
	maxTokenLength = 128
	nonceLength    = 26
	// macPurpose names the key that is derived for tokens.
	macPurpose = "fairlead verifier"
)

// ErrToken is why every token is refused: who guesses learns no more.
var ErrToken = errors.New("the verifier's token is not valid")

// IsVerifierToken reports whether a credential claims to be a verifier's token.
func IsVerifierToken(credential string) bool { return strings.HasPrefix(credential, TokenPrefix) }

// VerifierToken makes the token by which the operator's verifier asks the server
// with serverUID, valid from now for 60 s:
//
//	flv1.<key id>.<unix time of expiry>.<nonce>.<base64url of HMAC-SHA256>
//
// The uid is part of what is authenticated, not of the token.
func VerifierToken(k Key, serverUID string, now time.Time) string {
	claims := TokenPrefix + k.ID() + "." + strconv.FormatInt(now.Add(tokenLife).Unix(), 10) + "." + strings.ToLower(rand.Text())
	return claims + "." + base64.RawURLEncoding.EncodeToString(authenticate(k, serverUID, claims))
}

// authenticate computes the MAC of a token under a key that is derived for this
// purpose only, since the ring's keys seal session ids too.
func authenticate(k Key, serverUID, claims string) []byte {
	derive := hmac.New(sha256.New, k[:])
	derive.Write([]byte(macPurpose))
	mac := hmac.New(sha256.New, derive.Sum(nil))
	// The lengths keep a uid from running into the claims.
	mac.Write([]byte(strconv.Itoa(len(serverUID)) + ":" + serverUID + claims))
	return mac.Sum(nil)
}

// CheckVerifierToken accepts a token that VerifierToken made with any key of the
// ring for the server with this uid, while it is valid and claims at most 2 min
// more. The error is ErrToken. MACs are compared in constant time.
func (r Ring) CheckVerifierToken(token, serverUID string, now time.Time) error {
	id, expiry, claims, mac, ok := parseToken(token)
	if !ok || !expiry.After(now) || expiry.After(now.Add(maxTokenLife)) {
		return ErrToken
	}
	for _, k := range r.Keys() {
		if k.ID() == id && hmac.Equal(mac, authenticate(k, serverUID, claims)) {
			return nil
		}
	}
	return ErrToken
}

// parseToken takes a token apart; only the one spelling that VerifierToken
// writes is accepted.
func parseToken(token string) (id string, expiry time.Time, claims string, mac []byte, ok bool) {
	if len(token) > maxTokenLength || !IsVerifierToken(token) {
		return "", time.Time{}, "", nil, false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 5 || len(parts[1]) != 8 || len(parts[3]) != nonceLength {
		return "", time.Time{}, "", nil, false
	}
	seconds, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || seconds < 0 || strconv.FormatInt(seconds, 10) != parts[2] {
		return "", time.Time{}, "", nil, false
	}
	mac, err = base64.RawURLEncoding.Strict().DecodeString(parts[4])
	if err != nil || len(mac) != sha256.Size {
		return "", time.Time{}, "", nil, false
	}
	return parts[1], time.Unix(seconds, 0), token[:strings.LastIndexByte(token, '.')], mac, true
}
