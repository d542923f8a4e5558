// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// Change is what an edit of a server would do.
type Change struct {
	// Fields are the fields that differ, in the order of the types. Items of
	// lists are told by their names: spec.tools[echo].description.
	Fields []FieldChange
	// Tools are the names of the tools that differ.
	Tools ToolsChange
	// Rolls is true if pods are replaced, and Why says because of what.
	Rolls bool
	Why   []string
	// Objects are the objects that differ; nil if Old is set.
	Objects []ObjectChange
	// Old says why the old spec does not compile, so that what runs is an older
	// one still; nil if it does.
	Old error
}

// FieldChange is a field that differs.
type FieldChange struct {
	Path   string
	Effect Effect
}

// ToolsChange are names of tools, each list in the order of the specs.
type ToolsChange struct{ Added, Removed, Changed []string }

// Action is what becomes of an object.
type Action string

const (
	// Created objects were not there before.
	Created Action = "created"
	// Changed objects stay, with other contents.
	Changed Action = "changed"
	// Removed objects are deleted.
	Removed Action = "removed"
)

// ObjectChange is an object that differs.
type ObjectChange struct {
	Kind, Name string
	Action     Action
}

// Compare returns what an edit from the old to the new server would do, under
// one and the same configuration of the operator. Its error is Build's for the
// new one.
func Compare(old, next *fairleadv1alpha1.MCPServer, defaults Defaults) (Change, error) {
	built, err := Build(Input{Server: next, Defaults: defaults})
	if err != nil {
		return Change{}, err
	}
	var out Change
	before, after := surfaceOf(old), surfaceOf(next)
	newSecrets, goneSecrets := difference(after.Secrets, before.Secrets), difference(before.Secrets, after.Secrets)
	moved := slices.Concat(newSecrets, goneSecrets)

	differ := &differ{}
	differ.structs("spec", "spec", reflect.ValueOf(old.Spec), reflect.ValueOf(next.Spec))
	for _, found := range differ.found {
		field := fieldAt(found.schema)
		switch {
		case overlap(found.secrets, moved):
			field.Effect, field.OnlyIf = Rolls, IfSecretsChange
		case field.OnlyIf == IfSecretsChange && len(moved) == 0, field.OnlyIf == IfGraceChanges && before.Grace == after.Grace:
			field.Effect = Live
		}
		if field.Effect == Rolls && field.OnlyIf == "" {
			out.Why = append(out.Why, found.path)
		}
		out.Fields = append(out.Fields, FieldChange{Path: found.path, Effect: field.Effect})
	}
	out.Tools = toolsChange(old, next)
	for _, name := range newSecrets {
		out.Why = append(out.Why, fmt.Sprintf("new Secret %q", name))
	}
	for _, name := range goneSecrets {
		out.Why = append(out.Why, fmt.Sprintf("Secret %q is named no longer", name))
	}
	if before.Grace != after.Grace {
		out.Why = append(out.Why, fmt.Sprintf("leaving takes up to %s instead of %s", after.Grace, before.Grace))
	}
	out.Rolls = len(out.Why) > 0

	var previous *Objects
	if previous, out.Old = Build(Input{Server: old, Defaults: defaults}); out.Old == nil {
		out.Objects = objectsChange(previous, built)
	}
	return out, nil
}

// difference returns what only the first list has.
func difference(of, without []string) []string {
	return slices.DeleteFunc(slices.Clone(of), func(name string) bool { return slices.Contains(without, name) })
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

// secretsOf returns the Secrets that an item of a list names.
func secretsOf(item any) []string {
	switch typed := item.(type) {
	case fairleadv1alpha1.HeaderFromSecret:
		return []string{typed.SecretKeyRef.Name}
	case fairleadv1alpha1.Tool:
		var names []string
		if typed.HTTP != nil {
			for _, header := range typed.HTTP.HeadersFrom {
				names = append(names, header.SecretKeyRef.Name)
			}
		}
		return names
	}
	return nil
}

func toolsChange(old, next *fairleadv1alpha1.MCPServer) ToolsChange {
	var out ToolsChange
	before := map[string]*fairleadv1alpha1.Tool{}
	for i := range old.Spec.Tools {
		before[old.Spec.Tools[i].Name] = &old.Spec.Tools[i]
	}
	for i := range next.Spec.Tools {
		tool := &next.Spec.Tools[i]
		previous, known := before[tool.Name]
		delete(before, tool.Name)
		if !known {
			out.Added = append(out.Added, tool.Name)
			continue
		}
		d := &differ{}
		d.structs("", "", reflect.ValueOf(*previous), reflect.ValueOf(*tool))
		if len(d.found) > 0 {
			out.Changed = append(out.Changed, tool.Name)
		}
	}
	for i := range old.Spec.Tools {
		if before[old.Spec.Tools[i].Name] != nil {
			out.Removed = append(out.Removed, old.Spec.Tools[i].Name)
		}
	}
	return out
}

// objectsChange compares by kind and name.
func objectsChange(old, next *Objects) []ObjectChange {
	var out []ObjectChange
	key := func(object Object) ObjectChange {
		return ObjectChange{Kind: object.GetObjectKind().GroupVersionKind().Kind, Name: object.GetName()}
	}
	before := map[ObjectChange]string{}
	for _, object := range old.List() {
		before[key(object)] = object.GetAnnotations()[AnnotationRenderedHash]
	}
	add := func(change ObjectChange, action Action) {
		change.Action = action
		out = append(out, change)
	}
	for _, object := range next.List() {
		change := key(object)
		switch hash, known := before[change]; {
		case !known:
			add(change, Created)
		case hash != object.GetAnnotations()[AnnotationRenderedHash]:
			add(change, Changed)
		}
		delete(before, change)
	}
	for _, object := range old.List() {
		if _, left := before[key(object)]; left {
			add(key(object), Removed)
		}
	}
	return out
}

// found is a difference at one path; schema is the path without names.
type found struct {
	path, schema string
	// secrets are those of an item that comes or goes.
	secrets []string
}

type differ struct{ found []found }

func (d *differ) structs(path, schema string, a, b reflect.Value) {
	for field := range a.Type().Fields() {
		name := "." + jsonName(field)
		x, y := a.FieldByIndex(field.Index), b.FieldByIndex(field.Index)
		if strings.Contains(field.Tag.Get("json"), "omitzero") && x.IsNil() != y.IsNil() {
			// An empty list says something else than none.
			d.found = append(d.found, found{path: path + name, schema: schema + name})
			continue
		}
		d.values(path+name, schema+name, x, y)
	}
}

func (d *differ) values(path, schema string, a, b reflect.Value) {
	t := a.Type()
	switch {
	case t.Kind() == reflect.Pointer && ownStruct(t.Elem()) && (!a.IsNil() || !b.IsNil()):
		// An absent struct is one without fields; an empty one says no more.
		d.structs(path, schema, orZero(a), orZero(b))
	case ownStruct(t):
		d.structs(path, schema, a, b)
	case t.Kind() == reflect.Slice && ownStruct(t.Elem()) && named(t.Elem()):
		d.items(path, schema+"[]", a, b)
	case !same(a.Interface(), b.Interface()):
		d.found = append(d.found, found{path: path, schema: schema})
	}
}

// items compares lists whose items are told apart by their names.
func (d *differ) items(path, schema string, a, b reflect.Value) {
	before, after := itemNames(a), itemNames(b)
	for i, name := range after {
		at := path + "[" + name + "]"
		if j := slices.Index(before, name); j >= 0 {
			d.structs(at, schema, a.Index(j), b.Index(i))
		} else {
			d.found = append(d.found, found{path: at, schema: schema, secrets: secretsOf(b.Index(i).Interface())})
		}
	}
	for i, name := range before {
		if !slices.Contains(after, name) {
			d.found = append(d.found, found{path: path + "[" + name + "]", schema: schema, secrets: secretsOf(a.Index(i).Interface())})
		}
	}
	stay := slices.DeleteFunc(slices.Clone(before), func(name string) bool { return !slices.Contains(after, name) })
	if !slices.Equal(stay, slices.DeleteFunc(after, func(name string) bool { return !slices.Contains(before, name) })) {
		d.found = append(d.found, found{path: path, schema: schema}) // In another order.
	}
}

func itemNames(items reflect.Value) []string {
	names := make([]string, items.Len())
	for i := range names {
		names[i] = items.Index(i).FieldByName("Name").String()
	}
	return names
}

func orZero(pointer reflect.Value) reflect.Value {
	if pointer.IsNil() {
		return reflect.Zero(pointer.Type().Elem())
	}
	return pointer.Elem()
}

func named(t reflect.Type) bool {
	field, ok := t.FieldByName("Name")
	return ok && field.Type.Kind() == reflect.String
}

// same compares as the API server does: quantities by value, schemas without
// regard to the order of their keys.
func same(a, b any) bool {
	first, ok := a.(*runtime.RawExtension)
	second, _ := b.(*runtime.RawExtension)
	if !ok || first == nil || second == nil {
		return equality.Semantic.DeepEqual(a, b)
	}
	var x, y any
	if json.Unmarshal(first.Raw, &x) != nil || json.Unmarshal(second.Raw, &y) != nil {
		return strings.TrimSpace(string(first.Raw)) == strings.TrimSpace(string(second.Raw))
	}
	return reflect.DeepEqual(x, y)
}
