// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"fairlead.dev/fairlead/runtime/internal/peer/mux"
)

const (
	// dialTimeout bounds how long a connection may take to open, handshakeTimeout
	// how long both sides may take to prove who they are: a busy processor delays
	// the latter only.
	dialTimeout      = 500 * time.Millisecond
	handshakeTimeout = 2 * time.Second
)

// keepAlive finds a peer's machine that is gone without a word, within 20 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

// Why a request was not answered. Everything but errLost means that no byte of it
// has left.
var (
	// errRefused: nobody listens there.
	errRefused = errors.New("the replica's address refuses connections")
	// errUnreachable: the replica cannot be reached now.
	errUnreachable = errors.New("the replica cannot be reached")
	// errBusy: as many requests as may be are on their way there.
	errBusy = errors.New("too many requests are on their way to the replica")
	// errLost: what became of the request is unknown.
	errLost = errors.New("the connection to the replica broke before the answer")
)

// dial opens a connection and proves to each side that the other is a peer.
func dial(ctx context.Context, addr netip.AddrPort, id *identity) (*mux.Client, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := dialer.DialContext(dialing, "tcp", addr.String())
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, errRefused
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	proving, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c := tls.Client(raw, id.config)
	if err = c.HandshakeContext(proving); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, errors.Join(err, raw.Close()))
	}
	return mux.NewClient(c), nil
}
