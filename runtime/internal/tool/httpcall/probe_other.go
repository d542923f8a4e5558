// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package httpcall

// canProbe says that a connection cannot be asked whether it is silent, for which
// net/http needs its goroutines.
const canProbe = false

// listen tells nothing.
func (c *conn) listen(uintptr) (done bool) { return true }
