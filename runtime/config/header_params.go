// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"slices"
	"strings"
)

// headerParams collects x-mcp-header of properties at every depth (SEP-2243).
func (c *checker) headerParams(path string, text []byte, textual bool) []HeaderParam {
	v, err := DecodeValue(text)
	if err != nil {
		return nil
	}
	s := &schemaCompiler{check: c, at: path, textual: textual}
	w := &paramWalk{compiler: s, seen: map[string]string{}}
	w.walk(s.base(), nil, v)
	slices.SortFunc(w.out, func(a, b HeaderParam) int { return cmp.Compare(a.Name, b.Name) })
	return w.out
}

type paramWalk struct {
	compiler *schemaCompiler
	seen     map[string]string
	out      []HeaderParam
}

func (w *paramWalk) walk(path string, names []string, schema any) {
	object, _ := schema.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	path = member(path, "properties")
	for _, name := range sortedKeys(properties) {
		at := member(path, name)
		down := append(slices.Clone(names), name)
		property, _ := properties[name].(map[string]any)
		if header, ok := property["x-mcp-header"]; ok {
			w.param(member(at, "x-mcp-header"), down, header, property["type"])
		}
		w.walk(at, down, property)
	}
}

func (w *paramWalk) param(path string, names []string, header, kind any) {
	typeName, _ := kind.(string)
	name, _ := header.(string)
	key := strings.ToLower(name)
	switch at, taken := w.seen[key]; {
	case !headerToken.MatchString(name) || len(name) > 128:
		w.compiler.fail(path, ruleParamName)
	case typeName != "string" && typeName != "integer" && typeName != "boolean":
		w.compiler.fail(path, ruleParamType)
	case taken:
		w.compiler.fail(path, ruleParamDuplicate, clip(name), at)
	default:
		w.seen[key] = path
		w.out = append(w.out, HeaderParam{Name: name, Path: names, Type: typeName})
	}
}
