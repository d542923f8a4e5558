// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package httpcall

import (
	"errors"
	"syscall"
)

// canProbe says that a connection can be asked whether it is silent.
const canProbe = true

// listen is for syscall.RawConn.Read, whose descriptors never block. It is the last
// thing that is read if there is anything to read.
func (c *conn) listen(fd uintptr) (done bool) {
	var b [1]byte
	_, err := syscall.Read(int(fd), b[:])
	c.silent = errors.Is(err, syscall.EAGAIN)
	return true
}
