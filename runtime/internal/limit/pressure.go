// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// Enough is the part of the memory limit from which on nothing new is taken:
	// what runs needs the rest, and at the limit the kernel kills the process.
	Enough = 0.9
	// freshness is how long a reading of the kernel's files counts.
	freshness = 250 * time.Millisecond
)

// Pressure tells how much of its memory limit this process uses, by the control
// group whose limit is the least. It reads the kernel's files only when asked, at
// most four times a second. It is safe for concurrent use.
type Pressure struct {
	root  fs.FS
	group group
	start time.Time
	// read is when the files were read last, in nanoseconds after start.
	read atomic.Int64
	// ratio is a float64's bits.
	ratio atomic.Uint64
}

// NewPressure looks for the memory limit; see Memory. A limit that changes
// later is not noticed.
func NewPressure(root fs.FS) *Pressure {
	p := &Pressure{root: root, group: least(root), start: time.Now()}
	p.read.Store(-int64(freshness))
	return p
}

// Limit is the memory limit in bytes, 0 if there is none.
func (p *Pressure) Limit() int64 { return p.group.limit }

// Ratio is the memory in use as a part of the limit: 1 is all. What the kernel
// would drop first, the cache of files that were not used lately, does not count.
// It is 0 without a limit, and the last that is known where it cannot be read.
func (p *Pressure) Ratio() float64 {
	if p.group.limit == 0 {
		return 0
	}
	now, last := int64(time.Since(p.start)), p.read.Load()
	if now-last >= int64(freshness) && p.read.CompareAndSwap(last, now) {
		if used, ok := p.used(); ok {
			p.ratio.Store(math.Float64bits(float64(used) / float64(p.group.limit)))
		}
	}
	return math.Float64frombits(p.ratio.Load())
}

func (p *Pressure) used() (int64, bool) {
	usage, err := readNumber(p.root, p.group.usage)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(readSmall(p.root, p.group.stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != p.group.cache {
			continue
		}
		if cache, err := strconv.ParseInt(value, 10, 64); err == nil {
			usage -= cache
		}
	}
	return max(usage, 0), true
}

// admit refuses when memory is short. A nil Pressure is never short of it.
func (p *Pressure) admit() error {
	if p == nil || p.Ratio() < Enough {
		return nil
	}
	return &Exceeded{Reason: ReasonMemory, Status: http.StatusServiceUnavailable, RetryAfter: memoryRetry, Limit: Enough * 100}
}

// memoryRetry is when a client that was refused for want of memory comes back.
const memoryRetry = 5 * time.Second
