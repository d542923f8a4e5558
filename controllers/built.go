// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"container/list"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// maxBuiltBytes bounds what is remembered, by the configurations in it. It is
// for the servers that are rolling out at the moment: each of their events is a
// look at the same generation, and compiling 256 tools takes 0.1 s.
const maxBuiltBytes = 4 << 20

// entryOverhead is about what an entry takes beside its configuration.
const entryOverhead = 8 << 10

// built is a spec that compiles, and what it became.
type built struct {
	uid        types.UID
	generation int64
	facts      resources.ClusterFacts
	objects    *resources.Objects // immutable, without Program
	tools      *fairleadv1alpha1.ToolsStatus
}

func (b *built) size() int {
	return len(b.objects.ConfigMap.Data[resources.ServerFile]) + entryOverhead
}

// builtCache remembers what was built last, the least recently used first to
// go. Its zero value is empty.
type builtCache struct {
	mu      sync.Mutex // guards all below
	byUID   map[types.UID]*list.Element
	recent  list.List // of *built, the latest first
	holding int       // bytes
}

// get returns what was built for this generation under these facts, or nil.
func (c *builtCache) get(server *fairleadv1alpha1.MCPServer, facts resources.ClusterFacts) *built {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.byUID[server.UID]
	if element == nil {
		return nil
	}
	found, ok := element.Value.(*built)
	if !ok || found.generation != server.Generation || found.facts != facts {
		return nil
	}
	c.recent.MoveToFront(element)
	return found
}

// add remembers what was built, in the place of what this server was before.
func (c *builtCache) add(b *built) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byUID == nil {
		c.byUID = map[types.UID]*list.Element{}
	}
	c.remove(c.byUID[b.uid])
	c.byUID[b.uid] = c.recent.PushFront(b)
	c.holding += b.size()
	for c.holding > maxBuiltBytes {
		c.remove(c.recent.Back())
	}
}

// remove forgets an element; mu is held.
func (c *builtCache) remove(element *list.Element) {
	if element == nil {
		return
	}
	if old, ok := c.recent.Remove(element).(*built); ok {
		delete(c.byUID, old.uid)
		c.holding -= old.size()
	}
}

// build returns what a server becomes; see resources.Build for its errors.
func (r *Reconciler) build(server *fairleadv1alpha1.MCPServer, facts resources.ClusterFacts) (*built, error) {
	if found := r.built.get(server, facts); found != nil {
		return found, nil
	}
	objects, err := resources.Build(resources.Input{Server: server, Defaults: r.Defaults, Cluster: facts})
	if err != nil {
		return nil, err
	}
	fresh := &built{
		uid: server.UID, generation: server.Generation, facts: facts,
		objects: objects, tools: toolsStatus(objects),
	}
	objects.Program = nil // Compiled expressions are many times larger than all else.
	r.built.add(fresh)
	return fresh, nil
}
