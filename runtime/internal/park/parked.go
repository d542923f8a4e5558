// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package park

import (
	"net"
	"time"

	"fairlead.dev/fairlead/runtime/internal/poll"
)

// parked is a connection that waits, 56 bytes beside the net.TCPConn.
type parked struct {
	listener *Listener
	conn     *net.TCPConn
	token    poll.Token
	since    int64 // the Unix time in nanoseconds
	in       *list // where it is; nil: nowhere
	before   *parked
	after    *parked
}

// list is a queue of connections, linked through themselves: a place costs
// nothing. A connection is in one list at most.
type list struct {
	first, last *parked
	n           int
}

func (l *list) push(p *parked) {
	p.in, p.before, p.after = l, l.last, nil
	if l.last == nil {
		l.first = p
	} else {
		l.last.after = p
	}
	l.last = p
	l.n++
}

// remove takes p out; it must be in l.
func (l *list) remove(p *parked) {
	if p.before == nil {
		l.first = p.after
	} else {
		p.before.after = p.after
	}
	if p.after == nil {
		l.last = p.before
	} else {
		p.after.before = p.before
	}
	p.in, p.before, p.after = nil, nil, nil
	l.n--
}

func (l *list) clear() []*parked {
	all := make([]*parked, 0, l.n)
	for l.first != nil {
		all = append(all, l.first)
		l.remove(l.first)
	}
	return all
}

// park takes a connection that net/http has let go.
func (l *Listener) park(c *net.TCPConn) error {
	// The deadlines were net/http's; the timers that stand behind them end.
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	p := &parked{listener: l, conn: c, since: time.Now().UnixNano()}
	l.mu.Lock()
	if l.closed || l.leaving.Load() {
		l.mu.Unlock()
		l.dismiss(p)
		return nil
	}
	// Ready waits for mu, and finds the connection in its list.
	token, err := l.poller.Watch(c, p)
	if err != nil {
		l.mu.Unlock()
		_ = c.Close()
		return err
	}
	p.token = token
	l.parked.push(p)
	var oldest *parked
	if l.parked.n > l.options.Max {
		oldest = l.parked.first
		l.parked.remove(oldest)
	}
	l.mu.Unlock()
	if oldest != nil {
		l.poller.Forget(oldest.token)
		l.dismiss(oldest)
	}
	return nil
}

// Ready implements poll.Watcher.
func (p *parked) Ready(t poll.Token, e poll.Events) {
	l := p.listener
	l.mu.Lock()
	mine := p.in == &l.parked
	if mine {
		l.parked.remove(p)
	}
	l.mu.Unlock()
	if !mine {
		return // Whoever took it out looks after it.
	}
	l.poller.Forget(t)
	if e == poll.Readable {
		l.enqueue(p)
		return
	}
	// The peer may have hung up behind a last request.
	l.dismiss(p)
}

// dismiss closes a connection that is in no list, unless bytes have arrived:
// then it is handed out once more.
func (l *Listener) dismiss(p *parked) {
	if hasBytes(p.conn) {
		l.enqueue(p)
		return
	}
	_ = p.conn.Close()
}

// enqueue puts a connection in line.
func (l *Listener) enqueue(p *parked) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.line.push(p)
	}
	l.mu.Unlock()
	if closed {
		_ = p.conn.Close()
		return
	}
	l.signal()
}

// signal has Accept look at the line.
func (l *Listener) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// next hands out who is first in line, nil if nobody may go.
func (l *Listener) next() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.line.first
	if p == nil || l.waking >= l.options.Waking {
		return nil
	}
	l.line.remove(p)
	l.waking++
	if l.line.n > 0 {
		l.signal()
	}
	l.awake.Add(1)
	l.owed.Add(1)
	c := &Conn{TCPConn: p.conn, listener: l}
	c.waking.Store(true)
	c.owed.Store(true)
	return c
}

// woken notes that a connection has made its first read, or was closed before.
func (l *Listener) woken() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waking--
	if l.line.n > 0 {
		l.signal()
	}
}

// The bounds of how often expire looks.
const (
	shortest = 10 * time.Millisecond
	longest  = 30 * time.Second
)

// expire closes connections that were parked for too long, until Close.
func (l *Listener) expire() {
	ticker := time.NewTicker(min(max(l.options.Idle/16, shortest), longest))
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			return
		case now := <-ticker.C:
			for _, p := range l.overdue(now.Add(-l.options.Idle).UnixNano()) {
				l.poller.Forget(p.token)
				l.dismiss(p)
			}
		}
	}
}

// overdue takes out the connections that were parked before.
func (l *Listener) overdue(before int64) []*parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*parked
	for p := l.parked.first; p != nil && p.since <= before; p = l.parked.first {
		l.parked.remove(p)
		all = append(all, p)
	}
	return all
}
