// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"reflect"
	"strings"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// Effect says what a change of a field does to a server that runs.
type Effect string

const (
	// Live changes are taken on by the pods that run: no stream is cut.
	Live Effect = "live"
	// Rolls changes replace the pods: each stream is cut once and comes back.
	Rolls Effect = "rolls"
	// ObjectsOnly changes reach objects beside the pods: pods and their
	// configuration stay as they are.
	ObjectsOnly Effect = "objects only"
)

// Field is a field of an MCPServer's spec and what its change does.
type Field struct {
	// Path is the field's, such as spec.tools[].http.url.
	Path string
	// Effect is what a change does; with OnlyIf, what it does at most.
	Effect Effect
	// OnlyIf is empty, or the condition under which the field Rolls; otherwise
	// it is Live.
	OnlyIf Condition
}

// Condition is a condition under which a field rolls.
type Condition string

const (
	// IfSecretsChange is that the spec names another set of Secrets than before.
	// <server>-mcp-credentials does not count, since it is always mounted.
	IfSecretsChange Condition = "if the set of Secrets that are mounted changes" //nolint:gosec // G101: a sentence.
	// IfGraceChanges is that leaving takes longer, or less long, than before.
	IfGraceChanges Condition = "if the longer of window and callTimeout changes"
)

// fieldRules say what fields do, by their paths: the longest that the path
// begins with decides.
var fieldRules = []Field{
	{Path: "spec.auth", Effect: Live},
	{Path: "spec.auth.apiKeys.secretRef.name", Effect: Rolls, OnlyIf: IfSecretsChange},
	{Path: "spec.autoscaling", Effect: ObjectsOnly},
	{Path: "spec.browser", Effect: Live},
	{Path: "spec.drain", Effect: Rolls, OnlyIf: IfGraceChanges},
	{Path: "spec.exposure", Effect: ObjectsOnly},
	{Path: "spec.exposure.ingress.hosts", Effect: Live},
	{Path: "spec.exposure.ingress.path", Effect: Live},
	{Path: "spec.instructions", Effect: Live},
	{Path: "spec.limits", Effect: Live},
	{Path: "spec.logging", Effect: Live},
	{Path: "spec.managementState", Effect: ObjectsOnly},
	{Path: "spec.networkPolicy", Effect: ObjectsOnly},
	{Path: "spec.pod", Effect: Rolls},
	{Path: "spec.replicas", Effect: ObjectsOnly},
	{Path: "spec.rollout", Effect: ObjectsOnly},
	{Path: "spec.service", Effect: ObjectsOnly},
	{Path: "spec.title", Effect: Live},
	{Path: "spec.tools", Effect: Live},
	{Path: "spec.tools[].http.headersFrom[].secretKeyRef.name", Effect: Rolls, OnlyIf: IfSecretsChange},
	{Path: "spec.transports", Effect: Live},
}

// Fields returns every field of a spec that has no fields of this API below it,
// in the order of the types.
func Fields() []Field {
	var out []Field
	walkFields("spec", reflect.TypeFor[fairleadv1alpha1.MCPServerSpec](), func(path string) {
		out = append(out, fieldAt(path))
	})
	return out
}

// fieldAt returns what a change at a path does; a new field without a rule has
// no effect, which a test refuses.
func fieldAt(path string) Field {
	out := Field{Path: path}
	longest := -1
	for _, rule := range fieldRules {
		rest, ok := strings.CutPrefix(path, rule.Path)
		if ok && (rest == "" || rest[0] == '.' || rest[0] == '[') && len(rule.Path) > longest {
			out.Effect, out.OnlyIf, longest = rule.Effect, rule.OnlyIf, len(rule.Path)
		}
	}
	return out
}

func walkFields(path string, t reflect.Type, visit func(path string)) {
	for field := range t.Fields() {
		child, inner := path+"."+jsonName(field), field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case inner.Kind() == reflect.Slice && ownStruct(inner.Elem()):
			walkFields(child+"[]", inner.Elem(), visit)
		case ownStruct(inner):
			walkFields(child, inner, visit)
		default:
			visit(child)
		}
	}
}

// ownStruct reports whether a type's fields are this API's, not of another.
func ownStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[fairleadv1alpha1.MCPServer]().PkgPath()
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}
