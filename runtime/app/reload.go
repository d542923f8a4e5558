// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"slices"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/transport"
)

// reload reads all files and applies what has changed. It is called by watch
// only.
func (s *server) reload(ctx context.Context) {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	c, tools, changed, err := s.newer()
	before := s.catalog
	if tools != nil {
		s.catalog, s.config = tools, c
		s.limits.Resize(limitConfig(c))
		s.sessions.Resize(sessionOptions(c))
		s.core.Configure(settings(c))
	}
	ring, ringErr := s.loadRing()
	s.ring = ring
	s.setRing(ctx, ring)
	keys := s.keys.Load(s.rules())
	var report auth.Report
	listChanged := false
	// At once for whoever is asking: nobody is let in by the keys of one revision
	// and judged by the rules of another.
	s.core.Exclude(func() {
		report = keys.Commit()
		if tools != nil {
			s.handler.Configure(s.access(c))
			listChanged, _ = s.engine.Swap(s.revision(c, tools))
		}
	})
	s.revoke(ctx, report.Removed)
	if tools != nil {
		s.configured(ctx, c, nil)
		before.Close()
	}
	if err != nil {
		s.refused(ctx, err)
	}
	if tools != nil || len(report.Changed) > 0 {
		s.spread(listChanged, report.Changed)
	}
	s.hold(ctx, report, ringErr)
	if tools != nil {
		s.logger.InfoContext(ctx, "Applied a configuration", "revision", c.Revision, "tools", s.engine.Tools(), "listChanged", listChanged)
	}
	if changed && s.options.OnSwap != nil {
		s.options.OnSwap(s.engine.Revision(), err)
	}
}

// newer reads the configuration file and builds its tools beside those that are
// served. changed is whether it is another file than the last that was read; then
// there are either tools or an error.
func (s *server) newer() (c *config.Server, tools *catalog.Catalog, changed bool, err error) {
	sum, data, err := read(s.options.ConfigFile)
	if sum == s.sum {
		// One that was refused before need not be refused again. Files are looked
		// at every few seconds: nothing is compiled for that.
		return nil, nil, false, nil
	}
	s.sum = sum
	var program *config.Program
	if err == nil {
		program, err = compile(s.options, s.options.ConfigFile, data)
	}
	if err != nil {
		return nil, nil, true, err
	}
	tools, err = catalog.Build(program, s.catalog, s.deps())
	return program.Server, tools, true, err
}

// revoke ends what callers hold whose key is gone: their streams and sessions
// with the calls in them, and their stateless calls.
func (s *server) revoke(ctx context.Context, principals []string) {
	if len(principals) == 0 {
		return
	}
	s.logger.InfoContext(ctx, "Revoked principals", "principals", principals)
	for _, open := range s.sessions.All() {
		if slices.Contains(principals, open.Principal) {
			open.Close(stream.Revoked)
		}
	}
	s.stateless.Revoke(principals)
}

// announce tells all clients that the list of tools has changed, or only those
// principals whose roles have, which decide what they see. Their running calls go
// on with the rights that they began with, as every call does.
func (s *server) announce(listChanged bool, principals []string) {
	told := func(principal string) bool { return listChanged || slices.Contains(principals, principal) }
	if !listChanged && len(principals) == 0 {
		return
	}
	for _, open := range s.sessions.All() {
		if told(open.Principal) {
			open.Mark(transport.ListChanged)
		}
	}
	for _, open := range s.stateless.Listens() {
		if told(open.Principal) {
			open.Mark(transport.ListChanged)
		}
	}
}
