// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// key is a key of one repeated byte.
func key(b byte) (k Key) {
	for i := range k {
		k[i] = b
	}
	return k
}

func TestKeyIDIsFixed(t *testing.T) {
	t.Parallel()
	// The operator and the runtime may be of different versions: an id is for good.
	if got, want := key(1).ID(), "a79afd96"; got != want {
		t.Errorf("ID() = %q, want %q", got, want)
	}
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		text := fmt.Sprintf(format, Ring{Current: key(0xab), Next: key(0xab)})
		if strings.Contains(text, "171") || strings.Contains(strings.ToLower(text), "abab") || strings.Contains(text, "\xab") {
			t.Errorf("%s prints a key: %s", format, text)
		}
	}
}

func TestIDsAreInTheOrderOfUse(t *testing.T) {
	t.Parallel()
	ring := Ring{Current: key(1), Next: key(2)}
	if diff := cmp.Diff([]string{key(1).ID(), key(2).ID()}, ring.IDs()); diff != "" {
		t.Error(diff)
	}
	ring.Previous = key(3)
	if diff := cmp.Diff([]string{key(1).ID(), key(2).ID(), key(3).ID()}, ring.IDs()); diff != "" {
		t.Error(diff)
	}
	if got := (Ring{}).IDs(); len(got) != 0 {
		t.Errorf("the zero ring has the ids %v", got)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	whole := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	for _, tc := range []struct {
		name    string
		files   map[string][]byte
		want    Ring
		wantErr string
	}{
		{
			name:  "all three",
			files: map[string][]byte{"current": whole(1), "next": whole(2), "previous": whole(3)},
			want:  Ring{Current: key(1), Next: key(2), Previous: key(3)},
		},
		{
			name:  "without previous, and with files of the kubelet and others",
			files: map[string][]byte{"current": whole(1), "next": whole(2), "..data": whole(9), "later": whole(8)},
			want:  Ring{Current: key(1), Next: key(2)},
		},
		{name: "empty folder", files: map[string][]byte{}, wantErr: "file does not exist"},
		{name: "no current", files: map[string][]byte{"next": whole(2)}, wantErr: `"current" is missing`},
		{name: "no next", files: map[string][]byte{"current": whole(2)}, wantErr: `"next" is missing`},
		{
			name: "short", files: map[string][]byte{"current": whole(1)[:31], "next": whole(2)},
			wantErr: `"current": it does not have exactly 32 bytes`,
		},
		{
			name: "a newline too many", files: map[string][]byte{"current": whole(1), "next": append(whole(2), '\n')},
			wantErr: `"next": it does not have exactly 32 bytes`,
		},
		{
			name: "previous is empty", files: map[string][]byte{"current": whole(1), "next": whole(2), "previous": nil},
			wantErr: `"previous": it does not have exactly 32 bytes`,
		},
		{
			name: "zero bytes", files: map[string][]byte{"current": whole(0), "next": whole(2)},
			wantErr: "only zero bytes",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, data := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Load(dir)
			if tc.wantErr == "" {
				if err != nil || got != tc.want {
					t.Fatalf("Load() = %v, %v, want %v", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) || got != (Ring{}) {
				t.Fatalf("Load() = %v, %v, want the error %q and no ring", got, err, tc.wantErr)
			}
		})
	}
}

func TestLoadTellsThatNothingIsThere(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"no folder": filepath.Join(t.TempDir(), "none"), "empty folder": t.TempDir()} {
		if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want fs.ErrNotExist", name, err)
		}
	}
}

// TestLoadThroughTheLinksOfTheKubelet reads a volume as it is mounted: each file
// is a link into ..data, which is a link to a folder with a time in its name.
func TestLoadThroughTheLinksOfTheKubelet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mounted := filepath.Join(dir, "..2026_11_21")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"current", "next", "previous"} {
		k := key(byte(i + 1))
		if err := os.WriteFile(filepath.Join(mounted, name), k[:], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..2026_11_21", filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(dir); err != nil || got != (Ring{Current: key(1), Next: key(2), Previous: key(3)}) {
		t.Errorf("Load() = %v, %v", got, err)
	}
	// A link that leaves the folder is not followed.
	if err := os.Remove(filepath.Join(dir, "next")); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "next")
	k := key(7)
	if err := os.WriteFile(outside, k[:], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "next")); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(dir); err == nil {
		t.Errorf("Load() followed a link out of the folder: %v", got)
	}
}

const uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"

func TestVerifierToken(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ring := Ring{Current: key(1), Next: key(2), Previous: key(3)}
	good := VerifierToken(key(1), uid, now)
	if !IsVerifierToken(good) || len(good) > maxTokenLength {
		t.Fatalf("token %q", good)
	}
	if again := VerifierToken(key(1), uid, now); again == good {
		t.Error("two tokens are equal")
	}
	last := good[:len(good)-1]
	for _, tc := range []struct {
		name  string
		token string
		uid   string
		ring  Ring
		after time.Duration
		valid bool
	}{
		{name: "current key", token: good, valid: true},
		{name: "next key", token: VerifierToken(key(2), uid, now), valid: true},
		{name: "previous key", token: VerifierToken(key(3), uid, now), valid: true},
		{name: "last second", token: good, after: 59 * time.Second, valid: true},
		{name: "our clock is a minute behind", token: good, after: -time.Minute, valid: true},
		{name: "expired", token: good, after: time.Minute},
		{name: "from the future", token: good, after: -time.Minute - time.Second},
		{name: "another server", token: good, uid: "2" + uid[1:]},
		{name: "no server", token: VerifierToken(key(1), "", now)},
		{name: "foreign key", token: VerifierToken(key(4), uid, now)},
		{name: "dropped key", token: VerifierToken(key(3), uid, now), ring: Ring{Current: key(1), Next: key(2)}},
		{name: "zero key where there is no previous one", token: VerifierToken(Key{}, uid, now), ring: Ring{Current: key(1), Next: key(2)}},
		{name: "cut", token: last},
		{name: "longer", token: good + "A"},
		{name: "padded", token: good + "="},
		{name: "space", token: " " + good},
		{name: "another id", token: strings.Replace(good, key(1).ID(), key(2).ID(), 1)},
		{name: "expiry with a zero in front", token: strings.Replace(good, ".17", ".017", 1)},
		{name: "expiry with a sign", token: strings.Replace(good, ".17", ".+17", 1)},
		{name: "empty", token: ""},
		{name: "prefix only", token: TokenPrefix},
		{name: "huge", token: TokenPrefix + strings.Repeat("a", 1<<20)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.uid == "" {
				tc.uid = uid
			}
			if tc.ring == (Ring{}) {
				tc.ring = ring
			}
			err := tc.ring.CheckVerifierToken(tc.token, tc.uid, now.Add(tc.after))
			if tc.valid != (err == nil) {
				t.Errorf("CheckVerifierToken() = %v, want valid %v", err, tc.valid)
			}
			if err != nil && !errors.Is(err, ErrToken) {
				t.Errorf("error %v", err)
			}
		})
	}
	if err := (Ring{}).CheckVerifierToken(good, uid, now); err == nil {
		t.Error("the zero ring accepted a token")
	}
}

// TestEveryBitOfATokenMatters flips each bit.
func TestEveryBitOfATokenMatters(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_795_000_000, 0)
	ring := Ring{Current: key(1), Next: key(2)}
	good := VerifierToken(key(1), uid, now)
	for i := range len(good) {
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			if ring.CheckVerifierToken(string(b), uid, now) == nil {
				t.Fatalf("byte %d, bit %d: %q is accepted", i, bit, b)
			}
		}
	}
}

func FuzzCheckVerifierToken(f *testing.F) {
	now := time.Unix(1_795_000_000, 0)
	ring := Ring{Current: key(1), Next: key(2), Previous: key(3)}
	const fixed = "flv1.00000000.1795000060.aaaaaaaaaaaaaaaaaaaaaaaaaa.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	f.Add(fixed, uid)
	f.Add("flv1....", uid)
	f.Add("flv1.-.-.-.-", "")
	f.Add(strings.Repeat("flv1.", 20), uid)
	f.Fuzz(func(t *testing.T, token, server string) {
		if ring.CheckVerifierToken(token, server, now) == nil {
			t.Fatalf("%q is accepted for %q", token, server)
		}
		id, expiry, claims, mac, ok := parseToken(token)
		if !ok {
			return
		}
		// What is parsed has one spelling, so a token that was seen cannot be varied.
		parts := strings.Split(token, ".")
		if len(parts) != 5 || parts[1] != id || !strings.HasPrefix(token, claims+".") || len(hex.EncodeToString(mac)) != 64 || expiry.Unix() < 0 {
			t.Fatalf("%q was taken apart as %q %v %q", token, id, expiry, claims)
		}
	})
}
