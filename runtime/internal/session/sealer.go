// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"fairlead.dev/fairlead/runtime/keyring"
)

// MaxIDLength bounds the ids that are looked at, in bytes. Ours have 103.
const MaxIDLength = 128

// The layout of an id before base32: a version, the key's id, a nonce, and the
// sealed owner and key.
const (
	idVersion   = 1
	headSize    = 2
	nonceSize   = 12
	ownerSize   = 16 + 2 + 8
	sealedSize  = ownerSize + 8
	rawSize     = headSize + nonceSize + sealedSize + 16
	encodedSize = (rawSize*8 + 4) / 5
)

// Owner is the replica that made an id.
type Owner struct {
	// Addr is where its peers reach it; the zero AddrPort when there are none.
	Addr netip.AddrPort
	// Boot tells its process from an earlier one at the same address.
	Boot [8]byte
}

// NewOwner is this process as the owner of the ids that it makes.
func NewOwner(addr netip.AddrPort) Owner {
	o := Owner{Addr: addr}
	rand.Read(o.Boot[:])
	return o
}

// Key is the random part of an id, by which a session is found.
type Key [8]byte

// Sealer makes the ids of sessions and opens them: an id carries its owner,
// encrypted and authenticated by AES-256-GCM under a key that the replicas of one
// server share, and is bound to the server's uid and the caller's principal. It is
// safe for concurrent use.
type Sealer struct {
	self Owner
	// own takes the place of a ring while there is none.
	own   keyring.Key
	mu    sync.Mutex // held while keys is replaced
	alone bool       // own was in force: its ids stay valid; guarded by mu
	keys  atomic.Pointer[[]sealingKey]
}

// sealingKey is one key of a ring.
type sealingKey struct {
	id   byte
	aead cipher.AEAD
}

// NewSealer makes a Sealer of the server with a uid. The zero ring stands for a
// random key of this process, so that no other replica can open its ids.
func NewSealer(uid string, ring keyring.Ring, self Owner) *Sealer {
	s := &Sealer{self: self}
	rand.Read(s.own[:])
	s.SetRing(uid, ring)
	return s
}

// SetRing takes another ring: ids are sealed with its current key, and opened
// with each of its keys. The zero ring stands for the random key, whose ids stay
// valid afterwards: their sessions are here and nowhere else.
func (s *Sealer) SetRing(uid string, ring keyring.Ring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := ring.Keys()
	s.alone = s.alone || len(from) == 0
	if s.alone {
		from = append(from, s.own)
	}
	keys := make([]sealingKey, len(from))
	for i, k := range from {
		keys[i] = newSealingKey(uid, k)
	}
	s.keys.Store(&keys)
}

func newSealingKey(uid string, k keyring.Key) sealingKey {
	derived, err := hkdf.Key(sha256.New, k[:], nil, "fairlead session id "+uid, 32)
	if err != nil {
		panic(err) // Only a length that SHA-256 cannot give is an error.
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // 32 bytes are a key of AES-256.
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM.
	}
	sum := sha256.Sum256(append([]byte("fairlead session id key "), derived...))
	return sealingKey{id: sum[0], aead: aead}
}

// Self is this replica as it is in the ids that Seal makes.
func (s *Sealer) Self() Owner { return s.self }

// Seal makes an id for a principal with a new key: 103 characters of a-z and 2-7,
// which need no escaping in a header or a query.
func (s *Sealer) Seal(principal string) (id string, key Key) {
	raw, key := s.seal(principal)
	return encode(&raw), key
}

// raw is an id before base32.
type raw [rawSize]byte

func (s *Sealer) seal(principal string) (r raw, key Key) {
	rand.Read(key[:])
	with := (*s.keys.Load())[0]
	r[0], r[1] = idVersion, with.id
	nonce := r[headSize : headSize+nonceSize]
	rand.Read(nonce)
	var plain [sealedSize]byte
	if s.self.Addr.IsValid() {
		ip := s.self.Addr.Addr().As16()
		copy(plain[:16], ip[:])
		binary.BigEndian.PutUint16(plain[16:], s.self.Addr.Port())
	}
	copy(plain[18:], s.self.Boot[:])
	copy(plain[ownerSize:], key[:])
	with.aead.Seal(r[:headSize+nonceSize], nonce, plain[:], additional(nil, r[:headSize], principal))
	return r, key
}

// additional is what an id is bound to beside its key, which is the server's: its
// own head, and the principal.
func additional(dst, head []byte, principal string) []byte {
	return append(append(dst, head...), principal...)
}

// scratch is what opening an id needs: what is given to a cipher leaves the stack.
type scratch struct {
	raw   raw
	plain [sealedSize]byte
	bound []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxBound bounds the buffer for a principal's name that is kept, in bytes.
const maxBound = 4 << 10

// Open tells who made an id, and its key. It is false for an id that was not
// sealed by a replica of this server for this principal, with a key that is still
// in the ring: forged or truncated ones, those of other servers and principals,
// and those of old keys. It does not tell which.
func (s *Sealer) Open(id, principal string) (Owner, Key, bool) {
	if len(id) != encodedSize {
		return Owner{}, Key{}, false
	}
	b, _ := scratches.Get().(*scratch)
	owner, key, ok := s.open(b, id, principal)
	if cap(b.bound) <= maxBound {
		scratches.Put(b)
	}
	return owner, key, ok
}

// open leaves the decoded id in b.
func (s *Sealer) open(b *scratch, id, principal string) (owner Owner, key Key, ok bool) {
	if !decode(&b.raw, id) || b.raw[0] != idVersion {
		return Owner{}, Key{}, false
	}
	b.bound = additional(b.bound[:0], b.raw[:headSize], principal)
	nonce, sealed := b.raw[headSize:headSize+nonceSize], b.raw[headSize+nonceSize:]
	for _, k := range *s.keys.Load() {
		if k.id != b.raw[1] {
			continue
		}
		plain, err := k.aead.Open(b.plain[:0], nonce, sealed, b.bound)
		if err != nil {
			continue
		}
		ip, port := [16]byte(plain[:16]), binary.BigEndian.Uint16(plain[16:])
		if ip != [16]byte{} || port != 0 {
			owner.Addr = netip.AddrPortFrom(netip.AddrFrom16(ip).Unmap(), port)
		}
		copy(owner.Boot[:], plain[18:])
		copy(key[:], plain[ownerSize:])
		return owner, key, true
	}
	return Owner{}, Key{}, false
}

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// encode is base32 in lower case without padding.
func encode(r *raw) string {
	var out [encodedSize]byte
	var bits, have uint
	n := 0
	for _, b := range r {
		bits, have = bits<<8|uint(b), have+8
		for have >= 5 {
			have -= 5
			out[n] = alphabet[bits>>have&31]
			n++
		}
	}
	if have > 0 {
		out[n] = alphabet[bits<<(5-have)&31]
	}
	return string(out[:])
}

// decode is the only way back: one id has one spelling. The decoder of the
// standard library allocates.
func decode(into *raw, id string) bool {
	var bits, have uint
	n := 0
	for i := range len(id) {
		c := id[i]
		var v byte
		switch {
		case 'a' <= c && c <= 'z':
			v = c - 'a'
		case '2' <= c && c <= '7':
			v = c - '2' + 26
		default:
			return false
		}
		bits, have = bits<<5|uint(v), have+5
		if have >= 8 {
			have -= 8
			if n == len(into) {
				return false
			}
			into[n] = byte(bits >> have & 0xff)
			n++
		}
	}
	return n == len(into) && bits&(1<<have-1) == 0
}
