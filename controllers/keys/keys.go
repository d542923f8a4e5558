// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keys derives the session keys of all servers from one master key, so
// that the operator needs no right to read Secrets of others: it can make any
// server's ring again, at any time, without reading it.
package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/runtime/keyring"
)

// Period is how long a key is the current one: the bound of sessions.maxAge, so
// that a session that was sealed with it has ended when it is no longer accepted
// as the previous one.
const Period = 30 * 24 * time.Hour

// searched is how many epochs an applied ring may be away from the clock's: 82
// years, since a clock without a battery begins in 1970.
const searched = 1000

// skew is how much the clocks of the operator's replicas may differ unnoticed.
const skew = time.Hour

// Epoch returns the number of the period that now lies in.
func Epoch(now time.Time) int64 { return now.Unix() / int64(Period/time.Second) }

// Next returns when the period after now's begins.
func Next(now time.Time) time.Time {
	return time.Unix((Epoch(now)+1)*int64(Period/time.Second), 0).UTC()
}

// Deriver makes keys out of the master key. It is safe for concurrent use.
type Deriver struct {
	// Log is told once of a clock that is behind the keys; nil: nobody is.
	Log *slog.Logger

	master []byte
	told   sync.Once
}

// NewDeriver returns a Deriver of the master key, which has MasterSize bytes.
func NewDeriver(master []byte) (*Deriver, error) {
	if len(master) != MasterSize {
		return nil, fmt.Errorf("failed to use the master key: it has %d bytes, want %d", len(master), MasterSize)
	}
	return &Deriver{master: slices.Clone(master)}, nil
}

// Ring returns the ring of a server in an epoch: the key of the epoch, of the
// next, and of the previous one. Another server, also one of the same name, has
// other keys.
func (d *Deriver) Ring(uid types.UID, epoch int64) keyring.Ring {
	return keyring.Ring{Current: d.key(uid, epoch), Next: d.key(uid, epoch+1), Previous: d.key(uid, epoch-1)}
}

// key derives one by HKDF-SHA256 (RFC 5869). The master key is uniformly random,
// so that no salt is needed.
func (d *Deriver) key(uid types.UID, epoch int64) keyring.Key {
	info := "fairlead.dev/session-key/v1/" + string(uid) + "/" + strconv.FormatInt(epoch, 10)
	var key keyring.Key
	derived, err := hkdf.Key(sha256.New, d.master, nil, info, len(key))
	if err != nil {
		panic("failed to derive a session key: " + err.Error()) // Only for keys above 255 hashes long.
	}
	copy(key[:], derived)
	return key
}

// Held is what is known about the keys that pods hold.
type Held struct {
	// NoPods is true if there is no pod that could hold any.
	NoPods bool
	// IDs are those of the keys that every pod holds; nil: not known.
	IDs []string
}

// Choose returns the ring that a server should have now. applied are the ids of
// the ring that it has, current first, and empty for a new server. A ring is
// promoted by one epoch at a time, and only when every pod holds the key that
// becomes current, since a pod that lacks it would refuse the sessions of the
// others. It never goes back, however wrong the clock is or was: it waits for the
// calendar. Applied ids that are of no epoch of this master key are replaced.
func (d *Deriver) Choose(uid types.UID, applied []string, held Held, now time.Time) keyring.Ring {
	epoch := Epoch(now)
	at, found := d.find(uid, applied, epoch)
	switch {
	case !found || (at < epoch && held.NoPods):
		return d.Ring(uid, epoch)
	case at >= epoch:
		d.tellAhead(at, now)
		return d.Ring(uid, at)
	}
	if next := d.Ring(uid, at+1); slices.Contains(held.IDs, next.Current.ID()) {
		return next
	}
	return d.Ring(uid, at)
}

// find returns the epoch whose ring has the ids. Those near the clock's are
// tried first.
func (d *Deriver) find(uid types.UID, ids []string, epoch int64) (int64, bool) {
	if len(ids) == 0 {
		return 0, false
	}
	for away := range int64(searched) {
		for _, at := range []int64{epoch - away, epoch + away} {
			if at >= 0 && d.key(uid, at).ID() == ids[0] && slices.Equal(ids, d.Ring(uid, at).IDs()) {
				return at, true
			}
		}
	}
	return 0, false
}

// tellAhead logs keys of an epoch that has not begun. Replicas' clocks differ a
// little where one epoch ends, which is not worth a word.
func (d *Deriver) tellAhead(at int64, now time.Time) {
	if d.Log == nil || at == Epoch(now) || at == Epoch(now.Add(skew)) {
		return
	}
	d.told.Do(func() {
		d.Log.Warn("Session keys are of a later period than the clock says: they stay until the calendar comes to them; check the clocks of the nodes",
			"clock", now.UTC().Format(time.RFC3339), "keysFrom", time.Unix(at*int64(Period/time.Second), 0).UTC().Format(time.RFC3339))
	})
}
