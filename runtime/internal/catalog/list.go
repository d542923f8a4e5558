// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"sync"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

const (
	// PageSize is how many tools a page of tools/list holds.
	PageSize = 100
	// maxCachedBytes bounds the pages that are kept encoded. Above it, pages of
	// rarer sets of roles are put together anew on each request.
	maxCachedBytes = 4 << 20
)

// ErrCursor means that a cursor was not given out by this catalog, which changes
// with each revision.
var ErrCursor = errors.New("the cursor is unknown or expired; list again from the start")

// AppendPage appends one page of tools/list for a principal: the members
// "tools" and, if there is more, "nextCursor", without the braces around them.
// An empty cursor is the first page. The error is ErrCursor.
func (c *Catalog) AppendPage(dst []byte, p auth.Principal, policy auth.Policy, cursor string, f Flavour) ([]byte, error) {
	offset := 0
	if cursor != "" {
		var ok bool
		if offset, ok = c.decodeCursor(cursor); !ok {
			return dst, ErrCursor
		}
	}
	visible := make([]byte, (len(c.listed)+7)/8, (len(c.listed)+7)/8+4)
	count := 0
	for i, t := range c.listed {
		if t.Visible(p, policy) {
			visible[i/8] |= 1 << (i % 8)
			count++
		}
	}
	if offset > 0 && offset >= count {
		return dst, ErrCursor
	}
	// What is seen, not who sees it, is the key: sets of roles that open the same
	// tools share pages.
	key := string(append(visible, byte(f), byte(offset/PageSize), byte(offset/PageSize>>8)))
	if page, ok := c.pages.get(key); ok {
		return append(dst, page...), nil
	}
	start := len(dst)
	dst = c.appendPage(dst, visible, offset, count, f)
	c.pages.put(key, dst[start:])
	return dst, nil
}

func (c *Catalog) appendPage(dst, visible []byte, offset, count int, f Flavour) []byte {
	dst = append(dst, `"tools":[`...)
	seen := 0
	for i, t := range c.listed {
		if visible[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		seen++
		if seen <= offset {
			continue
		}
		if seen > offset+PageSize {
			break
		}
		if seen > offset+1 {
			dst = append(dst, ',')
		}
		dst = append(dst, t.entries[f]...)
	}
	dst = append(dst, ']')
	if count > offset+PageSize {
		dst = append(dst, `,"nextCursor":"`...)
		dst = append(append(dst, c.encodeCursor(offset+PageSize)...), '"')
	}
	return dst
}

// encodeCursor binds a position to the revision that it counts in.
func (c *Catalog) encodeCursor(offset int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.revision + "." + strconv.Itoa(offset)))
}

// decodeCursor takes only what encodeCursor gives, byte for byte.
func (c *Catalog) decodeCursor(cursor string) (offset int, ok bool) {
	if len(cursor) > 128 {
		return 0, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return 0, false
	}
	digits, ok := strings.CutPrefix(string(raw), c.revision+".")
	if !ok {
		return 0, false
	}
	offset, err = strconv.Atoi(digits)
	if err != nil || offset <= 0 || offset%PageSize != 0 || c.encodeCursor(offset) != cursor {
		return 0, false
	}
	return offset, true
}

// pageCache keeps encoded pages up to maxCachedBytes in sum.
type pageCache struct {
	mu    sync.RWMutex
	pages map[string][]byte
	bytes int
}

func (c *pageCache) get(key string) ([]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	page, ok := c.pages[key]
	return page, ok
}

func (c *pageCache) put(key string, page []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.pages[key]; ok || c.bytes+len(page)+len(key) > maxCachedBytes {
		return
	}
	if c.pages == nil {
		c.pages = make(map[string][]byte)
	}
	c.pages[key] = append([]byte(nil), page...)
	c.bytes += len(page) + len(key)
}
