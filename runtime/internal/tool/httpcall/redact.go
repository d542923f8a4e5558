// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// minRedacted is the length in bytes from which a secret's value is taken out
// of what a backend echoes; shorter ones appear in texts by chance.
const minRedacted = 8

// redactor takes the secrets of a request out of what comes back, since some
// backends echo what they were sent. It holds the values and their spellings in
// JSON. The zero value changes nothing.
type redactor [][]byte

// spellings returns how a secret may look in a text.
func spellings(secret string) redactor {
	if len(secret) < minRedacted {
		return nil
	}
	// Invalid UTF-8, the only error, is replaced: such a secret has no spelling in JSON.
	quoted, _ := jsontext.AppendQuote(nil, secret)
	all := redactor{[]byte(secret), quoted[1 : len(quoted)-1], []byte(strings.ReplaceAll(secret, "/", `\/`))}
	return slices.CompactFunc(all, bytes.Equal)
}

// bytes returns b without the secrets; it is b itself if there are none.
func (r redactor) bytes(b []byte) []byte {
	for _, secret := range r {
		if bytes.Contains(b, secret) {
			b = bytes.ReplaceAll(b, secret, []byte(redacted))
		}
	}
	return b
}

// text returns s without the secrets.
func (r redactor) text(s string) string {
	if len(r) == 0 {
		return s
	}
	return string(r.bytes([]byte(s)))
}

// err returns an error whose text has no secrets. Errors of a malformed answer
// quote it.
func (r redactor) err(err error) error {
	if err == nil {
		return nil
	}
	if text := err.Error(); r.text(text) != text {
		return errors.New(r.text(text))
	}
	return err
}

// longest is the length of the longest spelling.
func (r redactor) longest() (n int) {
	for _, secret := range r {
		n = max(n, len(secret))
	}
	return n
}
