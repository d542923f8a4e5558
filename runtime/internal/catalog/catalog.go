// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package catalog holds the tools of one revision: how they are listed, who may
// see them and what runs them. A Catalog is immutable; a new revision is built
// beside it, takes over the executors that did not change, and replaces it.
package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// State is what a catalog knows of a tool's name.
type State uint8

const (
	// Unknown means that there is no such tool.
	Unknown State = iota
	// Enabled tools are listed and can be called.
	Enabled
	// Disabled tools are switched off: not listed, and calls say so.
	Disabled
)

// Deps are what executors need beside their plans.
type Deps struct {
	// SecretsDir is the folder of mounted Secrets.
	SecretsDir string
	// AllowLoopback lets backends be on this machine.
	AllowLoopback bool
	// Version is this program's, for what backends see of it.
	Version string
	// Held bounds what is held of backends' large answers; nil: nothing does.
	Held *limit.Bytes
	// New replaces how executors are made, for tests; nil makes those of the
	// backends that a tool can have. end, which may be nil, is called after the
	// executor's last call.
	New func(t *config.CompiledTool) (executor tool.Executor, end func(), err error)
}

// Catalog is the tools of one revision. It is safe for concurrent use.
type Catalog struct {
	revision string
	// anonymous is whether callers without a credential are let in.
	anonymous bool
	tools     []*Tool
	byName    map[string]*Tool
	listed    []*Tool
	pages     pageCache
	closeOnce sync.Once
}

// Build makes the catalog of a program. Executors of prev whose spec hash is
// unchanged are shared, with their connections and semaphores. prev may be nil
// and stays usable. On an error nothing is kept open.
func Build(p *config.Program, prev *Catalog, deps Deps) (*Catalog, error) {
	c := &Catalog{
		revision:  p.Server.Revision,
		anonymous: p.Server.Auth.AnonymousAccess == config.AccessAllowed,
		tools:     make([]*Tool, 0, len(p.Tools)),
		byName:    make(map[string]*Tool, len(p.Tools)),
	}
	if c.revision == "" {
		c.revision = p.Server.Hash()
	}
	for _, compiled := range p.Tools {
		t, err := buildTool(p.Server, compiled, prev, deps)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("failed to build tool %q: %w", compiled.Config.Name, err)
		}
		c.tools = append(c.tools, t)
		c.byName[t.Name] = t
		if t.state == Enabled {
			c.listed = append(c.listed, t)
		}
	}
	return c, nil
}

func buildTool(s *config.Server, compiled *config.CompiledTool, prev *Catalog, deps Deps) (*Tool, error) {
	t := &Tool{
		Name:   compiled.Config.Name,
		Access: compiled.Config.Access,
		Input:  compiled.Input,
		state:  Enabled,
	}
	for _, p := range compiled.HeaderParams {
		t.HeaderParams = append(t.HeaderParams, HeaderParam{HeaderParam: p, Key: strings.ToLower(p.Name)})
	}
	if compiled.Config.State == config.StateDisabled {
		t.state = Disabled
	}
	var err error
	if t.entries, err = encodeEntries(compiled); err != nil {
		return nil, err
	}
	// A limit that executors hold is part of what must be equal to share one.
	key := compiled.Hash + "/" + strconv.FormatInt(s.Limits.MaxResponseSize, 10)
	if prev != nil {
		if old, ok := prev.byName[t.Name]; ok && old.running.key == key && old.running.acquire() {
			t.running = old.running
			return t, nil
		}
	}
	t.running, err = newRunning(key, s, compiled, deps)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Revision is the hash of the configuration that the catalog was built from.
func (c *Catalog) Revision() string { return c.revision }

// Len counts the tools, disabled ones included.
func (c *Catalog) Len() int { return len(c.tools) }

// Names are the tools' names in the order of the configuration, disabled ones
// included.
func (c *Catalog) Names() []string {
	names := make([]string, len(c.tools))
	for i, t := range c.tools {
		names[i] = t.Name
	}
	return names
}

// Tool looks a tool up; it is nil if and only if the State is Unknown. Who may
// use it is the caller's to ask, with Tool.Access.
func (c *Catalog) Tool(name string) (*Tool, State) {
	t, ok := c.byName[name]
	if !ok {
		return nil, Unknown
	}
	return t, t.state
}

// Shared reports whether every client there is gets the same list: callers need
// no credential, and no tool has an access rule.
func (c *Catalog) Shared() bool {
	return c.anonymous && !slices.ContainsFunc(c.listed, func(t *Tool) bool { return t.Access != nil })
}

// SameListing reports whether tools/list answers the same from both catalogs for
// every principal; if not, clients must be told that the list changed.
func (c *Catalog) SameListing(other *Catalog) bool {
	return slices.EqualFunc(c.listed, other.listed, func(a, b *Tool) bool {
		return a.Name == b.Name && bytes.Equal(a.entries[Flavour2025June], b.entries[Flavour2025June]) && sameAccess(a.Access, b.Access)
	})
}

func sameAccess(a, b *config.Access) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.AnyRole, b.AnyRole)
}

// Close gives the catalog's executors back. Each closes once neither a newer
// catalog nor a running call uses it. Calls that were accepted go on; new ones
// find their tool gone and belong to the newer catalog. Close may be called more
// than once.
func (c *Catalog) Close() {
	c.closeOnce.Do(func() {
		for _, t := range c.tools {
			t.running.release()
		}
	})
}

// HeaderParam is an argument that a stateless request repeats as a header.
type HeaderParam struct {
	config.HeaderParam
	// Key is Name in lower case.
	Key string
}

// Tool is one tool of a catalog.
type Tool struct {
	Name string
	// Access says who may see and call it; nil leaves it to the policy.
	Access *config.Access
	// Input validates arguments.
	Input *config.Schema
	// HeaderParams are the arguments that stateless requests repeat as headers.
	HeaderParams []HeaderParam

	state   State
	entries [flavours][]byte
	running *running
}

// Visible reports whether p may see and call the tool.
func (t *Tool) Visible(p auth.Principal, policy auth.Policy) bool { return policy.Allowed(p, t.Access) }

// Acquire keeps the tool's executor open until release, which must be called
// exactly once. It fails if the catalog was closed and nothing else uses the
// executor: look the tool up again in the newer catalog.
func (t *Tool) Acquire() (executor tool.Executor, release func(), ok bool) {
	if !t.running.acquire() {
		return nil, nil, false
	}
	return t.running.executor, t.running.releaseFunc, true
}
