// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// keyword is one member of a schema object with readers for its value; each
// reports a value of the wrong kind and returns the zero value.
type keyword struct {
	s             *schemaCompiler
	name          string
	pointer, path string
	value         any
}

func (k keyword) wrong(want string) { k.s.fail(k.path, ruleSchemaKeyword, want) }

func (k keyword) str() string {
	v, ok := k.value.(string)
	if !ok {
		k.wrong("a string")
	}
	return v
}

func (k keyword) boolean() bool {
	v, ok := k.value.(bool)
	if !ok {
		k.wrong("a boolean")
	}
	return v
}

func (k keyword) number() any {
	switch k.value.(type) {
	case int64, float64:
		return k.value
	default:
		k.wrong("a number")
		return nil
	}
}

// size reads a count; it may be written 2.0.
func (k keyword) size() int64 {
	switch v := k.value.(type) {
	case int64:
		if v >= 0 && v <= math.MaxInt32 {
			return v
		}
	case float64:
		if v >= 0 && v <= math.MaxInt32 && v == math.Trunc(v) {
			return int64(v)
		}
	}
	k.wrong("a whole number from 0 to 2147483647")
	return -1
}

func (k keyword) list() []any {
	v, ok := k.value.([]any)
	if !ok {
		k.wrong("a list")
	}
	return v
}

func (k keyword) object() map[string]any {
	v, ok := k.value.(map[string]any)
	if !ok {
		k.wrong("an object")
	}
	return v
}

func (k keyword) strings(v any, path string) []string {
	list, ok := v.([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		name, isString := e.(string)
		ok = ok && isString
		out = append(out, name)
	}
	if !ok {
		k.s.fail(path, ruleSchemaKeyword, "a list of strings")
		return nil
	}
	return out
}

func (k keyword) typeSet() typeSet {
	names := []any{k.value}
	if list, ok := k.value.([]any); ok {
		names = list
	}
	var set typeSet
	for _, name := range names {
		i := slices.IndexFunc(typeNames, func(t typeName) bool { return t.name == name })
		if i < 0 {
			k.wrong("string, integer, number, boolean, object, array or null, or a list of them")
			return 0
		}
		set |= typeNames[i].bit
	}
	if set == 0 {
		k.wrong("string, integer, number, boolean, object, array or null, or a list of them")
	}
	return set
}

func (k keyword) regexp(pattern string) *regexp.Regexp {
	re, err := regexp.Compile(pattern)
	if err != nil {
		k.s.fail(k.path, ruleSchemaRegexp, clip(pattern), oneLine(err))
		return nil
	}
	return re
}

func (k keyword) schema() *node { return k.s.node(k.pointer, k.path, k.value) }

func (k keyword) schemas() []property {
	object := k.object()
	out := make([]property, 0, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		out = append(out, property{name, k.s.node(join(k.pointer, name), member(k.path, name), object[name])})
	}
	return out
}

func (k keyword) schemaList() []*node {
	list := k.list()
	if len(list) == 0 {
		if list != nil {
			k.wrong("a list of at least one schema")
		}
		return nil
	}
	out := make([]*node, 0, len(list))
	for i, v := range list {
		out = append(out, k.s.node(join(k.pointer, strconv.Itoa(i)), index(k.path, i), v))
	}
	return out
}
