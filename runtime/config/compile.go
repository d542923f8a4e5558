// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Compile is CompileWith without options: what a cluster allows.
func Compile(s *Server) (*Program, error) { return CompileWith(s, CompileOptions{}) }

// CompileWith applies defaults, checks every field and compiles schemas,
// templates and URLs. It relies on no admission check. The error is an Errors:
// all that is wrong, in the order of the fields. s is not changed; the
// program's Server carries a Revision even if s has none.
func CompileWith(s *Server, o CompileOptions) (*Program, error) {
	c := &checker{opts: o}
	d := s.WithDefaults()
	d.Revision = cmp.Or(s.Revision, s.Hash())
	p := &Program{Server: d}
	c.identity(d)
	p.Tools = c.tools(s, d)
	c.auth(d)
	c.limits(&d.Limits)
	c.text("transports.sse.mode", d.Transports.SSE.Mode, true)
	c.duration("transports.heartbeat", d.Transports.Heartbeat)
	c.count("transports.compression.minSize", int64(d.Transports.Compression.MinSize))
	c.origins(d.Browser.AllowedOrigins)
	c.exposure(&d.Exposure)
	c.duration("drain.settle", d.Drain.Settle)
	c.duration("drain.window", d.Drain.Window)
	c.duration("drain.callTimeout", d.Drain.CallTimeout)
	c.text("logging.level", d.Logging.Level, true)
	if err := c.err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (c *checker) identity(s *Server) {
	c.text("name", s.Name, true)
	c.text("namespace", s.Namespace, false)
	c.text("uid", s.UID, false)
	if s.Title != s.Name {
		c.text("title", s.Title, false)
	}
	c.text("instructions", s.Instructions, false)
}

func (c *checker) limits(l *Limits) {
	c.count("limits.connections.perReplica", int64(l.Connections.PerReplica))
	c.count("limits.sessions.max", int64(l.Sessions.Max))
	c.duration("limits.sessions.idleTimeout", l.Sessions.IdleTimeout)
	c.duration("limits.sessions.maxAge", l.Sessions.MaxAge)
	c.count("limits.maxRequestSize", l.MaxRequestSize)
	c.count("limits.maxResponseSize", l.MaxResponseSize)
	c.count("limits.maxInFlightCalls", int64(l.MaxInFlightCalls))
	c.count("limits.maxInFlightPerPrincipal", int64(l.MaxInFlightPerPrincipal))
}

func (c *checker) auth(s *Server) {
	a := s.Auth
	if a.APIKeys == nil && a.AnonymousAccess != AccessAllowed {
		c.fail("auth", ruleNoWayIn)
	}
	c.text("auth.anonymousAccess", a.AnonymousAccess, true)
	c.text("auth.defaultAccess", a.DefaultAccess, true)
	if a.APIKeys != nil {
		c.text("auth.apiKeys.secretRef.name", a.APIKeys.SecretRef.Name, true)
	}
}

func (c *checker) origins(origins []string) {
	if !c.items("browser.allowedOrigins", len(origins)) {
		return
	}
	seen := map[string]string{}
	for i, origin := range origins {
		at := index("browser.allowedOrigins", i)
		if !c.text(at, origin, true) || !c.unique(seen, at, origin) {
			continue
		}
		_, authority, _ := strings.Cut(origin, "://")
		host, port, hasPort := strings.Cut(authority, ":")
		if n, err := strconv.Atoi(port); hasPort && (err != nil || n < 1 || n > 65535) {
			c.fail(at, rulePort, port)
		} else if !validHost(host) {
			c.fail(at, ruleURLHost, clip(host))
		}
	}
}

func (c *checker) exposure(e *Exposure) {
	if c.items("exposure.hosts", len(e.Hosts)) {
		seen := map[string]string{}
		for i, host := range e.Hosts {
			at := index("exposure.hosts", i)
			if c.text(at, host, true) {
				c.unique(seen, at, host)
			}
		}
	}
	c.text("exposure.path", e.Path, false)
}

// tools compiles every tool. declared is the server without defaults.
func (c *checker) tools(declared, s *Server) []*CompiledTool {
	if !c.items("tools", len(s.Tools)) {
		return nil
	}
	onlyAnonymous := s.Auth.APIKeys == nil && s.Auth.AnonymousAccess == AccessAllowed
	seen := map[string]string{}
	out := make([]*CompiledTool, len(s.Tools))
	for i := range s.Tools {
		at := index("tools", i)
		t := &s.Tools[i]
		if c.text(at+".name", t.Name, true) {
			c.unique(seen, at+".name", t.Name)
		}
		network := false
		if h := declared.Tools[i].HTTP; h != nil {
			network = h.Network != ""
		}
		out[i] = c.tool(at, t, network, onlyAnonymous)
	}
	return out
}

func (c *checker) tool(at string, t *Tool, network, onlyAnonymous bool) *CompiledTool {
	out := &CompiledTool{Config: *t}
	c.text(at+".title", t.Title, false)
	c.text(at+".description", t.Description, true)
	c.inputSchema(at, t, out)
	c.input = out.Input
	if len(t.OutputSchema) > 0 {
		out.Output = c.compileSchema(at+".outputSchema", "structuredContent", t.OutputSchema, false)
	}
	c.duration(at+".timeout", t.Timeout)
	c.count(at+".maxConcurrency", int64(t.MaxConcurrency))
	c.text(at+".state", t.State, true)
	if t.Access != nil {
		c.access(at+".access", t.Access, onlyAnonymous)
	}
	if n := present(t.HTTP) + present(t.Static); n != 1 {
		c.fail(at, ruleOneBackend, n)
	}
	if t.HTTP != nil {
		out.HTTP = c.compileHTTP(at+".http", t.HTTP, network, out.Input)
	}
	if t.Static != nil {
		out.Static = c.compileStatic(at+".static", t.Static, out.Output)
	}
	out.Hash = t.hash()
	return out
}

func (c *checker) inputSchema(at string, t *Tool, out *CompiledTool) {
	path, textual := at+".inputSchema", false
	out.ListSchema = json.RawMessage(emptyObject)
	switch {
	case len(t.InputSchema) > 0 && t.InputSchemaJSON != "":
		c.fail(at, ruleOneSchema)
		return
	case t.InputSchemaJSON != "":
		path, textual = at+".inputSchemaJSON", true
		if !c.text(path, t.InputSchemaJSON, false) {
			return
		}
		out.ListSchema = json.RawMessage(t.InputSchemaJSON)
	case len(t.InputSchema) > 0:
		out.ListSchema = slices.Clone(t.InputSchema)
	}
	out.Input = c.compileSchema(path, "arguments", out.ListSchema, textual)
	if out.Input != nil {
		// One line, so that it can stand in an event stream's data; order and
		// number forms stay.
		if err := (*jsontext.Value)(&out.ListSchema).Compact(); err != nil {
			c.fail(path, ruleSchemaJSON, oneLine(err))
		}
		out.HeaderParams = c.headerParams(path, out.ListSchema, textual)
	}
}

func (c *checker) access(path string, a *Access, onlyAnonymous bool) {
	if onlyAnonymous {
		c.fail(path, ruleNoRoles)
	}
	if !c.items(path+".anyRole", len(a.AnyRole)) {
		return
	}
	seen := map[string]string{}
	for i, role := range a.AnyRole {
		at := index(path+".anyRole", i)
		if c.text(at, role, true) {
			c.unique(seen, at, role)
		}
	}
}

// hash covers what a running tool is made of; see CompiledTool.Hash.
func (t *Tool) hash() string {
	c := *t
	c.Title, c.Description, c.Annotations, c.Access, c.State = "", "", nil, nil, ""
	return hashJSON(&c)
}
