// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package changes says in which fields two specs of an MCPServer differ, for
// people: named items of lists are compared by name, long values are cut around
// what differs.
package changes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// width bounds a printed value, in characters.
const width = 60

// Field is a field that differs. Old and New are as decoded JSON; nil is absent.
type Field struct {
	// Path is such as limits.connections.perReplica or tls.caFrom[name].key.
	Path     string
	Old, New any
}

// String is "path: old -> new", with values that are cut to the difference.
func (f Field) String() string {
	old, now := text(f.Old), text(f.New)
	skip := 0
	if len(old) > width || len(now) > width {
		skip = common(old, now)
	}
	return f.Path + ": " + excerpt(old, skip) + " -> " + excerpt(now, skip)
}

// Tool is a tool that differs.
type Tool struct {
	Name string
	// Fields are those below the tool, in the order of their paths.
	Fields []Field
}

// Sign is what clients see of it: "-" for a tool that is switched off, which
// leaves their list, "+" for one that comes back, else "~".
func (t Tool) Sign() string {
	for _, field := range t.Fields {
		switch {
		case field.Path != "state":
		case field.New == string(fairleadv1alpha1.ToolDisabled):
			return "-"
		case field.Old == string(fairleadv1alpha1.ToolDisabled):
			return "+"
		}
	}
	return "~"
}

// Spec is how two specs differ. All slices are sorted by name or path.
type Spec struct {
	// Added and Removed are names of tools.
	Added, Removed []string
	Changed        []Tool
	// Reordered says that the tools that stay have another order.
	Reordered bool
	// Fields are all other fields, below spec.
	Fields []Field
}

// Empty says that the specs are equal.
func (s Spec) Empty() bool {
	return len(s.Added)+len(s.Removed)+len(s.Changed)+len(s.Fields) == 0 && !s.Reordered
}

// Summary is one line, such as "+refund ~list_orders; limits.sessions.max";
// "nothing" for equal specs.
func (s Spec) Summary() string {
	var tools []string
	for _, name := range s.Added {
		tools = append(tools, "+"+name)
	}
	for _, tool := range s.Changed {
		tools = append(tools, tool.Sign()+tool.Name)
	}
	for _, name := range s.Removed {
		tools = append(tools, "-"+name)
	}
	var parts []string
	if len(tools) > 0 {
		parts = append(parts, strings.Join(tools, " "))
	}
	if s.Reordered {
		parts = append(parts, "order of tools")
	}
	for _, field := range s.Fields {
		parts = append(parts, field.Path)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

// Between compares two specs. Its error is for a spec that cannot be encoded.
func Between(before, after *fairleadv1alpha1.MCPServerSpec) (Spec, error) {
	old, oldTools, err := split(before)
	if err != nil {
		return Spec{}, err
	}
	now, newTools, err := split(after)
	if err != nil {
		return Spec{}, err
	}
	out := Spec{Fields: compare("", old, now, nil)}
	for i := range after.Tools {
		name := after.Tools[i].Name
		was, ok := oldTools[name]
		if !ok {
			out.Added = append(out.Added, name)
			continue
		}
		if fields := compare("", was, newTools[name], nil); len(fields) > 0 {
			out.Changed = append(out.Changed, Tool{Name: name, Fields: fields})
		}
	}
	for i := range before.Tools {
		if name := before.Tools[i].Name; newTools[name] == nil {
			out.Removed = append(out.Removed, name)
		}
	}
	out.Reordered = !slices.Equal(staying(before, newTools), staying(after, oldTools))
	slices.Sort(out.Added)
	slices.Sort(out.Removed)
	slices.SortFunc(out.Changed, func(a, b Tool) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// staying are the names of the spec's tools that the other spec has too.
func staying(spec *fairleadv1alpha1.MCPServerSpec, others map[string]any) []string {
	var names []string
	for i := range spec.Tools {
		if name := spec.Tools[i].Name; others[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// split gives the fields of a spec apart from its tools, and these by name.
func split(spec *fairleadv1alpha1.MCPServerSpec) (fields, tools map[string]any, err error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to encode a spec: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return nil, nil, fmt.Errorf("failed to read a spec: %w", err)
	}
	all, _ := fields["tools"].([]any)
	delete(fields, "tools")
	tools, _ = byName(all)
	return fields, tools, nil
}

// byName gives the items of a list by their names, if all have one of their own.
func byName(items []any) (named map[string]any, ok bool) {
	named = make(map[string]any, len(items))
	for _, item := range items {
		fields, _ := item.(map[string]any)
		name, ok := fields["name"].(string)
		if !ok || named[name] != nil {
			return nil, false
		}
		named[name] = item
	}
	return named, true
}

// compare appends the fields that differ, in the order of their paths.
func compare(path string, old, now any, found []Field) []Field {
	if reflect.DeepEqual(old, now) {
		return found
	}
	oldFields, isMap := old.(map[string]any)
	newFields, stays := now.(map[string]any)
	if isMap && stays {
		for _, key := range keys(oldFields, newFields) {
			found = compare(join(path, key), oldFields[key], newFields[key], found)
		}
		return found
	}
	oldItems, isList := old.([]any)
	newItems, stays := now.([]any)
	if isList && stays {
		return compareLists(path, oldItems, newItems, found)
	}
	return append(found, Field{Path: path, Old: old, New: now})
}

func compareLists(path string, old, now []any, found []Field) []Field {
	before := len(found)
	oldNamed, ok := byName(old)
	newNamed, both := byName(now)
	switch {
	case ok && both && len(old)+len(now) > 0:
		for _, name := range keys(oldNamed, newNamed) {
			found = compare(path+"["+name+"]", oldNamed[name], newNamed[name], found)
		}
	case len(old) == len(now) && !scalars(old) && !scalars(now):
		for i := range old {
			found = compare(path+"["+strconv.Itoa(i)+"]", old[i], now[i], found)
		}
	}
	if len(found) == before {
		// Only the order differs, or there is no telling which item is which.
		found = append(found, Field{Path: path, Old: old, New: now})
	}
	return found
}

// scalars says that a list has no objects or lists in it.
func scalars(items []any) bool {
	return !slices.ContainsFunc(items, func(item any) bool {
		switch item.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

func keys(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// text is a value on one line.
func text(v any) []rune {
	if v == nil {
		return []rune("(unset)")
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return []rune("?")
	}
	return []rune(strings.TrimSpace(b.String()))
}

// common is how many characters of the beginnings can be left out.
func common(a, b []rune) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	const context = 20
	return max(0, n-context)
}

func excerpt(value []rune, skip int) string {
	before, after := "", ""
	if skip = min(skip, max(0, len(value)-width/2)); skip > 0 {
		before = "…"
	}
	value = value[skip:]
	if len(value) > width {
		value, after = value[:width-1], "…"
	}
	return before + string(value) + after
}
