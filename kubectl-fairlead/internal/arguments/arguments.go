// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package arguments turns key=value pairs of a command line into the arguments
// of a tool, with the types that its schema gives them.
package arguments

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// property is what this package understands of a schema.
type property struct {
	types []string
	known bool
}

// Parse gives the arguments that pairs name on top of base, which may be nil. A
// value is typed by the property of schema with its name: integers, numbers and
// booleans as such, arrays, objects and null as JSON, everything else as the
// string that it is. A property without a type takes JSON, else the string.
// A key that the schema does not have is a mistake only if the schema forbids
// it, which the server judges; it is typed as one without a type.
func Parse(schema any, base map[string]any, pairs []string) (map[string]any, error) {
	properties, err := read(schema)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	maps.Copy(out, base)
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("the argument %q is not of the form key=value", pair)
		}
		typed, err := convert(key, value, properties[key])
		if err != nil {
			return nil, err
		}
		out[key] = typed
	}
	return out, nil
}

// read collects the types of the top-level properties.
func read(schema any) (map[string]property, error) {
	data, err := json.Marshal(schema)
	if err != nil {
		return nil, fmt.Errorf("failed to read the tool's schema: %w", err)
	}
	var outer struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(data, &outer); err != nil {
		return nil, fmt.Errorf("failed to read the tool's schema: %w", err)
	}
	out := map[string]property{}
	for name, raw := range outer.Properties {
		var inner struct {
			Type json.RawMessage   `json:"type"`
			Enum []json.RawMessage `json:"enum"`
		}
		p := property{known: true}
		if json.Unmarshal(raw, &inner) == nil {
			var one string
			if json.Unmarshal(inner.Type, &one) == nil {
				p.types = []string{one}
			} else {
				_ = json.Unmarshal(inner.Type, &p.types)
			}
			if p.types == nil && allStrings(inner.Enum) {
				p.types = []string{"string"}
			}
		}
		out[name] = p
	}
	return out, nil
}

func allStrings(values []json.RawMessage) bool {
	for _, v := range values {
		if len(v) == 0 || v[0] != '"' {
			return false
		}
	}
	return len(values) > 0
}

// convert tries the types from the strictest to the string.
func convert(key, value string, p property) (any, error) {
	if len(p.types) == 0 {
		var v any
		if json.Unmarshal([]byte(value), &v) == nil {
			return json.RawMessage(value), nil
		}
		return value, nil
	}
	var errs []string
	for _, candidate := range []string{"null", "boolean", "integer", "number", "array", "object", "string"} {
		if !slices.Contains(p.types, candidate) {
			continue
		}
		v, err := as(candidate, value)
		if err == nil {
			return v, nil
		}
		errs = append(errs, err.Error())
	}
	if len(errs) == 0 {
		return value, nil
	}
	return nil, fmt.Errorf("the argument %s=%s is not %s", key, value, strings.Join(errs, " or "))
}

// wanted is an error whose text says what would have fitted.
type wanted string

func (w wanted) Error() string { return string(w) }

func as(kind, value string) (any, error) {
	switch kind {
	case "null":
		if value == "null" {
			return nil, nil //nolint:nilnil // The value is null.
		}
		return nil, wanted("null")
	case "boolean":
		if value == "true" || value == "false" {
			return value == "true", nil
		}
		return nil, wanted("true or false")
	case "integer":
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return nil, wanted("an integer")
		}
		// The digits themselves: a float64 would round large ones.
		return json.Number(value), nil
	case "number":
		var n json.Number
		if err := json.Unmarshal([]byte(value), &n); err != nil || value[0] == '"' {
			return nil, wanted("a number")
		}
		return n, nil
	case "array", "object":
		open := map[string]byte{"array": '[', "object": '{'}[kind]
		trimmed := strings.TrimSpace(value)
		if trimmed == "" || trimmed[0] != open || !json.Valid([]byte(trimmed)) {
			return nil, wanted("a JSON " + kind)
		}
		return json.RawMessage(trimmed), nil
	}
	return value, nil
}
