// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package verify asks servers, as a client of theirs would, whether they serve
// what they should: a real MCP client lists the tools through the Service. It
// works outside of Reconcile, in a bounded pool, and is asked by it what is
// known.
package verify

import (
	"context"
	"log/slog"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/runtime/keyring"
)

// State is what is known of a server.
type State string

// The states of a Report.
const (
	// Pending means that nothing is known about this revision yet.
	Pending State = "Pending"
	// Passed means that the tools of this revision were listed.
	Passed State = "Passed"
	// Failed means that the server answered, twice in a row, and wrongly.
	Failed State = "Failed"
	// Unreachable means that three checks in a row got no answer.
	Unreachable State = "Unreachable"
)

// Target is what to verify.
type Target struct {
	// Server is the MCPServer.
	Server types.NamespacedName
	// URL is its endpoint as clients in the cluster have it, such as
	// http://orders-mcp.shop.svc.cluster.local/mcp.
	URL string
	// Revision is the one that must answer.
	Revision string
	// Tools are the names of all enabled tools, sorted.
	Tools []string
	// UID is the server's; the token is bound to it.
	UID string
	// Key is the current session key of the server.
	Key keyring.Key
}

// ServerInfo is how a server introduced itself.
type ServerInfo struct {
	Name, Title, Version string
}

// Report is what is known about a target.
type Report struct {
	// Revision is the target's.
	Revision string
	State    State
	// Message says what is wrong and names the next act; empty when Passed or
	// Pending.
	Message string
	// ServerInfo is what the last check that passed was told.
	ServerInfo ServerInfo
}

// DefaultInterval is the time between two checks of a server that passed.
const DefaultInterval = 10 * time.Minute

// Options are what a Pool needs. The zero value of every field is usable.
type Options struct {
	// Dial connects; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Changed is called, from a goroutine of the pool, when a Report changed.
	Changed func(types.NamespacedName)
	// Logger takes what went wrong; nil discards it.
	Logger *slog.Logger
	// Interval is the time between two checks of a server that passed, drawn
	// anew each time between 80 % and 120 %; 10 min by default.
	Interval time.Duration
	// Concurrency bounds the checks that run at once; 16 by default.
	Concurrency int
}
