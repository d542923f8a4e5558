// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxSteps bounds the schemas that one Validate applies: a schema of nested
// alternatives can take time exponential in the depth of the value.
const maxSteps = 2_000_000

// maxExplained bounds how deep the branches of alternatives are explained.
const maxExplained = 2

// run is one Validate.
type run struct {
	budget int
	// quiet counts the branches whose failure nobody will read.
	quiet     int
	explained int
}

// place is where a value is; it is written out only for an error.
type place struct {
	parent *place
	name   string
	index  int
}

func (p *place) path() string {
	switch {
	case p.parent == nil:
		return p.name
	case p.name == "":
		return index(p.parent.path(), p.index)
	default:
		return member(p.parent.path(), p.name)
	}
}

// errQuiet stands for every failure that nobody will read.
var errQuiet = &ValidationError{Message: "does not fit"}

func (r *run) fail(at *place, format string, args ...any) *ValidationError {
	if r.quiet > 0 {
		return errQuiet
	}
	return &ValidationError{Path: at.path(), Message: fmt.Sprintf(format, args...)}
}

// apply returns nil if v fits n. Once the budget is spent everything fails, and
// Validate says so.
func (r *run) apply(n *node, v any, at *place) *ValidationError {
	r.budget--
	if r.budget < 0 {
		return errQuiet
	}
	if n.never {
		return r.fail(at, "is not allowed")
	}
	if n.types != 0 && n.types&typesOf(v) == 0 {
		return r.fail(at, "must be %s, not %s", describeTypes(n.types), describeValue(v))
	}
	if err := r.equality(n, v, at); err != nil {
		return err
	}
	if err := r.byType(n, v, at); err != nil {
		return err
	}
	if n.ref != nil {
		if err := r.apply(n.ref, v, at); err != nil {
			return err
		}
	}
	return r.logic(n, v, at)
}

func (r *run) byType(n *node, v any, at *place) *ValidationError {
	switch v := v.(type) {
	case string:
		return r.text(n, v, at)
	case int64, float64:
		return r.number(n, v, at)
	case []any:
		return r.array(n, v, at)
	case map[string]any:
		return r.object(n, v, at)
	default:
		return nil
	}
}

// typesOf returns every type that v has: 1.0 is an integer and a number.
func typesOf(v any) typeSet {
	switch v := v.(type) {
	case nil:
		return typeNull
	case bool:
		return typeBoolean
	case string:
		return typeString
	case int64, float64:
		if isInteger(v) {
			return typeInteger | typeNumber
		}
		return typeNumber
	case []any:
		return typeArray
	case map[string]any:
		return typeObject
	default:
		return 0
	}
}

func describeTypes(set typeSet) string {
	var names []string
	for _, t := range typeNames {
		if set&t.bit != 0 {
			names = append(names, withArticle(t.name))
		}
	}
	return strings.Join(names, " or ")
}

func withArticle(name string) string {
	switch name {
	case "null":
		return name
	case "integer", "object", "array":
		return "an " + name
	default:
		return "a " + name
	}
}

func describeValue(v any) string {
	types := typesOf(v)
	for _, t := range typeNames {
		if t.bit != typeInteger && types&t.bit != 0 {
			return withArticle(t.name)
		}
	}
	return "this value"
}

func (r *run) equality(n *node, v any, at *place) *ValidationError {
	if n.enum != nil && !slices.ContainsFunc(n.enum, func(e any) bool { return equalValues(e, v) }) {
		return r.fail(at, "must be one of %s", list(n.enum))
	}
	if n.fixed != nil && !equalValues(*n.fixed, v) {
		return r.fail(at, "must be %s", list([]any{*n.fixed}))
	}
	return nil
}

// list writes values of a schema for a message.
func list(values []any) string {
	const most = 10
	var texts []string
	for _, v := range values[:min(most, len(values))] {
		text, err := EncodeValue(v)
		if err != nil {
			continue
		}
		texts = append(texts, clip(string(text)))
	}
	if len(values) > most {
		texts = append(texts, "…")
	}
	return strings.Join(texts, ", ")
}

func (r *run) text(n *node, v string, at *place) *ValidationError {
	if n.minLength >= 0 || n.maxLength >= 0 {
		size := int64(utf8.RuneCountInString(v))
		if size < n.minLength {
			return r.fail(at, "must have at least %s", plural(n.minLength, "character", "characters"))
		}
		if n.maxLength >= 0 && size > n.maxLength {
			return r.fail(at, "must have at most %s", plural(n.maxLength, "character", "characters"))
		}
	}
	if n.pattern != nil && !n.pattern.MatchString(v) {
		return r.fail(at, "does not match pattern %q", n.pattern.String())
	}
	return nil
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

func (r *run) number(n *node, v any, at *place) *ValidationError {
	switch {
	case n.minimum != nil && compareNumbers(v, n.minimum) < 0:
		return r.fail(at, "must be at least %s", list([]any{n.minimum}))
	case n.maximum != nil && compareNumbers(v, n.maximum) > 0:
		return r.fail(at, "must be at most %s", list([]any{n.maximum}))
	case n.above != nil && compareNumbers(v, n.above) <= 0:
		return r.fail(at, "must be greater than %s", list([]any{n.above}))
	case n.below != nil && compareNumbers(v, n.below) >= 0:
		return r.fail(at, "must be less than %s", list([]any{n.below}))
	case n.multipleOf != nil && !isMultiple(v, n.multipleOf):
		return r.fail(at, "must be a multiple of %s", list([]any{n.multipleOf}))
	default:
		return nil
	}
}

// fits judges without an error.
func (r *run) fits(n *node, v any, at *place) bool {
	r.quiet++
	err := r.apply(n, v, at)
	r.quiet--
	return err == nil
}

func (r *run) logic(n *node, v any, at *place) *ValidationError {
	for _, branch := range n.allOf {
		if err := r.apply(branch, v, at); err != nil {
			return err
		}
	}
	if n.anyOf != nil && !slices.ContainsFunc(n.anyOf, func(b *node) bool { return r.fits(b, v, at) }) {
		return r.noBranch(n.anyOf, v, at)
	}
	if n.oneOf != nil {
		if err := r.oneOf(n, v, at); err != nil {
			return err
		}
	}
	if n.not != nil && r.fits(n.not, v, at) {
		return r.fail(at, "is excluded by the schema under not")
	}
	if n.when != nil {
		branch := n.els
		if r.fits(n.when, v, at) {
			branch = n.then
		}
		if branch != nil {
			if err := r.apply(branch, v, at); err != nil {
				return err
			}
		}
	}
	return r.dependents(n, v, at)
}

func (r *run) oneOf(n *node, v any, at *place) *ValidationError {
	fit := 0
	for _, branch := range n.oneOf {
		if r.fits(branch, v, at) {
			fit++
		}
	}
	switch fit {
	case 1:
		return nil
	case 0:
		return r.noBranch(n.oneOf, v, at)
	default:
		return r.fail(at, "fits %d alternatives, but must fit exactly one", fit)
	}
}

func (r *run) dependents(n *node, v any, at *place) *ValidationError {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	for _, p := range n.dependent {
		if _, ok := object[p.name]; ok {
			if err := r.apply(p.node, v, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// noBranch explains the first alternatives.
func (r *run) noBranch(branches []*node, v any, at *place) *ValidationError {
	if r.quiet > 0 || r.explained >= maxExplained {
		return r.fail(at, "fits none of the alternatives")
	}
	r.explained++
	defer func() { r.explained-- }()
	const most = 3
	var reasons []string
	here := at.path()
	for _, branch := range branches[:min(most, len(branches))] {
		err := r.apply(branch, v, at)
		switch {
		case err == nil:
		case err.Path == here:
			reasons = append(reasons, err.Message)
		default:
			reasons = append(reasons, err.Error())
		}
	}
	return r.fail(at, "fits none of the alternatives: %s", strings.Join(slices.Compact(reasons), "; or "))
}
