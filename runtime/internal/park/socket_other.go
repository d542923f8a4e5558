// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package park

import (
	"errors"
	"net"
	"syscall"
)

// boundUnsent fails: connections keep the system's bounds.
func boundUnsent(syscall.Conn) error { return errors.ErrUnsupported }

// hasBytes is false: nothing is parked.
func hasBytes(*net.TCPConn) bool { return false }

// descriptors is 0: unknown.
func descriptors() int { return 0 }
