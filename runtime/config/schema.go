// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Dialects of JSON Schema that $schema may name.
const (
	dialect2020 = "https://json-schema.org/draft/2020-12/schema"
	dialect7    = "http://json-schema.org/draft-07/schema"
)

// maxLibraryNodes bounds the work of a schema that the library judges, counted
// with every $ref written out.
const maxLibraryNodes = 10_000

// Schema is a compiled JSON Schema (2020-12, or draft-07 where $schema says
// so). It is immutable and safe for concurrent use. Defaults are not applied:
// the specification calls them annotations, and a backend knows its own.
// The keyword format is an annotation as well.
type Schema struct {
	label string
	root  *node
	// library judges what the nodes do not implement; nil otherwise.
	library *jsonschema.Resolved
}

// node is one schema of the tree. Fields that are nil or negative are absent.
type node struct {
	at string

	never bool
	types typeSet
	enum  []any
	fixed *any

	minimum, maximum, above, below, multipleOf any
	minLength, maxLength                       int64
	pattern                                    *regexp.Regexp

	prefix                   []*node
	items, contains          *node
	minContains, maxContains int64
	minItems, maxItems       int64
	unique                   bool

	properties           []property
	byName               map[string]*node
	patterns             []patternProperty
	additional, names    *node
	required             []string
	needs                []dependency
	dependent            []property
	minNames, maxNames   int64
	allOf, anyOf, oneOf  []*node
	not, when, then, els *node
	ref                  *node

	// defs are reached by $ref only.
	defs []*node
}

type property struct {
	name string
	node *node
}

type patternProperty struct {
	re   *regexp.Regexp
	node *node
}

type dependency struct {
	name  string
	needs []string
}

// typeSet is a set of JSON types.
type typeSet uint8

const (
	typeNull typeSet = 1 << iota
	typeBoolean
	typeObject
	typeArray
	typeNumber
	typeInteger
	typeString
)

// typeName is a type's name in a schema.
type typeName struct {
	name string
	bit  typeSet
}

// typeNames are in the order in which messages list them.
var typeNames = []typeName{
	{"string", typeString},
	{"integer", typeInteger},
	{"number", typeNumber},
	{"boolean", typeBoolean},
	{"object", typeObject},
	{"array", typeArray},
	{"null", typeNull},
}

// emptyObject is the schema of a tool without arguments.
const emptyObject = `{"type":"object","additionalProperties":false}`

// compileSchema compiles a schema whose root must be an object. path is the
// field's; textual says that the field is a string, so that paths inside of it
// belong into the message. It returns nil after it reported an error.
func (c *checker) compileSchema(path, label string, text []byte, textual bool) *Schema {
	v, err := DecodeValue(text)
	if err != nil {
		c.fail(path, ruleSchemaJSON, oneLine(err))
		return nil
	}
	s := &schemaCompiler{check: c, at: path, textual: textual, tree: v, nodes: map[string]*node{}, anchors: map[string]target{}}
	before := len(c.errs)
	s.dialect()
	s.collectAnchors(v, "", s.base())
	root := s.node("", s.base(), v)
	if len(c.errs) == before && root.types != typeObject {
		s.fail(member(s.base(), "type"), ruleSchemaRoot)
	}
	s.loops()
	if len(c.errs) > before {
		return nil
	}
	resolved, err := resolveWithLibrary(text)
	if err != nil {
		c.fail(path, ruleSchemaRefused, oneLine(err))
		return nil
	}
	out := &Schema{label: label, root: root}
	if s.library != "" {
		if !s.bounded(root) {
			s.fail(s.library, ruleSchemaGrowth)
			return nil
		}
		out.library = resolved
	}
	return out
}

// resolveWithLibrary lets the library look at the whole schema too: two pairs
// of eyes, and the judge of the keywords that the nodes do not implement.
func resolveWithLibrary(text []byte) (*jsonschema.Resolved, error) {
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, err
	}
	return schema.Resolve(&jsonschema.ResolveOptions{BaseURI: "https://fairlead.invalid/"})
}

// property returns a property of the root; nil if there is none.
func (s *Schema) property(name string) *node { return s.root.byName[name] }

// closed reports whether the root allows only the properties that it lists.
func (s *Schema) closed() bool {
	return s.root.additional != nil && s.root.additional.never && len(s.root.patterns) == 0
}

// requires reports whether the root lists a property as required.
func (s *Schema) requires(name string) bool { return slices.Contains(s.root.required, name) }

// Validate judges a value of DecodeValue. Its error is a *ValidationError that
// names the argument, says what is expected and never holds the value.
func (s *Schema) Validate(v any) error {
	r := run{budget: maxSteps}
	err := r.apply(s.root, v, &place{name: s.label})
	if r.budget < 0 {
		// Whatever it found: a branch that was given up can make "not" true.
		return &ValidationError{Path: s.label, Message: "takes too many steps to judge by its schema"}
	}
	if err != nil {
		return err
	}
	if s.library != nil {
		if err := s.library.Validate(v); err != nil {
			return &ValidationError{Path: s.label, Message: libraryMessage(err)}
		}
	}
	return nil
}

// libraryMessage keeps the place in the schema from a library's error, which
// quotes values behind it.
func libraryMessage(err error) string {
	at, rest := "", err.Error()
	for {
		next, ok := strings.CutPrefix(rest, "validating ")
		if !ok {
			break
		}
		where, after, ok := strings.Cut(next, ": ")
		if !ok {
			break
		}
		at, rest = where, after
	}
	if at == "" || at == "root" {
		return "does not fit the schema"
	}
	return "does not fit the schema at " + at
}
