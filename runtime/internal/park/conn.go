// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package park

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// The states of a Conn. Beside these it follows net/http's.
const (
	// serving: a new connection, or a request is read or answered; all calls
	// are passed through.
	serving uint32 = iota
	// idle: net/http has told that it waits for the next request.
	idle
	// waiting: and it has set a deadline for that, which was shortened. No byte
	// of the next request was handed to it since.
	waiting
	// begun: it has bytes of the next request.
	begun
	// parking: it was told that the peer has gone, and is about to close.
	parking
	// hijacked: it does not look after the connection any more.
	hijacked
	// gone: closed, or parked.
	gone
)

// Conn is a connection from its Accept until it is closed, hijacked or parked.
//
// net/http sets a deadline when it begins to wait for a request. Conn shortens
// it; when it passes and net/http has no byte of the next request, Read reports
// the end, net/http gives up without a word to the peer, and Close parks the
// connection instead. Otherwise the deadline that was asked for applies.
//
// Whether net/http holds bytes from before that wait, because the peer sent them
// along with the last request, shows in the size of the buffer that it reads
// into: it is the whole buffer, as in its very first read, only if nothing is
// held. And a deadline that it sets while it waits means that it has found the
// beginning of a request among those.
type Conn struct {
	*net.TCPConn
	listener *Listener

	state  atomic.Uint32
	waking atomic.Bool // it was parked, and has not read yet
	owed   atomic.Bool // it was parked, and its request is not served yet

	// whole is how large net/http's buffer is, in bytes. This and what follows
	// is of the goroutine that reads.
	whole int
	// asked is the deadline that was shortened, while shortened is true.
	asked     time.Time
	shortened bool
	// ahead is what is read first, of the connection that Return got.
	ahead []byte
}

// NetConn is the TCP connection. Whoever hijacked a Conn may use it instead and
// forget the Conn, if what net/http has read was taken from it.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

// ConnState is for http.Server.ConnState.
func (l *Listener) ConnState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*Conn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.become(serving)
	case http.StateIdle:
		c.settle()
		c.become(idle)
	case http.StateHijacked:
		c.settle()
		if c.become(hijacked) {
			l.awake.Add(-1)
		}
	default:
	}
}

// become takes a state of net/http's, unless the server has closed the
// connection meanwhile.
func (c *Conn) become(state uint32) bool {
	for {
		was := c.state.Load()
		if was == gone {
			return false
		}
		if c.state.CompareAndSwap(was, state) {
			return true
		}
	}
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	switch c.state.Load() {
	case idle:
		if after, ok := c.listener.patience(); ok {
			soon := time.Now().Add(after)
			if (t.IsZero() || soon.Before(t)) && c.state.CompareAndSwap(idle, waiting) {
				c.asked, c.shortened, t = t, true, soon
			}
		}
	case waiting, begun:
		c.shortened = false
		c.state.CompareAndSwap(waiting, begun)
	}
	return c.TCPConn.SetReadDeadline(t)
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if c.whole == 0 {
		c.whole = len(b)
	}
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	for {
		n, err := c.TCPConn.Read(b)
		if c.waking.Load() && c.waking.Swap(false) {
			c.listener.woken()
		}
		if state := c.state.Load(); state != waiting && state != begun {
			return n, err
		}
		if n > 0 {
			c.state.CompareAndSwap(waiting, begun)
			return n, err
		}
		if !c.shortened || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if len(b) == c.whole && c.state.CompareAndSwap(waiting, parking) {
			return 0, io.EOF
		}
		// A head has begun: the peer has as long as if nothing was shortened.
		c.state.CompareAndSwap(waiting, begun)
		c.shortened = false
		if err := c.TCPConn.SetReadDeadline(c.rest()); err != nil {
			return 0, err
		}
	}
}

// Close implements net.Conn. A second Close does nothing, since the connection
// may be someone else's by then.
func (c *Conn) Close() error {
	was := c.state.Swap(gone)
	if was == gone {
		return net.ErrClosed
	}
	c.settle()
	if was != hijacked {
		c.listener.awake.Add(-1)
	}
	if was == parking {
		return c.listener.park(c.TCPConn)
	}
	return c.TCPConn.Close()
}

// rest is the deadline for a head of which net/http holds the first bytes.
func (c *Conn) rest() time.Time {
	head := time.Now().Add(c.listener.options.Head)
	if c.asked.IsZero() || head.Before(c.asked) {
		return head
	}
	return c.asked
}

// settle notes that nothing is owed any more to a connection that was parked.
func (c *Conn) settle() {
	if c.waking.Load() && c.waking.Swap(false) {
		c.listener.woken()
	}
	if c.owed.Load() && c.owed.Swap(false) {
		c.listener.owed.Add(-1)
	}
}

// patience is how long a connection waits in net/http; false: for as long as
// that likes.
func (l *Listener) patience() (time.Duration, bool) {
	if l.poller == nil || l.leaving.Load() {
		return 0, false
	}
	after := l.options.After
	if awake := l.awake.Load(); awake > crowd {
		after = max(after*crowd/time.Duration(awake), earliest)
	}
	return after, true
}
