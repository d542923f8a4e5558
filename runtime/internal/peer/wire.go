// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/session"
)

// The headers of links. Clients cannot send or see them: what is forwarded is
// picked from a request, and what is answered is rid of them.
const (
	headerPrefix = "Fairlead-"
	// forwardHeader holds an envelope.
	forwardHeader = headerPrefix + "Forward"
	// verdictHeader says why a replica did not serve what was forwarded to it.
	verdictHeader = headerPrefix + "Verdict"
	// movedHeader names the replica, as host:port, that a session was handed to.
	movedHeader = headerPrefix + "Moved"
)

// The values of verdictHeader.
const (
	// verdictGone: the session is not here any more.
	verdictGone = "gone"
	// verdictReplaced: this is not the process that made the id, which has ended.
	verdictReplaced = "replaced"
	// verdictMoved: see movedHeader.
	verdictMoved = "moved"
	// verdictKey: the connection was made with a key that has left the ring.
	verdictKey = "key"
	// verdictUnread: the envelope is of a version that the replica does not know, or
	// says that the request was forwarded too often.
	verdictUnread = "unread"
)

// maxHops bounds how often a request is forwarded: nobody forwards what was forwarded
// to him, so that there is no loop.
const maxHops = 1

const (
	envelopeVersion = 1
	flagAnonymous   = 1
	// maxRoles bounds the roles that an envelope is believed to hold.
	maxRoles = 1 << 10
)

var errEnvelope = errors.New("the envelope of the forwarded request cannot be read")

// envelope is what a replica says of a request that it forwards, beside what the
// client sent.
type envelope struct {
	Forwarded
	// Boot is the nonce of the process that the request is meant for; zero if any
	// will do that has the session.
	Boot [8]byte
	// Key is the session's.
	Key session.Key
}

// encode gives the envelope as a header's value: base64url of a version, hops,
// flags, boot nonce, key, and strings with their lengths before them.
func (e *envelope) encode() string {
	b := make([]byte, 0, 256)
	flags := byte(0)
	if e.Principal.Anonymous {
		flags |= flagAnonymous
	}
	b = append(b, envelopeVersion, byte(min(e.Hops, maxHops+1)&0xff), flags)
	b = append(b, e.Boot[:]...)
	b = append(b, e.Key[:]...)
	for _, s := range []string{e.Principal.Key, e.Principal.Name, e.RequestID, e.ClientAddr} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Principal.Roles)))
	for _, role := range e.Principal.Roles {
		b = appendString(b, role)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeEnvelope reads what encode wrote.
func decodeEnvelope(value string) (envelope, error) {
	b, err := base64.RawURLEncoding.DecodeString(value)
	e := envelope{}
	fixed := 3 + len(e.Boot) + len(e.Key)
	if err != nil || len(b) < fixed || b[0] != envelopeVersion {
		return envelope{}, errEnvelope
	}
	e.Hops = int(b[1])
	anonymous := b[2]&flagAnonymous != 0
	copy(e.Boot[:], b[3:])
	copy(e.Key[:], b[3+len(e.Boot):])
	r := reader{rest: b[fixed:]}
	e.Principal = auth.Principal{Key: r.text(), Name: r.text(), Anonymous: anonymous}
	e.RequestID, e.ClientAddr = r.text(), r.text()
	n := r.number()
	if n > maxRoles {
		return envelope{}, errEnvelope
	}
	for range n {
		e.Principal.Roles = append(e.Principal.Roles, r.text())
	}
	if r.broken || len(r.rest) > 0 {
		return envelope{}, errEnvelope
	}
	return e, nil
}

// reader takes an envelope apart.
type reader struct {
	rest   []byte
	broken bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.rest, r.broken = nil, true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.rest, r.broken = nil, true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
