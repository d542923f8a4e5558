// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package poll

import (
	"errors"
	"fmt"
	"syscall"
)

// Poller watches connections; on this system there is none.
type Poller struct{}

// New fails with errors.ErrUnsupported.
func New() (*Poller, error) {
	return nil, fmt.Errorf("failed to create an epoll instance: %w", errors.ErrUnsupported)
}

// Close does nothing.
func (*Poller) Close() error { return nil }

// Watch fails with errors.ErrUnsupported.
func (*Poller) Watch(syscall.Conn, Watcher) (Token, error) { return 0, errors.ErrUnsupported }

// Arm fails with errors.ErrUnsupported.
func (*Poller) Arm(Token) error { return errors.ErrUnsupported }

// Forget does nothing.
func (*Poller) Forget(Token) {}

// Watched is 0.
func (*Poller) Watched() int { return 0 }
