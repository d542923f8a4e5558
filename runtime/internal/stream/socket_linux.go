// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// writeNow writes what the socket takes at once, which may be nothing.
func writeNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		default:
			return max(n, 0), err
		}
	}
}

// siocoutqnsd asks how many bytes of a TCP socket's queue were never sent (tcp(7) calls
// SIOCOUTQ that of those not acknowledged; linux/sockios.h has this one).
const siocoutqnsd = 0x894b

// unsent reports whether the kernel holds bytes that it could not send yet: the client
// reads more slowly than it is written to.
func unsent(fd uintptr) bool {
	n, err := unix.IoctlGetInt(int(fd), siocoutqnsd)
	return err == nil && n > 0
}

// maxUnread bounds what is read and forgotten at the end of a stream, in bytes.
const maxUnread = 64 << 10

// forgetUnread reads what the peer has sent and nobody wants: closing a socket
// with bytes in it resets the connection, which destroys what the peer has not
// read yet (RFC 9112, section 9.6).
func forgetUnread(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		var b [4 << 10]byte
		for range maxUnread / len(b) {
			if n, err := unix.Read(int(fd), b[:]); n <= 0 || err != nil {
				return
			}
		}
	})
}

// boundSilence has the kernel give up after d if the peer does not acknowledge
// what was sent: a peer that vanished lives on for about 15 minutes otherwise
// (tcp(7), TCP_USER_TIMEOUT).
func boundSilence(raw syscall.RawConn, d time.Duration) {
	_ = raw.Control(func(fd uintptr) {
		// Without it the stream is merely found out later.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(min(d.Milliseconds(), 1<<31-1)))
	})
}
