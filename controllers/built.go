// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"container/list"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

// maxBuiltBytes bounds what is remembered, by the configurations in it. It is
// for the servers that are rolling out at the moment: each of their events is a
// look at the same generation, and compiling 256 tools takes 0.1 s.
const maxBuiltBytes = 4 << 20

// entryOverhead is about what an entry takes beside its configuration.
const entryOverhead = 8 << 10

// built is a spec that compiles, and what it became.
type built struct {
	key     buildKey
	objects *resources.Objects // immutable, without Program
	tools   *fairleadv1alpha1.ToolsStatus
	// names are all tools that are offered, sorted.
	names []string
}

// buildKey is all that decides what a server becomes under one configuration of
// the operator.
type buildKey struct {
	uid        types.UID
	generation int64
	facts      resources.ClusterFacts
	replicas   int32 // -1 for none
	hold       bool
	configMap  string
	contract   int
	keyIDs     string
}

func keyOf(in resources.Input) buildKey {
	return buildKey{
		uid: in.Server.UID, generation: in.Server.Generation, facts: in.Cluster,
		replicas: ptr.Deref(in.Observed.Replicas, -1), hold: in.Observed.HoldReplicas, configMap: in.Observed.ConfigMap, contract: in.Observed.Contract,
		keyIDs: strings.Join(in.Observed.KeyIDs, ","),
	}
}

func (b *built) size() int {
	return len(b.objects.ConfigMap.Data[resources.ServerFile]) + entryOverhead
}

// builtCache remembers what was built last, the least recently used first to
// go. Its zero value is empty.
type builtCache struct {
	mu      sync.Mutex // guards all below
	byKey   map[buildKey]*list.Element
	recent  list.List // of *built, the latest first
	holding int       // bytes
}

// get returns what was built out of the same, or nil.
func (c *builtCache) get(key buildKey) *built {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.byKey[key]
	if element == nil {
		return nil
	}
	c.recent.MoveToFront(element)
	found, _ := element.Value.(*built)
	return found
}

// add remembers what was built.
func (c *builtCache) add(b *built) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[buildKey]*list.Element{}
	}
	c.remove(c.byKey[b.key])
	c.byKey[b.key] = c.recent.PushFront(b)
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
		delete(c.byKey, old.key)
		c.holding -= old.size()
	}
}

// build returns what a server becomes; see resources.Build for its errors.
func (r *Reconciler) build(in resources.Input) (*built, error) {
	key := keyOf(in)
	if found := r.built.get(key); found != nil {
		return found, nil
	}
	objects, err := resources.Build(in)
	if err != nil {
		return nil, err
	}
	fresh := &built{key: key, objects: objects, tools: toolsStatus(objects.Program.Server, objects.Revision), names: slices.Sorted(slices.Values(toolNames(objects.Program.Server)))}
	objects.Program = nil // Compiled expressions are many times larger than all else.
	r.built.add(fresh)
	return fresh, nil
}

// toolNames returns the names of all tools that are offered, in the order of the
// spec.
func toolNames(server *config.Server) []string {
	var names []string
	for _, tool := range server.Tools {
		if tool.State != config.StateDisabled {
			names = append(names, tool.Name)
		}
	}
	return names
}

func toolsStatus(server *config.Server, revision string) *fairleadv1alpha1.ToolsStatus {
	names := toolNames(server)
	return &fairleadv1alpha1.ToolsStatus{
		Count:    int32(len(names)), //nolint:gosec // G115: at most 256.
		Names:    names[:min(len(names), maxStatusTools)],
		Revision: revision,
	}
}
