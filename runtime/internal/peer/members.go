// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/session"
)

const (
	// absence is how long a replica must be missing from the list of peers before
	// it counts as gone.
	absence = 15 * time.Second
	// silence is how long a replica counts as ready after it was last heard.
	silence = 15 * time.Second
	// memory is how long a replica that is missing and silent is remembered.
	memory = time.Minute
	// maxMembers bounds the replicas that are known.
	maxMembers = 256
)

// status is what replicas tell each other of themselves.
type status struct {
	// Address is where they are reached, Boot their nonce in hex.
	Address netip.AddrPort `json:"address"`
	Boot    string         `json:"boot"`
	// Revision is that of the configuration that they serve.
	Revision string `json:"revision"`
	// Leaving is true once they take no sessions any more.
	Leaving bool `json:"leaving,omitempty"`
	// Said is when it was so, in nanoseconds of Unix time by the clock of who says it:
	// what two requests tell may overtake each other. Zero if it is not known.
	Said int64 `json:"said,omitempty"`
}

// member is another replica.
type member struct {
	listed time.Time // when a lookup last named it
	heard  time.Time // when it last told its status; zero if it has refused since
	status status
}

// members is what is known of the other replicas. It is safe for concurrent use.
type members struct {
	self netip.AddrPort

	mu          sync.Mutex // guards what follows
	known       map[netip.AddrPort]*member
	joined      uint64        // how many were ever known
	first, last time.Time     // the first and the last lookup that succeeded
	met         bool          // those on the list were told of this replica once
	changed     chan struct{} // closed when a status comes or goes, and made anew
}

func newMembers(self netip.AddrPort) *members {
	return &members{self: self, known: map[netip.AddrPort]*member{}, changed: make(chan struct{})}
}

// list takes the result of a lookup, and forgets who has been missing and silent
// for long.
func (m *members) list(now time.Time, all []netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first.IsZero() {
		m.first = now
	}
	m.last = now
	for _, addr := range all {
		if known := m.addLocked(addr); known != nil {
			known.listed = now
		}
	}
	maps.DeleteFunc(m.known, func(_ netip.AddrPort, k *member) bool {
		return now.Sub(k.listed) > memory && now.Sub(k.heard) > memory
	})
}

// addLocked is nil for this replica itself, and for one too many.
func (m *members) addLocked(addr netip.AddrPort) *member {
	if known := m.known[addr]; known != nil {
		return known
	}
	if addr == m.self || !addr.IsValid() || len(m.known) >= maxMembers {
		return nil
	}
	m.known[addr] = &member{}
	m.joined++
	return m.known[addr]
}

// hear takes what a replica says of itself.
func (m *members) hear(now time.Time, s status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.addLocked(s.Address)
	if known == nil {
		return
	}
	known.heard = now
	if s.Said == 0 || s.Boot != known.status.Boot || s.Said >= known.status.Said {
		known.status = s
	}
	m.notifyLocked()
}

// refused notes that nobody listens at an address.
func (m *members) refused(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.known[addr]; known != nil && !known.heard.IsZero() {
		known.heard = time.Time{}
		m.notifyLocked()
	}
}

func (m *members) notifyLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// addresses are all that are known.
func (m *members) addresses() []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.known))
}

// alive are those that were heard lately, in no order.
func (m *members) alive(now time.Time) []netip.AddrPort {
	return m.filter(func(k *member) bool { return now.Sub(k.heard) <= silence })
}

// ready are those that were heard lately and do not leave, in no order.
func (m *members) ready(now time.Time) []netip.AddrPort {
	return m.filter(func(k *member) bool { return now.Sub(k.heard) <= silence && !k.status.Leaving })
}

// isAlive reports whether an address was heard lately.
func (m *members) isAlive(now time.Time, addr netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[addr]
	return known != nil && now.Sub(known.heard) <= silence
}

// silent reports whether an address was heard once but not lately.
func (m *members) silent(now time.Time, addr netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[addr]
	return known != nil && !known.heard.IsZero() && now.Sub(known.heard) > silence
}

// leaves reports whether an address was heard to take leave, and has not refused a connection since.
func (m *members) leaves(addr netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[addr]
	return known != nil && !known.heard.IsZero() && known.status.Leaving
}

func (m *members) filter(is func(*member) bool) []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []netip.AddrPort
	for addr, k := range m.known {
		if is(k) {
			all = append(all, addr)
		}
	}
	return all
}

// behind counts the ready ones that serve another revision. changed is closed when
// that may be different.
func (m *members) behind(now time.Time, revision string) (n int, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.known {
		if now.Sub(k.heard) <= silence && !k.status.Leaving && k.status.Revision != revision {
			n++
		}
	}
	return n, m.changed
}

// absent reports whether every lookup for longer than absence has not named an
// address. Lookups that failed say nothing.
func (m *members) absent(addr netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	since := m.first
	if known := m.known[addr]; known != nil && known.listed.After(since) {
		since = known.listed
	}
	return !since.IsZero() && m.last.Sub(since) > absence
}

// others are the replicas but one that were heard lately, in no order; all tells that no
// other is on the list. joined changes when there is one more than ever before.
func (m *members) others(now time.Time, but netip.AddrPort) (alive []netip.AddrPort, all bool, joined uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all = true
	for addr, k := range m.known {
		switch {
		case addr == but:
		case now.Sub(k.heard) <= silence:
			alive = append(alive, addr)
		case k.listed.Equal(m.last):
			all = false
		}
	}
	return alive, all, m.joined
}

// joins is how many members were ever known.
func (m *members) joins() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joined
}

// isListed reports whether the last lookup that succeeded named an address.
func (m *members) isListed(addr netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[addr]
	return known != nil && known.listed.Equal(m.last)
}

// meet notes that those who are known now were told of this replica, and have answered
// if they can.
func (m *members) meet() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.met = !m.first.IsZero()
}

// synced reports whether the list of peers was read at least once, and those on it were
// met.
func (m *members) synced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.met
}

// rank orders replicas by rendezvous hashing: whoever ranks the same ones for the
// same key gets the same order, and one more or less leaves the others' order as
// it is.
func rank(key session.Key, all []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(all, func(a, b netip.AddrPort) int {
		return cmp.Or(cmp.Compare(weight(key, b), weight(key, a)), a.Compare(b))
	})
	return all
}

func weight(key session.Key, addr netip.AddrPort) uint64 {
	h := fnv.New64a()
	ip := addr.Addr().As16()
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], addr.Port())
	// A hash takes everything.
	_, _ = h.Write(ip[:])
	_, _ = h.Write(b[:])
	_, _ = h.Write(key[:])
	// FNV alone mixes the last bytes too little to compare whole numbers.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
