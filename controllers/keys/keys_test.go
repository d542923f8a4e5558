// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/runtime/keyring"
)

func deriver(t *testing.T, fill byte) *keys.Deriver {
	t.Helper()
	d, err := keys.NewDeriver(bytes.Repeat([]byte{fill}, keys.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	next := keys.Next(now)
	if !next.After(now) || next.Sub(now) > keys.Period {
		t.Errorf("the period after the one of %s begins at %s", now, next)
	}
	if got, want := keys.Epoch(next), keys.Epoch(now)+1; got != want {
		t.Errorf("Epoch(%s) = %d, want %d", next, got, want)
	}
	if got := keys.Epoch(next.Add(-time.Second)); got != keys.Epoch(now) {
		t.Errorf("the period of %s ends before %s", now, next)
	}
	if got := keys.Next(next); got.Sub(next) != keys.Period {
		t.Errorf("the period from %s ends at %s", next, got)
	}
}

func TestRing(t *testing.T) {
	t.Parallel()
	d := deriver(t, 1)
	now := d.Ring("uid-1", 700)
	if now.Current == now.Next || now.Current == now.Previous || now.Next == now.Previous || len(now.IDs()) != 3 {
		t.Errorf("the keys of a ring are not three: %v", now.IDs())
	}
	next := d.Ring("uid-1", 701)
	if next.Current != now.Next || next.Previous != now.Current {
		t.Error("the next ring does not begin where this one ends")
	}
	for name, other := range map[string]keyring.Ring{
		"another server":     d.Ring("uid-2", 700),
		"another master key": deriver(t, 2).Ring("uid-1", 700),
	} {
		if other.Current == now.Current {
			t.Errorf("%s has the same key", name)
		}
	}
	if deriver(t, 1).Ring("uid-1", 700) != now {
		t.Error("the same input gives another ring")
	}
	// Keys are derived anew after each restart: another derivation would end all
	// sessions.
	if got, want := now.IDs(), []string{"f397d96b", "0c50bc16", "6b889e06"}; !slices.Equal(got, want) {
		t.Errorf("the keys of this master key have become others: %v, want %v", got, want)
	}
	if _, err := keys.NewDeriver(make([]byte, 31)); err == nil {
		t.Error("a master key of 31 bytes was taken")
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	d := deriver(t, 1)
	now := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	epoch := keys.Epoch(now)
	ring := func(at int64) []string { return d.Ring("uid", at).IDs() }
	for _, tt := range []struct {
		name    string
		applied []string
		held    keys.Held
		want    int64
	}{
		{name: "a new server", held: keys.Held{NoPods: true}, want: epoch},
		{name: "current", applied: ring(epoch), held: keys.Held{IDs: ring(epoch)}, want: epoch},
		{name: "current, pods not known", applied: ring(epoch), want: epoch},
		{name: "every pod holds the next key", applied: ring(epoch - 1), held: keys.Held{IDs: ring(epoch - 1)}, want: epoch},
		{name: "a pod lacks it", applied: ring(epoch - 1), held: keys.Held{IDs: ring(epoch - 1)[:1]}, want: epoch - 1},
		{name: "nothing is known of the pods", applied: ring(epoch - 1), want: epoch - 1},
		{name: "no pod could lack it", applied: ring(epoch - 1), held: keys.Held{NoPods: true}, want: epoch},
		{name: "two periods late: one step", applied: ring(epoch - 2), held: keys.Held{IDs: ring(epoch - 2)}, want: epoch - 1},
		{name: "two periods late, no pods: at once", applied: ring(epoch - 2), held: keys.Held{NoPods: true}, want: epoch},
		{name: "the clock has gone back", applied: ring(epoch + 1), held: keys.Held{IDs: ring(epoch + 1)}, want: epoch + 1},
		{name: "of another master key", applied: deriver(t, 2).Ring("uid", epoch).IDs(), held: keys.Held{IDs: ring(epoch)}, want: epoch},
		{name: "of another server", applied: d.Ring("uid-2", epoch-1).IDs(), held: keys.Held{IDs: ring(epoch)}, want: epoch},
		{name: "years late: one step", applied: ring(epoch - 100), held: keys.Held{IDs: ring(epoch - 100)}, want: epoch - 99},
		{name: "begun in 1970: one step", applied: ring(0), held: keys.Held{IDs: ring(0)}, want: 1},
		{name: "begun in 1970, nothing is known of the pods", applied: ring(0), want: 0},
		{name: "the clock has gone forward by two periods and back", applied: ring(epoch + 2), held: keys.Held{IDs: ring(epoch + 2)}, want: epoch + 2},
		{name: "the same without pods", applied: ring(epoch + 2), held: keys.Held{NoPods: true}, want: epoch + 2},
		{name: "the clock has gone back by years", applied: ring(epoch + 700), held: keys.Held{IDs: ring(epoch + 700)}, want: epoch + 700},
		{name: "in another order", applied: []string{ring(epoch - 1)[1], ring(epoch - 1)[0], ring(epoch - 1)[2]}, want: epoch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, want := d.Choose("uid", tt.applied, tt.held, now).IDs(), ring(tt.want); !slices.Equal(got, want) {
				t.Errorf("got the ring %v, want %v", got, want)
			}
		})
	}
}

// A node that boots in 1970 changes no key, and says once why.
func TestClockBeforeTheKeys(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	d := deriver(t, 1)
	d.Log = slog.New(slog.NewTextHandler(&log, nil))
	begun := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	applied := d.Ring("uid", keys.Epoch(begun)).IDs()
	choose := func(now time.Time) {
		t.Helper()
		for _, held := range []keys.Held{{}, {IDs: applied}, {NoPods: true}} {
			if got := d.Choose("uid", applied, held, now).IDs(); !slices.Equal(got, applied) {
				t.Errorf("at %s with %+v: ring %v, want the applied %v", now, held, got, applied)
			}
		}
	}
	choose(begun)
	choose(keys.Next(begun).Add(-keys.Period - time.Minute)) // Another replica's clock was ahead a little.
	if log.Len() > 0 {
		t.Errorf("logged of a good clock: %s", log.String())
	}
	choose(time.Unix(30, 0))
	choose(time.Unix(90, 0))
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "clock=1970-01-01T00:00:30Z keysFrom=2026-") {
		t.Errorf("logged: %s", got)
	}
}
