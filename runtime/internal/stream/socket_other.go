// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package stream

import (
	"syscall"
	"time"
)

// writeNow writes nothing: all is written by goroutines that wait.
func writeNow(uintptr, []byte) (int, error) { return 0, nil }

func unsent(uintptr) bool { return false }

func forgetUnread(syscall.RawConn) {}

func boundSilence(syscall.RawConn, time.Duration) {}
