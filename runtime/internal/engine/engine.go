// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package engine speaks MCP. It takes JSON-RPC messages of three eras, decodes
// them strictly and once, authorizes, validates and reserves (Accept), then runs
// them and sends progress, logs and the response to whoever owns the answering
// stream (Call.Run). It knows no HTTP: its typed errors become statuses in the
// transports. Where a comment names a file such as basic/index, it means the
// specification of that revision.
package engine

import (
	"log/slog"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
)

// Limiter reserves calls in flight; *limit.Limiter is one. The error is a
// *limit.Exceeded.
type Limiter interface {
	Call(principal string) (release func(), err error)
}

// Observer learns what happens, for metrics. Its methods are called from many
// goroutines and must not block. Names come from clients and from the catalog:
// the observer bounds them.
type Observer interface {
	// ToolCall reports a finished call with one of the tool.Outcome names, or
	// OutcomeInvalidArguments or OutcomeDisabled.
	ToolCall(tool, outcome string, took time.Duration)
	// Client reports an accepted initialize or server/discover; name is the
	// client's self-reported one, empty if it gave none.
	Client(era, name string)
	// Refused reports an error of Accept.
	Refused(era, kind string)
}

// Outcomes of calls that never reached their tool, beside those of the tool
// package.
const (
	// OutcomeInvalidArguments is a call whose arguments break the input schema.
	OutcomeInvalidArguments = "invalid_arguments"
	// OutcomeDisabled is a call of a tool that is switched off.
	OutcomeDisabled = "disabled"
)

// Info is how the server introduces itself.
type Info struct {
	// Name is serverInfo's name, Title its display name, which may be empty.
	Name, Title string
	// Version is that of the runtime.
	Version string
	// Instructions are for the model; may be empty.
	Instructions string
}

// Options are what an Engine is made of.
type Options struct {
	// Catalog is the first revision; the engine owns it.
	Catalog *catalog.Catalog
	Policy  auth.Policy
	Info    Info
	// Limits is asked before a tool runs; nil refuses nothing.
	Limits Limiter
	// Observer may be nil.
	Observer Observer
	// Logger takes what went wrong inside; nil discards it.
	Logger *slog.Logger
	// AllowTrace honours "fairlead.dev/trace" in a request's _meta.
	AllowTrace bool
}

// Engine answers MCP messages. It is safe for concurrent use.
type Engine struct {
	limits   Limiter
	observer Observer
	logger   *slog.Logger
	groups   atomic.Uint64
	state    atomic.Pointer[state]
}

// New returns an engine that serves the options' catalog.
func New(o Options) *Engine {
	e := &Engine{limits: o.Limits, observer: o.Observer, logger: o.Logger}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	e.state.Store(newState(Revision{Catalog: o.Catalog, Policy: o.Policy, Info: o.Info, AllowTrace: o.AllowTrace}))
	return e
}

// Revision is what a new configuration changes in a running engine.
type Revision struct {
	// Catalog is owned by the engine from Swap on.
	Catalog *catalog.Catalog
	Policy  auth.Policy
	Info    Info
	// AllowTrace honours "fairlead.dev/trace" in a request's _meta.
	AllowTrace bool
}

// Swap replaces the revision at once and gives the catalog before it, which the
// caller closes; nothing here waits for it. Calls in flight finish on the version
// that they began with. listChanged is whether clients must be told that
// tools/list answers otherwise now. Calls of Swap must not overlap.
func (e *Engine) Swap(r Revision) (listChanged bool, before *catalog.Catalog) {
	old := e.state.Load()
	next := newState(r)
	now := time.Now()
	next.gone = old.gone.after(old.catalog, next.catalog, now)
	listChanged = old.policy != next.policy || !old.catalog.SameListing(next.catalog)
	if next.changed = old.changed; listChanged {
		next.changed = now
	}
	e.state.Store(next)
	return listChanged, old.catalog
}

// Changed is when the list of tools last changed, zero if it never has.
func (e *Engine) Changed() time.Time { return e.state.Load().changed }

// Revision is the revision that is served now.
func (e *Engine) Revision() string { return e.state.Load().catalog.Revision() }

// Tools counts the tools that are served now, disabled ones included.
func (e *Engine) Tools() int { return e.state.Load().catalog.Len() }
