// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"errors"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/httpcall"
	"fairlead.dev/fairlead/runtime/internal/tool/static"
)

// newBackend makes the executor of a tool's backend, guarded by its timeout,
// concurrency and output schema. end closes what it holds, nil if nothing.
func newBackend(s *config.Server, t *config.CompiledTool, deps Deps) (executor tool.Executor, end func(), err error) {
	switch {
	case t.HTTP != nil:
		backend := httpcall.New(t.HTTP, httpcall.Options{
			Tool:            t.Config.Name,
			SecretsDir:      deps.SecretsDir,
			AllowLoopback:   deps.AllowLoopback,
			MaxConcurrency:  t.Config.MaxConcurrency,
			MaxResponseSize: s.Limits.MaxResponseSize,
			Structured:      t.Output != nil,
			Version:         deps.Version,
			Held:            deps.Held,
		})
		executor, end = backend, backend.Close
	case t.Static != nil:
		executor = static.New(t.Static)
	default:
		return nil, nil, errors.New("it has neither an http nor a static backend")
	}
	return tool.Guard(executor, tool.Options{
		Name:           t.Config.Name,
		Timeout:        time.Duration(t.Config.Timeout),
		MaxConcurrency: t.Config.MaxConcurrency,
		Output:         t.Output,
	}), end, nil
}
