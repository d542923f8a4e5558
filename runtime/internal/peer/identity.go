// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"fairlead.dev/fairlead/runtime/keyring"
)

// purpose keeps what is derived for links apart from all else that the ring's keys
// are used for (RFC 5869, 3.2).
const purpose = "fairlead peer"

var errNotPeer = errors.New("the other side holds no key of this server's ring")

// identity is what this replica shows on links, and whom it accepts there. It is
// immutable; the zero one shows and accepts nothing.
type identity struct {
	accepted []ed25519.PublicKey
	config   *tls.Config
}

// newIdentity derives a key pair from each key of the ring: the current one is
// shown, all are accepted.
func newIdentity(ring keyring.Ring) (*identity, error) {
	id := &identity{}
	var shown tls.Certificate
	for i, k := range ring.Keys() {
		seed, err := hkdf.Key(sha256.New, k[:], nil, purpose, ed25519.SeedSize)
		if err != nil {
			return nil, fmt.Errorf("failed to derive the links' key of session key %q: %w", k.ID(), err)
		}
		private := ed25519.NewKeyFromSeed(seed)
		public, _ := private.Public().(ed25519.PublicKey)
		id.accepted = append(id.accepted, public)
		if i > 0 {
			continue
		}
		// Both sides look at the key alone: names and times say nothing here.
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
		der, err := x509.CreateCertificate(nil, template, template, public, private)
		if err != nil {
			return nil, fmt.Errorf("failed to make the links' certificate of session key %q: %w", k.ID(), err)
		}
		shown = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	}
	id.config = id.newConfig(shown)
	return id, nil
}

// usable reports that there is a key to show.
func (id *identity) usable() bool { return len(id.accepted) > 0 }

// accepts reports whether the other side of a connection still holds a key of the
// ring.
func (id *identity) accepts(state *tls.ConnectionState) bool {
	if state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	return ok && slices.ContainsFunc(id.accepted, func(a ed25519.PublicKey) bool { return bytes.Equal(a, key) })
}

// newConfig is for both sides of a link. The chain is not verified, for there is
// none: the key is pinned instead, in VerifyConnection, which sees every
// handshake. Nothing is resumed, so that no old key lives on in a ticket.
func (id *identity) newConfig(shown tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{shown},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, //nolint:gosec // G402: the key is pinned below.
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if !id.accepts(&state) {
				return errNotPeer
			}
			return nil
		},
	}
}
