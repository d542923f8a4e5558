// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// coreTypes are fields whose schema is Kubernetes' own.
var coreTypes = []string{
	"spec.networkPolicy.egressTo[]", "spec.networkPolicy.ingressFrom[]",
	"spec.pod.resources", "spec.pod.tolerations[]", "spec.pod.affinity", "spec.pod.topologySpreadConstraints[]",
}

// walk calls visit for every node of a schema below path, but not into
// Kubernetes' own types.
func walk(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(path string, schema *apiextensionsv1.JSONSchemaProps)) {
	if slices.Contains(coreTypes, path) {
		return
	}
	visit(path, schema)
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		child := schema.Properties[name]
		walk(strings.TrimPrefix(path+"."+name, "."), &child, visit)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		walk(path+"[]", schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		walk(path+"{}", schema.AdditionalProperties.Schema, visit)
	}
}

// bound is one bound of one field, and a value that breaks it.
type bound struct {
	path, keyword string
	// wrong is the value to set; nil means to remove the field.
	wrong any
	// says is how the API server speaks of this bound.
	says string
}

// boundsOf returns the bounds of one node.
func boundsOf(path string, s *apiextensionsv1.JSONSchemaProps) []bound {
	var all []bound
	add := func(keyword string, value, wrong any, says string) {
		all = append(all, bound{path, fmt.Sprintf("%s=%v", keyword, value), wrong, says})
	}
	if s.MaxLength != nil {
		add("maxLength", *s.MaxLength, strings.Repeat("a", int(*s.MaxLength)+1), "Too long")
	}
	if s.MinLength != nil {
		add("minLength", *s.MinLength, strings.Repeat("a", int(*s.MinLength)-1), "at least")
	}
	if s.Pattern != "" {
		length := int64(1)
		if s.MinLength != nil {
			length = *s.MinLength
		}
		add("pattern", s.Pattern, strings.Repeat("§", int(length)), "should match '")
	}
	if s.Maximum != nil {
		add("maximum", *s.Maximum, int64(*s.Maximum)+1, "less than or equal")
	}
	if s.Minimum != nil {
		add("minimum", *s.Minimum, int64(*s.Minimum)-1, "greater than or equal")
	}
	if s.MinItems != nil {
		add("minItems", *s.MinItems, []any{}, "at least")
	}
	if s.MaxItems != nil {
		add("maxItems", *s.MaxItems, *s.MaxItems+1, "Too many")
	}
	if s.MaxProperties != nil {
		add("maxProperties", *s.MaxProperties, *s.MaxProperties+1, "Too many")
	}
	if len(s.Enum) > 0 {
		add("enum", enumText(s.Enum), "§", "Unsupported value")
	}
	for _, name := range s.Required {
		all = append(all, bound{path + "." + name, "required", nil, "Required value"})
	}
	return all
}

func enumText(values []apiextensionsv1.JSON) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = strings.Trim(string(value.Raw), `"`)
	}
	return strings.Join(texts, "|")
}

// find returns the concrete path of the first instance of a schema's path in an
// object: a list of names and indexes.
func find(value any, steps []string) ([]any, bool) {
	if len(steps) == 0 {
		return nil, true
	}
	switch step := steps[0]; step {
	case "[]":
		items, _ := value.([]any)
		for i, item := range items {
			if rest, ok := find(item, steps[1:]); ok {
				return append([]any{i}, rest...), true
			}
		}
	case "{}":
		fields, _ := value.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			if rest, ok := find(fields[key], steps[1:]); ok {
				return append([]any{key}, rest...), true
			}
		}
	default:
		fields, _ := value.(map[string]any)
		if child, ok := fields[step]; ok {
			if rest, ok := find(child, steps[1:]); ok {
				return append([]any{step}, rest...), true
			}
		}
	}
	return nil, false
}

var stepPattern = regexp.MustCompile(`\[\]|\{\}|[^.\[\]{}]+`)

// replace sets or, for nil, removes the value at a concrete path.
func replace(value any, path []any, wrong any) any {
	if len(path) == 0 {
		count, many := wrong.(int64)
		if items, ok := value.([]any); ok && many {
			return multiply(items, count)
		}
		if fields, ok := value.(map[string]any); ok && many {
			return multiplyFields(fields, count)
		}
		return wrong
	}
	switch step := path[0].(type) {
	case int:
		items := value.([]any)
		items[step] = replace(items[step], path[1:], wrong)
	case string:
		fields := value.(map[string]any)
		if len(path) == 1 && wrong == nil {
			delete(fields, step)
		} else {
			fields[step] = replace(fields[step], path[1:], wrong)
		}
	}
	return value
}

// multiply returns count items that differ as far as their key does.
func multiply(items []any, count int64) []any {
	out := make([]any, count)
	for i := range out {
		item := runtime.DeepCopyJSONValue(items[0])
		if fields, ok := item.(map[string]any); ok && fields["name"] != nil {
			fields["name"] = fmt.Sprintf("name-%d", i)
		} else if text, ok := item.(string); ok {
			item = fmt.Sprintf("%s%d", text, i)
		}
		out[i] = item
	}
	return out
}

func multiplyFields(fields map[string]any, count int64) map[string]any {
	out := map[string]any{}
	for i := range count {
		for _, value := range fields {
			out[fmt.Sprintf("name-%d", i)] = value
		}
	}
	return out
}

// whichSets returns the first of the servers that sets a schema's path, and the
// concrete path in it.
func whichSets(servers []*unstructured.Unstructured, path string) (*unstructured.Unstructured, []any) {
	for _, server := range servers {
		if found, ok := find(server.Object, stepPattern.FindAllString(path, -1)); ok {
			return server, found
		}
	}
	return nil, nil
}

// TestBounds breaks every bound of the CRD, one at a time, in a server that is
// otherwise right; testdata/bounds.txt has the exact error of each. The list is
// made from the CRD, so that no bound can be forgotten.
func TestBounds(t *testing.T) {
	t.Parallel()
	bases := everything(t)
	var all []bound
	spec := crdSchema(t).Properties["spec"]
	walk("spec", &spec, func(path string, s *apiextensionsv1.JSONSchemaProps) { all = append(all, boundsOf(path, s)...) })
	if len(all) < 150 {
		t.Fatalf("only %d bounds were found", len(all))
	}
	var lines []string
	for _, b := range all {
		base, path := whichSets(bases, b.path)
		if base == nil {
			t.Errorf("neither everything nor autoscaling of controllers/resources/testdata sets %s", b.path)
			continue
		}
		object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(base.Object)}
		replace(object.Object, path, b.wrong)
		err := verdict(t, object)
		if err == nil {
			t.Errorf("%s %s: admitted %v", b.path, b.keyword, short(b.wrong))
			continue
		}
		found := slices.DeleteFunc(causes(t, err), func(cause string) bool {
			return !strings.HasPrefix(cause, concrete(path)) || !strings.Contains(cause, b.says)
		})
		if len(found) == 0 {
			t.Errorf("%s %s: refused for other reasons only: %v", b.path, b.keyword, err)
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s\n  %s\n", b.path, b.keyword, abridge(found[0])))
	}
	golden(t, "bounds.txt", strings.Join(lines, ""))
}

// concrete renders a path as the API server does.
func concrete(path []any) string {
	text := ""
	for _, step := range path {
		switch step := step.(type) {
		case int:
			text += fmt.Sprintf("[%d]", step)
		case string:
			if text != "" {
				text += "."
			}
			text += step
		}
	}
	// The key of a map is written in brackets, and values of maps are the last
	// step of the paths that end in one.
	return strings.TrimSuffix(text, ".")
}

var longValue = regexp.MustCompile(`"a{40,}"`)

// abridge shortens values that are long on purpose.
func abridge(text string) string {
	return longValue.ReplaceAllStringFunc(text, func(value string) string { return fmt.Sprintf(`"a… (%d)"`, len(value)-2) })
}

func short(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(data[:min(len(data), 60)])
}
