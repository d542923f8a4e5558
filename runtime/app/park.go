// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"net"
	"net/http"

	"fairlead.dev/fairlead/runtime/internal/park"
)

// park has the idle connections of the clients' server wait without a goroutine.
func (s *server) park(inner net.Listener, clients *http.Server) *park.Listener {
	l := park.New(inner, s.poller, park.Options{Idle: clients.IdleTimeout, Head: clients.ReadHeaderTimeout})
	clients.ConnState = l.ConnState
	s.parked = l
	s.metrics.ReadParked(l.Parked)
	return l
}

// returnConn has the clients' server go on with a connection that a stream had.
func (s *server) returnConn(c *net.TCPConn, ahead []byte) { s.parked.Return(c, ahead) }
