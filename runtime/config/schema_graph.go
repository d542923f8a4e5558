// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"slices"
)

// inPlace returns the schemas that judge the same value as n.
func (n *node) inPlace() []*node {
	out := slices.Concat(n.allOf, n.anyOf, n.oneOf)
	for _, p := range n.dependent {
		out = append(out, p.node)
	}
	for _, child := range []*node{n.not, n.when, n.then, n.els, n.ref} {
		if child != nil {
			out = append(out, child)
		}
	}
	return out
}

// below returns the schemas that judge a part of n's value.
func (n *node) beneath() []*node {
	out := slices.Clone(n.prefix)
	for _, p := range n.properties {
		out = append(out, p.node)
	}
	for _, p := range n.patterns {
		out = append(out, p.node)
	}
	for _, child := range []*node{n.items, n.contains, n.additional, n.names} {
		if child != nil {
			out = append(out, child)
		}
	}
	return out
}

// loops refuses a schema that reaches itself without going into the value:
// judging anything by it would never end, and take the process with it.
func (s *schemaCompiler) loops() {
	const begun, done = 1, 2
	state := map[*node]int{}
	var visit func(n *node)
	visit = func(n *node) {
		state[n] = begun
		for _, child := range n.inPlace() {
			switch state[child] {
			case begun:
				s.fail(child.at, ruleSchemaLoop)
			case done:
			default:
				visit(child)
			}
		}
		state[n] = done
	}
	for _, pointer := range slices.Sorted(maps.Keys(s.nodes)) {
		if n := s.nodes[pointer]; state[n] == 0 {
			visit(n)
		}
	}
}

// bounded reports whether n, with every $ref written out, is finite and small.
func (s *schemaCompiler) bounded(n *node) bool {
	const begun = -1
	sizes := map[*node]int{}
	var size func(n *node) int
	size = func(n *node) int {
		switch known := sizes[n]; {
		case known == begun:
			return maxLibraryNodes + 1
		case known > 0:
			return known
		}
		sizes[n] = begun
		total := 1
		for _, child := range slices.Concat(n.inPlace(), n.beneath()) {
			total = min(total+size(child), maxLibraryNodes+1)
		}
		sizes[n] = total
		return total
	}
	return size(n) <= maxLibraryNodes
}
