// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"slices"
)

func (r *run) array(n *node, v []any, at *place) *ValidationError {
	if size := int64(len(v)); size < n.minItems {
		return r.fail(at, "must have at least %s", plural(n.minItems, "item", "items"))
	} else if n.maxItems >= 0 && size > n.maxItems {
		return r.fail(at, "must have at most %s", plural(n.maxItems, "item", "items"))
	}
	if n.unique && !uniqueValues(v) {
		return r.fail(at, "must not hold an item twice")
	}
	for i, item := range v {
		schema := n.items
		if i < len(n.prefix) {
			schema = n.prefix[i]
		}
		if schema == nil {
			continue
		}
		if err := r.apply(schema, item, &place{parent: at, index: i}); err != nil {
			return err
		}
	}
	if n.contains != nil {
		return r.contains(n, v, at)
	}
	return nil
}

func (r *run) contains(n *node, v []any, at *place) *ValidationError {
	var found int64
	for i, item := range v {
		if r.fits(n.contains, item, &place{parent: at, index: i}) {
			found++
		}
	}
	least := n.minContains
	if least < 0 {
		least = 1
	}
	if found < least {
		return r.fail(at, "must hold at least %s of the kind that it must contain", plural(least, "item", "items"))
	}
	if n.maxContains >= 0 && found > n.maxContains {
		return r.fail(at, "must hold at most %s of the kind that it must contain", plural(n.maxContains, "item", "items"))
	}
	return nil
}

// uniqueValues compares texts, which are the same for equal values.
func uniqueValues(v []any) bool {
	seen := make(map[string]struct{}, len(v))
	for _, item := range v {
		text, err := EncodeValue(item)
		if err != nil {
			return false
		}
		if _, ok := seen[string(text)]; ok {
			return false
		}
		seen[string(text)] = struct{}{}
	}
	return true
}

func (r *run) object(n *node, v map[string]any, at *place) *ValidationError {
	if err := r.presence(n, v, at); err != nil {
		return err
	}
	for _, p := range n.properties {
		if value, ok := v[p.name]; ok {
			if err := r.apply(p.node, value, &place{parent: at, name: p.name}); err != nil {
				return err
			}
		}
	}
	if len(n.patterns) == 0 && n.additional == nil && n.names == nil {
		return nil
	}
	if n.additional != nil && n.additional.never && len(n.patterns) == 0 && n.names == nil {
		return r.onlyKnown(n, v, at)
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if err := r.otherProperty(n, name, v[name], at); err != nil {
			return err
		}
	}
	return nil
}

// presence judges which properties are there.
func (r *run) presence(n *node, v map[string]any, at *place) *ValidationError {
	for _, name := range n.required {
		if _, ok := v[name]; !ok {
			return r.fail(at, "missing required property %q", name)
		}
	}
	if size := int64(len(v)); size < n.minNames {
		return r.fail(at, "must have at least %s", plural(n.minNames, "property", "properties"))
	} else if n.maxNames >= 0 && size > n.maxNames {
		return r.fail(at, "must have at most %s", plural(n.maxNames, "property", "properties"))
	}
	for _, d := range n.needs {
		if _, ok := v[d.name]; !ok {
			continue
		}
		for _, name := range d.needs {
			if _, ok := v[name]; !ok {
				return r.fail(at, "missing property %q, which %q needs", name, d.name)
			}
		}
	}
	return nil
}

// onlyKnown is the common case of additionalProperties: false.
func (r *run) onlyKnown(n *node, v map[string]any, at *place) *ValidationError {
	unknown, found := "", false
	for name := range v {
		if _, ok := n.byName[name]; !ok && (!found || name < unknown) {
			unknown, found = name, true
		}
	}
	if !found {
		return nil
	}
	return r.unknownProperty(n, unknown, at)
}

func (r *run) unknownProperty(n *node, name string, at *place) *ValidationError {
	if len(n.properties) == 0 {
		return r.fail(at, "unknown property %q: there are none", clip(name))
	}
	known := make([]any, len(n.properties))
	for i, p := range n.properties {
		known[i] = p.name
	}
	return r.fail(at, "unknown property %q; known are %s", clip(name), list(known))
}

func (r *run) otherProperty(n *node, name string, value any, at *place) *ValidationError {
	here := &place{parent: at, name: name}
	if n.names != nil && !r.fits(n.names, name, here) {
		return r.fail(at, "property name %q is not allowed", clip(name))
	}
	_, known := n.byName[name]
	for _, p := range n.patterns {
		if p.re.MatchString(name) {
			known = true
			if err := r.apply(p.node, value, here); err != nil {
				return err
			}
		}
	}
	if known || n.additional == nil {
		return nil
	}
	if n.additional.never {
		return r.unknownProperty(n, name, at)
	}
	return r.apply(n.additional, value, here)
}
