// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package poll tells when a connection that nobody reads has something to say:
// bytes, the peer's end, or a failure. One goroutine and one epoll instance
// (epoll(7)) do so for all connections, where a blocked Read costs a goroutine
// and its stack for each.
//
// It stands beside Go's own poller: connections are used as always, and may be
// read, written and closed while they are watched.
package poll

import (
	"errors"
	"strings"
)

// ErrClosed is the error of a Poller that was closed.
var ErrClosed = errors.New("the poller is closed")

// ErrForgotten is the error of a token that stands for no watch: it was
// forgotten, or never given out.
var ErrForgotten = errors.New("the connection is not watched")

// Events say what happened to a connection, as a set.
type Events uint8

// The events. Readable and HungUp come together when the peer's last bytes are
// followed by its end: whoever minds these bytes reads before believing HungUp.
const (
	// Readable means that a Read would not block.
	Readable Events = 1 << iota
	// HungUp means that the peer has shut down its writing half, or both.
	HungUp
	// Broken means that the connection failed, as by a reset.
	Broken
)

// String lists the events, for logs and tests.
func (e Events) String() string {
	var names []string
	for i, name := range [...]string{"Readable", "HungUp", "Broken"} {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Watcher learns what happens to a connection.
type Watcher interface {
	// Ready is called at most once for each Watch and Arm, with the token of the
	// watch, which may not have reached the caller of Watch yet. It runs on the
	// poller's only goroutine: it must not block, and must not call Close of the
	// Poller. It may call Watch, Arm and Forget.
	Ready(t Token, e Events)
}

// Token stands for one watch; the zero Token for none. It stays void after
// Forget whatever becomes of the descriptor's number: it holds a place and a
// generation.
type Token uint64

func newToken(place, generation uint32) Token { return Token(place)<<32 | Token(generation) }

func (t Token) place() uint32      { return uint32(t >> 32) }
func (t Token) generation() uint32 { return uint32(t & 0xffffffff) }
