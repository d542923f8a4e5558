// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import "net/http"

// Host runs the long-lived streams of one replica. It is safe for concurrent
// use.
type Host struct{}

// NewHost makes a Host.
func NewHost() *Host { return &Host{} }

// Serve sends the head and then writes what is put into out, until out is closed
// or the client is gone. ended is called once, when nothing more will be written;
// out is closed then. Serve may return before that or after it, so that whoever
// calls it has nothing left to do but in ended, and must not touch w and r again.
// r's context may end when Serve returns.
func (*Host) Serve(w http.ResponseWriter, r *http.Request, out *Outbox, opts Options, ended func(CloseReason)) {
	ended(Serve(w, r, out, opts))
}
