// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

func TestTokensOfPlacesThatWereTakenAgainAreVoid(t *testing.T) {
	t.Parallel()
	var all table
	first := all.add(nil, nil)
	all.remove(first)
	second := all.add(nil, nil)
	if first.place() != second.place() {
		t.Fatalf("the second watch took place %d, not the free one", second.place())
	}
	if all.get(first) != nil || all.get(second) == nil {
		t.Errorf("get(%x) = %v, get(%x) = %v, want only the second", first, all.get(first), second, all.get(second))
	}
	if all.get(0) != nil || all.get(newToken(7*pageSize, 1)) != nil {
		t.Error("a token that was never given out is valid")
	}
}

func TestGenerationsNeverBecomeZero(t *testing.T) {
	t.Parallel()
	all := table{generation: math.MaxUint32}
	if token := all.add(nil, nil); token.generation() != 1 {
		t.Errorf("generation %d, want 1", token.generation())
	}
}

// TestTableUnderChange takes and gives back places at random: valid tokens are
// found, others are not, and no place is given out twice.
func TestTableUnderChange(t *testing.T) {
	t.Parallel()
	var all table
	random := rand.New(rand.NewPCG(1, 2))
	valid, void := map[Token]bool{}, []Token{}
	for range 20000 {
		if random.IntN(2*pageSize*10) > len(valid) {
			token := all.add(nil, nil)
			if valid[token] {
				t.Fatalf("%x was given out twice", token)
			}
			valid[token] = true
		} else {
			for token := range valid {
				all.remove(token)
				delete(valid, token)
				void = append(void, token)
				break
			}
		}
	}
	places := map[uint32]bool{}
	for token := range valid {
		if all.get(token) == nil {
			t.Errorf("%x is not found", token)
		}
		places[token.place()] = true
	}
	if len(places) != len(valid) || all.used != len(valid) {
		t.Errorf("%d watches have %d places, and %d are counted", len(valid), len(places), all.used)
	}
	for _, token := range void {
		if all.get(token) != nil {
			t.Errorf("%x is found although it was removed", token)
		}
	}
}

// TestCost holds what a watch costs beside the RawConn, and that a crowd that
// left costs nothing.
func TestCost(t *testing.T) {
	const n = 64 * pageSize
	var all table
	tokens := make([]Token, n)
	before := heap()
	for i := range tokens {
		tokens[i] = all.add(nil, nil)
	}
	if each := (heap() - before) / n; each > 48 {
		t.Errorf("a watch costs %d bytes, want at most 48", each)
	}
	for _, token := range tokens {
		all.remove(token)
	}
	if left := heap() - before; left > 16<<10 {
		t.Errorf("%d bytes are left of %d watches, want at most one page and the lists of pages", left, n)
	}
	runtime.KeepAlive(&all)
}

// heap is how many bytes live on it.
func heap() int64 {
	runtime.GC() //nolint:revive // call-to-gc: what lives is measured.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
