// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package app

// releaseProgram does nothing: other systems count the pages of a program's file
// once for all processes, or not at all.
func releaseProgram() error { return nil }
