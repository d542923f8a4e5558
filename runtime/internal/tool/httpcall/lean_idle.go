// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"slices"
	"sync"
	"time"
)

// idleConns keeps connections between calls, for idleTimeout at most. It has no
// goroutine, and one timer for all.
type idleConns struct {
	// limit bounds the connections.
	limit int

	mu sync.Mutex
	// conns are in the order in which they were put.
	conns []*conn
	// timer is nil before the first connection, and armed while it is to expire; it
	// may find nothing then.
	timer *time.Timer
	armed bool
}

// take returns the connection to host that was put last and can be used, nil if
// there is none. It closes those that cannot.
func (p *idleConns) take(host string) *conn {
	for {
		c := p.pop(host)
		if c == nil || c.alive() {
			return c
		}
		c.abort()
	}
}

func (p *idleConns) pop(host string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range slices.Backward(p.conns) {
		if c.host == host {
			p.conns = slices.Delete(p.conns, i, i+1)
			return c
		}
	}
	return nil
}

// put keeps a connection, which is no longer the caller's. kept is false if there
// are enough.
func (p *idleConns) put(c *conn) (kept bool) {
	c.since, c.reused = time.Now(), true
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) >= p.limit {
		return false
	}
	p.conns = append(p.conns, c)
	if !p.armed {
		p.arm(idleTimeout)
	}
	return true
}

// arm has expire called after d. The caller has the lock.
func (p *idleConns) arm(d time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
	} else {
		p.timer.Reset(d)
	}
}

// expire closes the connections that were kept long enough.
func (p *idleConns) expire() {
	p.mu.Lock()
	old := 0
	for old < len(p.conns) && time.Since(p.conns[old].since) >= idleTimeout {
		old++
	}
	expired := slices.Clone(p.conns[:old])
	p.conns = slices.Delete(p.conns, 0, old)
	p.armed = false
	if len(p.conns) > 0 {
		p.arm(idleTimeout - time.Since(p.conns[0].since))
	}
	p.mu.Unlock()
	for _, c := range expired {
		c.abort()
	}
}

// close closes all connections that are kept now.
func (p *idleConns) close() {
	p.mu.Lock()
	conns := p.conns
	p.conns, p.armed = nil, false
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.abort()
	}
}
