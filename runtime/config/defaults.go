// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Defaults of the contract; the API's comments name the same.
const (
	defaultTimeout        = Duration(30 * time.Second)
	defaultConcurrency    = 64
	defaultBodySize       = 4 << 20
	defaultInFlight       = 512
	defaultPerPrincipal   = 32
	defaultConnections    = 10_000
	defaultSessions       = 20_000
	defaultIdleTimeout    = Duration(10 * time.Minute)
	defaultMaxAge         = Duration(24 * time.Hour)
	defaultHeartbeat      = Duration(15 * time.Second)
	defaultCompressedSize = 1 << 10
	defaultSettle         = Duration(5 * time.Second)
	defaultDrain          = Duration(30 * time.Second)
)

// WithDefaults returns a deep copy of s in which every field that is absent has
// its default. It refuses nothing.
func (s *Server) WithDefaults() *Server {
	d := *s
	d.Title = cmp.Or(s.Title, s.Name)
	d.Tools = slices.Clone(s.Tools)
	for i := range d.Tools {
		d.Tools[i] = d.Tools[i].withDefaults()
	}
	d.Auth = s.Auth.withDefaults()
	l := &d.Limits
	l.Connections.PerReplica = cmp.Or(l.Connections.PerReplica, defaultConnections)
	l.Sessions.Max = cmp.Or(l.Sessions.Max, defaultSessions)
	l.Sessions.IdleTimeout = cmp.Or(l.Sessions.IdleTimeout, defaultIdleTimeout)
	l.Sessions.MaxAge = cmp.Or(l.Sessions.MaxAge, defaultMaxAge)
	l.MaxRequestSize = cmp.Or(l.MaxRequestSize, defaultBodySize)
	l.MaxResponseSize = cmp.Or(l.MaxResponseSize, defaultBodySize)
	l.MaxInFlightCalls = cmp.Or(l.MaxInFlightCalls, defaultInFlight)
	l.MaxInFlightPerPrincipal = cmp.Or(l.MaxInFlightPerPrincipal, defaultPerPrincipal)
	t := &d.Transports
	t.SSE.Mode = cmp.Or(t.SSE.Mode, SSEEnabled)
	t.Heartbeat = cmp.Or(t.Heartbeat, defaultHeartbeat)
	t.Compression.MinSize = cmp.Or(t.Compression.MinSize, defaultCompressedSize)
	d.Browser.AllowedOrigins = slices.Clone(s.Browser.AllowedOrigins)
	d.Exposure.Hosts = slices.Clone(s.Exposure.Hosts)
	if d.Exposure.Path == "/" {
		d.Exposure.Path = ""
	}
	d.Drain.Settle = cmp.Or(d.Drain.Settle, defaultSettle)
	d.Drain.Window = cmp.Or(d.Drain.Window, defaultDrain)
	d.Drain.CallTimeout = cmp.Or(d.Drain.CallTimeout, defaultDrain)
	d.Logging.Level = cmp.Or(d.Logging.Level, LevelInfo)
	return &d
}

func (a Auth) withDefaults() Auth {
	a.AnonymousAccess = cmp.Or(a.AnonymousAccess, AccessDenied)
	a.DefaultAccess = cmp.Or(a.DefaultAccess, AccessAllowed)
	a.APIKeys = clone(a.APIKeys)
	return a
}

func (t Tool) withDefaults() Tool {
	t.InputSchema = slices.Clone(t.InputSchema)
	t.OutputSchema = slices.Clone(t.OutputSchema)
	t.Timeout = cmp.Or(t.Timeout, defaultTimeout)
	t.MaxConcurrency = cmp.Or(t.MaxConcurrency, defaultConcurrency)
	t.State = cmp.Or(t.State, StateEnabled)
	if a := clone(t.Annotations); a != nil {
		a.ReadOnlyHint = clone(a.ReadOnlyHint)
		a.DestructiveHint = clone(a.DestructiveHint)
		a.IdempotentHint = clone(a.IdempotentHint)
		a.OpenWorldHint = clone(a.OpenWorldHint)
		t.Annotations = a
	}
	if a := clone(t.Access); a != nil {
		a.AnyRole = slices.Clone(a.AnyRole)
		t.Access = a
	}
	if t.HTTP != nil {
		t.HTTP = t.HTTP.withDefaults()
	}
	if t.Static != nil {
		t.Static = t.Static.withDefaults()
	}
	return t
}

func (h *HTTP) withDefaults() *HTTP {
	d := *h
	d.Method = cmp.Or(h.Method, http.MethodGet)
	d.Query = maps.Clone(h.Query)
	d.Headers = maps.Clone(h.Headers)
	d.HeadersFrom = slices.Clone(h.HeadersFrom)
	if d.Body == "" {
		d.Body = BodyNone
		if slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, d.Method) {
			d.Body = BodyJSON
		}
	}
	if d.Network == "" {
		d.Network = DefaultNetwork(hostOf(d.URL))
	}
	return &d
}

func (s *Static) withDefaults() *Static {
	d := *s
	d.Outcome = cmp.Or(s.Outcome, OutcomeSuccess)
	d.StructuredContent = slices.Clone(s.StructuredContent)
	d.Content = slices.Clone(s.Content)
	for i, c := range d.Content {
		r := clone(c.Resource)
		if r != nil {
			r.Text, r.Blob = clone(r.Text), clone(r.Blob)
		}
		d.Content[i] = Content{Text: clone(c.Text), Image: clone(c.Image), Audio: clone(c.Audio), Resource: r}
	}
	return &d
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
