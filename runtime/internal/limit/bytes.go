// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package limit

import "sync/atomic"

// Bytes bounds the bytes that are held at once. It is safe for concurrent use. A
// nil one has no bound.
type Bytes struct {
	size int64
	held atomic.Int64
}

// NewBytes bounds them to size, which must be positive.
func NewBytes(size int64) *Bytes { return &Bytes{size: size} }

// Size is the bound.
func (b *Bytes) Size() int64 { return b.size }

// Held is how many are held now.
func (b *Bytes) Held() int64 { return b.held.Load() }

// Take reserves n bytes, unless that is too much. Give gives them back.
func (b *Bytes) Take(n int64) bool {
	if b == nil {
		return true
	}
	for {
		held := b.held.Load()
		if held+n > b.size {
			return false
		}
		if b.held.CompareAndSwap(held, held+n) {
			return true
		}
	}
}

// Count counts n bytes that are held already, whatever the bound, or, if n is
// negative, that are not any more.
func (b *Bytes) Count(n int64) {
	if b != nil {
		b.held.Add(n)
	}
}

// Give gives n bytes back.
func (b *Bytes) Give(n int64) { b.Count(-n) }

// Full says that nothing may be added.
func (b *Bytes) Full() bool { return b != nil && b.held.Load() >= b.size }
