// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// schemaCompiler turns a decoded schema into nodes.
type schemaCompiler struct {
	check   *checker
	at      string
	textual bool
	tree    any
	draft7  bool
	// nodes are those begun, by JSON pointer, so that recursion ends.
	nodes   map[string]*node
	anchors map[string]target
	// library is the place of the first keyword that the library must judge.
	library string
}

// target is a schema with its JSON pointer and its path in the file.
type target struct {
	pointer, path string
	value         any
}

// base is the path of the schema's root in messages.
func (s *schemaCompiler) base() string {
	if s.textual {
		return ""
	}
	return s.at
}

func (s *schemaCompiler) fail(path string, r rule, args ...any) {
	if !s.textual {
		s.check.fail(path, r, args...)
		return
	}
	message := r.sprintf(args...)
	if path != "" {
		message = path + ": " + message
	}
	s.check.errs = append(s.check.errs, &FieldError{Path: s.at, Message: message, rule: r})
}

// strayFields are fields of a tool that no dialect uses as keywords. JSON Schema
// lets unknown keywords pass, so that one step of indentation too many would
// silently take a tool's access rule away.
var strayFields = []string{"access", "annotations", "http", "inputSchemaJSON", "maxConcurrency", "outputSchema", "state", "static", "timeout"}

func (s *schemaCompiler) dialect() {
	object, ok := s.tree.(map[string]any)
	if !ok {
		return
	}
	for _, field := range strayFields {
		if _, ok := object[field]; ok {
			s.fail(member(s.base(), field), ruleSchemaStray, field)
		}
	}
	v, ok := object["$schema"]
	if !ok {
		return
	}
	name, _ := v.(string)
	switch strings.TrimSuffix(name, "#") {
	case dialect2020:
	case dialect7, "https" + strings.TrimPrefix(dialect7, "http"):
		s.draft7 = true
	default:
		s.fail(member(s.base(), "$schema"), ruleSchemaDialect, clip(name))
	}
}

// collectAnchors notes every $anchor. It also visits values that are no
// schemas, such as those of enum: an $anchor in one is no likely accident.
func (s *schemaCompiler) collectAnchors(v any, pointer, path string) {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["$anchor"].(string); ok && !s.draft7 {
			s.anchors[name] = target{pointer, path, v}
		}
		for name, child := range v {
			s.collectAnchors(child, join(pointer, name), member(path, name))
		}
	case []any:
		for i, child := range v {
			s.collectAnchors(child, join(pointer, strconv.Itoa(i)), index(path, i))
		}
	}
}

func join(pointer, token string) string {
	return string(jsontext.Pointer(pointer).AppendToken(token))
}

// node compiles the schema v at a JSON pointer.
func (s *schemaCompiler) node(pointer, path string, v any) *node {
	if n, ok := s.nodes[pointer]; ok {
		return n
	}
	n := newNode(path)
	s.nodes[pointer] = n
	switch v := v.(type) {
	case bool:
		n.never = !v
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			s.keyword(n, v, keyword{s: s, name: name, pointer: join(pointer, name), path: member(path, name), value: v[name]})
		}
	default:
		s.fail(path, ruleSchemaKeyword, "a schema: an object or a boolean")
	}
	return n
}

func newNode(path string) *node {
	return &node{
		at: path, minLength: -1, maxLength: -1, minContains: -1, maxContains: -1,
		minItems: -1, maxItems: -1, minNames: -1, maxNames: -1,
	}
}

// keyword reads one keyword into n. Unknown ones are annotations (JSON Schema
// Core, section 4.3.1). Each group returns whether the keyword was its own.
func (s *schemaCompiler) keyword(n *node, all map[string]any, k keyword) {
	if s.draft7 {
		if _, ok := all["$ref"]; ok && k.name != "$ref" {
			s.besideRef(k)
			return
		}
	}
	_ = s.reference(n, k) || s.assertion(n, k) || s.forNumbers(n, k) || s.forArrays(n, k) || s.forObjects(n, k) || s.logic(n, k)
}

// besideRef reads what draft-07 ignores beside a $ref: only definitions, since
// other $refs may point into them.
func (s *schemaCompiler) besideRef(k keyword) {
	if k.name == "definitions" || k.name == "$defs" {
		k.schemas()
	}
}

func (s *schemaCompiler) reference(n *node, k keyword) bool {
	switch k.name {
	case "$ref":
		n.ref = s.resolve(k)
	case "$defs", "definitions":
		for _, p := range k.schemas() {
			n.defs = append(n.defs, p.node)
		}
	case "$anchor":
		k.str()
	case "$id":
		if k.pointer != "/$id" {
			s.fail(k.path, ruleSchemaDynamic)
		}
		k.str()
	case "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor":
		s.fail(k.path, ruleSchemaDynamic)
	default:
		return false
	}
	return true
}

// resolve finds the target of a local $ref.
func (s *schemaCompiler) resolve(k keyword) *node {
	ref := k.str()
	fragment, local := strings.CutPrefix(ref, "#")
	if !local {
		if ref != "" {
			s.fail(k.path, ruleSchemaRemote, clip(ref))
		}
		return nil
	}
	if fragment != "" && !strings.HasPrefix(fragment, "/") {
		t, ok := s.anchors[fragment]
		if !ok {
			s.fail(k.path, ruleSchemaTarget, clip(ref))
			return nil
		}
		return s.node(t.pointer, t.path, t.value)
	}
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		s.fail(k.path, ruleSchemaTarget, clip(ref))
		return nil
	}
	t, ok := s.lookup(pointer)
	if !ok {
		s.fail(k.path, ruleSchemaTarget, clip(ref))
		return nil
	}
	return s.node(t.pointer, t.path, t.value)
}

// lookup follows a JSON pointer (RFC 6901) from the root.
func (s *schemaCompiler) lookup(pointer string) (target, bool) {
	t := target{path: s.base(), value: s.tree}
	for token := range jsontext.Pointer(pointer).Tokens() {
		switch v := t.value.(type) {
		case map[string]any:
			child, ok := v[token]
			if !ok {
				return target{}, false
			}
			t = target{join(t.pointer, token), member(t.path, token), child}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return target{}, false
			}
			t = target{join(t.pointer, token), index(t.path, i), v[i]}
		default:
			return target{}, false
		}
	}
	return t, true
}

func (s *schemaCompiler) assertion(n *node, k keyword) bool {
	switch k.name {
	case "type":
		n.types = k.typeSet()
	case "enum":
		if n.enum = k.list(); n.enum == nil {
			n.enum = []any{}
		}
	case "const":
		n.fixed = &k.value
	case "minLength":
		n.minLength = k.size()
	case "maxLength":
		n.maxLength = k.size()
	case "pattern":
		n.pattern = k.regexp(k.str())
	default:
		return false
	}
	return true
}

func (s *schemaCompiler) forNumbers(n *node, k keyword) bool {
	switch k.name {
	case "minimum":
		n.minimum = k.number()
	case "maximum":
		n.maximum = k.number()
	case "exclusiveMinimum":
		n.above = k.number()
	case "exclusiveMaximum":
		n.below = k.number()
	case "multipleOf":
		n.multipleOf = k.number()
		if n.multipleOf != nil && compareNumbers(n.multipleOf, int64(0)) <= 0 {
			s.fail(k.path, ruleSchemaKeyword, "a number above 0")
		}
	default:
		return false
	}
	return true
}

func (s *schemaCompiler) forArrays(n *node, k keyword) bool {
	switch k.name {
	case "contains":
		n.contains = k.schema()
	case "minItems":
		n.minItems = k.size()
	case "maxItems":
		n.maxItems = k.size()
	case "uniqueItems":
		n.unique = k.boolean()
	case "items":
		if _, ok := k.value.([]any); ok && s.draft7 {
			s.judgedByLibrary(k)
			k.schemaList()
			return true
		}
		n.items = k.schema()
	case "additionalItems":
		if s.draft7 {
			s.judgedByLibrary(k)
			k.schema()
		}
	default:
		return !s.draft7 && s.forArrays2020(n, k)
	}
	return true
}

// forArrays2020 reads what draft-07 does not have.
func (s *schemaCompiler) forArrays2020(n *node, k keyword) bool {
	switch k.name {
	case "prefixItems":
		n.prefix = k.schemaList()
	case "minContains":
		n.minContains = k.size()
	case "maxContains":
		n.maxContains = k.size()
	case "unevaluatedItems":
		s.judgedByLibrary(k)
		k.schema()
	default:
		return false
	}
	return true
}

// judgedByLibrary notes that the nodes do not implement a keyword.
func (s *schemaCompiler) judgedByLibrary(k keyword) {
	if s.library == "" {
		s.library = k.path
	}
}

func (s *schemaCompiler) forObjects(n *node, k keyword) bool {
	switch k.name {
	case "properties":
		n.properties = k.schemas()
		n.byName = make(map[string]*node, len(n.properties))
		for _, p := range n.properties {
			n.byName[p.name] = p.node
		}
	case "patternProperties":
		for _, p := range k.schemas() {
			n.patterns = append(n.patterns, patternProperty{k.regexp(p.name), p.node})
		}
	case "additionalProperties":
		n.additional = k.schema()
	case "propertyNames":
		n.names = k.schema()
	case "required":
		n.required = k.strings(k.value, k.path)
	case "minProperties":
		n.minNames = k.size()
	case "maxProperties":
		n.maxNames = k.size()
	case "unevaluatedProperties":
		if !s.draft7 {
			s.judgedByLibrary(k)
			k.schema()
		}
	case "dependentRequired", "dependentSchemas", "dependencies":
		s.dependencies(n, k)
	default:
		return false
	}
	return true
}

func (s *schemaCompiler) dependencies(n *node, k keyword) {
	switch {
	case s.draft7 != (k.name == "dependencies"):
		// A keyword of the other draft is an annotation.
	case k.name == "dependentSchemas":
		n.dependent = k.schemas()
	case k.name == "dependentRequired":
		object := k.object()
		for _, name := range slices.Sorted(maps.Keys(object)) {
			n.needs = append(n.needs, dependency{name, k.strings(object[name], member(k.path, name))})
		}
	default:
		s.judgedByLibrary(k)
	}
}

func (s *schemaCompiler) logic(n *node, k keyword) bool {
	switch k.name {
	case "allOf":
		n.allOf = k.schemaList()
	case "anyOf":
		n.anyOf = k.schemaList()
	case "oneOf":
		n.oneOf = k.schemaList()
	case "not":
		n.not = k.schema()
	case "if":
		n.when = k.schema()
	case "then":
		n.then = k.schema()
	case "else":
		n.els = k.schema()
	default:
		return false
	}
	return true
}
