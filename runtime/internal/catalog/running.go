// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"sync"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// running is an executor that catalogs and calls share. It closes with its last
// user.
type running struct {
	key      string
	executor tool.Executor
	// end closes what the executor holds; nil if that is nothing.
	end func()
	// releaseFunc is release, made once so that a call allocates nothing.
	releaseFunc func()

	mu    sync.Mutex
	users int
}

func newRunning(key string, s *config.Server, t *config.CompiledTool, deps Deps) (*running, error) {
	newExecutor := newBackend
	if deps.New != nil {
		newExecutor = func(_ *config.Server, t *config.CompiledTool, _ Deps) (tool.Executor, func(), error) {
			return deps.New(t)
		}
	}
	executor, end, err := newExecutor(s, t, deps)
	if err != nil {
		return nil, err
	}
	r := &running{key: key, executor: executor, end: end, users: 1}
	r.releaseFunc = r.release
	return r, nil
}

// acquire adds a user, unless the last one has gone.
func (r *running) acquire() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == 0 {
		return false
	}
	r.users++
	return true
}

func (r *running) release() {
	r.mu.Lock()
	r.users--
	last := r.users == 0
	r.mu.Unlock()
	if last && r.end != nil {
		r.end()
	}
}
