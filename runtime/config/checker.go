// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checker collects what is wrong, in the order in which it is asked.
type checker struct {
	errs Errors
	opts CompileOptions
	// input is the schema of the tool at hand; nil if it is broken.
	input *Schema
}

func (c *checker) fail(path string, r rule, args ...any) {
	c.errs = append(c.errs, &FieldError{Path: path, Message: r.sprintf(args...), rule: r})
}

// err returns nil or all errors.
func (c *checker) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs
}

// text judges a string by its bound. An absent one is an error if required, and
// fine otherwise. It reports whether the value can be used further.
func (c *checker) text(path, value string, required bool) bool {
	b := texts[schematic(path)]
	if value == "" {
		if required {
			c.fail(path, ruleRequired)
		}
		return !required
	}
	if b.enum != nil {
		if !slices.Contains(b.enum, value) {
			c.fail(path, ruleEnum, strings.Join(b.enum, ", "), clip(value))
			return false
		}
		return true
	}
	if n := utf8.RuneCountInString(value); n < b.min || n > b.max {
		if b.min == 0 {
			c.fail(path, ruleLengthMost, b.max, n)
		} else {
			c.fail(path, ruleLength, b.min, b.max, n)
		}
		return false
	}
	if b.form != nil && !b.form.pattern.MatchString(value) {
		c.fail(path, ruleForm, b.form.says)
		return false
	}
	return true
}

// count judges a number by its bound.
func (c *checker) count(path string, value int64) {
	b := numbers[schematic(path)]
	if value < b.min || value > b.max {
		c.fail(path, ruleRange, strconv.FormatInt(b.min, 10), strconv.FormatInt(b.max, 10), strconv.FormatInt(value, 10))
	}
}

// duration judges a duration by its bound.
func (c *checker) duration(path string, value Duration) {
	b := numbers[schematic(path)]
	if int64(value) < b.min || int64(value) > b.max {
		c.fail(path, ruleRange, Duration(b.min).String(), Duration(b.max).String(), value.String())
	}
}

// items judges the length of a list or map. It reports whether it is in bounds.
func (c *checker) items(path string, n int) bool {
	b := lengths[schematic(path)]
	if int64(n) < b.min || int64(n) > b.max {
		if b.min == 0 {
			c.fail(path, ruleItemsMost, b.max, n)
		} else {
			c.fail(path, ruleItems, b.min, b.max, n)
		}
		return false
	}
	return true
}

// unique refuses a value that an earlier path has; seen is kept by the caller.
func (c *checker) unique(seen map[string]string, path, value string) bool {
	if at, ok := seen[value]; ok {
		c.fail(path, ruleDuplicate, clip(value), at)
		return false
	}
	seen[value] = path
	return true
}

var (
	indexes    = regexp.MustCompile(`\[\d+\]`)
	mapEntries = regexp.MustCompile(`^(tools\[\]\.http\.(?:query|headers))(?:\.|\[").*$`)
)

// schematic turns tools[2].http.query.id into tools[].http.query.*, the key of
// the tables of bounds.
func schematic(path string) string {
	return mapEntries.ReplaceAllString(indexes.ReplaceAllString(path, "[]"), "$1.*")
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

var plainName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$-]*$`)

// member appends a name to a path, in quotes unless it is a plain one.
func member(path, name string) string {
	if !plainName.MatchString(name) {
		return path + "[" + strconv.Quote(clip(name)) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 64
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}
