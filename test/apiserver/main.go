// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"os"
	"testing"
)

// Main is the TestMain of a package whose tests share one server: use prepares
// it, and what it returns ends what it started, after the tests. It does not
// return.
func Main(m *testing.M, use func(*Server) (stop func() error, err error)) {
	code, err := run(m, use)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests against an API server:", err)
		code = 1
	}
	os.Exit(code) //nolint:revive // deep-exit: it is the end of TestMain.
}

func run(m *testing.M, use func(*Server) (func() error, error)) (int, error) {
	server, err := Start()
	if err != nil {
		return 1, err
	}
	defer server.Stop() //nolint:errcheck // The tests have passed or failed already.
	stop, err := use(server)
	if err != nil {
		return 1, err
	}
	code := m.Run()
	if stop != nil {
		err = stop()
	}
	return code, err
}
