// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package docs keeps the documents true: what is generated is current, and what
// is named exists.
package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/controllers/resources"
)

var update = flag.Bool("update", false, "write the generated documents")

// schema is the part of an OpenAPI schema that the reference shows.
type schema struct {
	Type                 string             `json:"type"`
	Description          string             `json:"description"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"additionalProperties"`
	Required             []string           `json:"required"`
	Enum                 []string           `json:"enum"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	MinLength            *int64             `json:"minLength"`
	MaxLength            *int64             `json:"maxLength"`
	MinItems             *int64             `json:"minItems"`
	MaxItems             *int64             `json:"maxItems"`
	MaxProperties        *int64             `json:"maxProperties"`
	IntOrString          bool               `json:"x-kubernetes-int-or-string"`
	PreserveUnknown      bool               `json:"x-kubernetes-preserve-unknown-fields"`
	Rules                []struct {
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
}

// foreign are fields whose types are Kubernetes' own: their reference is Kubernetes'.
var foreign = map[string]string{
	"spec.pod.affinity":                  "core/v1 Affinity",
	"spec.pod.resources":                 "core/v1 ResourceRequirements",
	"spec.pod.tolerations":               "core/v1 Toleration",
	"spec.pod.topologySpreadConstraints": "core/v1 TopologySpreadConstraint",
	"spec.networkPolicy.egressTo":        "list of networking/v1 NetworkPolicyEgressRule",
	"spec.networkPolicy.ingressFrom":     "list of networking/v1 NetworkPolicyPeer",
	"status.conditions":                  "meta/v1 Condition",
}

// TestAPIReference: docs/reference/mcpserver.md is what the CRD says.
func TestAPIReference(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../config/crd/fairlead.dev_mcpservers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("<!-- Generated from the CRD by `go test ./test/docs -update`; do not edit. -->\n\n# MCPServer\n\n")
	for _, version := range crd.Spec.Versions {
		root := version.Schema.OpenAPIV3Schema
		fmt.Fprintf(&out, "`fairlead.dev/%s`, kind `MCPServer`, short name `flmcp`.\n\n%s\n\n", version.Name, line(root.Description))
		rules(&out, &root)
		for _, part := range []string{"spec", "status"} {
			fmt.Fprintf(&out, "## %s\n\n%s\n\n", part, line(root.Properties[part].Description))
			rules(&out, root.Properties[part])
			if part == "spec" {
				out.WriteString(effects)
				out.WriteString("| field | type | bounds | a change | what it is |\n| --- | --- | --- | --- | --- |\n")
			} else {
				out.WriteString("| field | type | bounds | what it is |\n| --- | --- | --- | --- |\n")
			}
			rows(&out, part, root.Properties[part])
			out.WriteString("\n")
		}
	}
	path := filepath.Join("..", "..", "docs", "reference", "mcpserver.md")
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(current) != out.String() {
		t.Errorf("%s is not what the CRD says: run go test ./test/docs -update", path)
	}
}

// effects explains the column of the same name.
const effects = `What a change does: **live** is taken on by the pods that run, and no stream is cut; **rolls** replaces the pods,
each stream is cut once and comes back; **objects only** concerns objects beside the pods. Adding or removing a tool
is live, unless that changes the set of Secrets that are mounted. ` + "`kubectl fairlead diff -f FILE`" + ` says it of an edit.

`

// effect is what a change of a field does; empty where its fields differ in it.
func effect(path string) string {
	var all []string
	for _, field := range resources.Fields() {
		if rest, ok := strings.CutPrefix(field.Path, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			text := string(field.Effect)
			if field.OnlyIf != "" {
				text = string(resources.Live) + "; " + text + " " + string(field.OnlyIf)
			}
			all = append(all, text)
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) != 1 {
		return ""
	}
	return all[0]
}

// rows writes a line for each field below a schema, depth first.
func rows(out *strings.Builder, path string, s *schema) {
	for _, name := range slices.Sorted(mapsKeys(s.Properties)) {
		field, full := s.Properties[name], path+"."+name
		kind, element := typeOf(field)
		if other, ok := foreign[full]; ok {
			kind, element = other, nil
		}
		required := ""
		if slices.Contains(s.Required, name) {
			required = ", required"
		}
		column := ""
		if strings.HasPrefix(full, "spec.") {
			column = " " + effect(full) + " |"
		}
		fmt.Fprintf(out, "| `%s` | %s%s | %s |%s %s |\n", full, kind, required, bounds(field), column, cell(field))
		if element != nil && element.Properties != nil {
			rows(out, full+suffix(field), element)
		}
	}
}

func mapsKeys(m map[string]*schema) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// typeOf names a field's type, and the schema whose fields follow below it.
func typeOf(s *schema) (string, *schema) {
	switch {
	case s.IntOrString && s.MaxLength != nil:
		return "number or percentage", nil
	case s.IntOrString:
		return "quantity", nil
	case s.Type == "array":
		kind, element := typeOf(s.Items)
		return "list of " + kind, element
	case s.AdditionalProperties != nil:
		kind, _ := typeOf(s.AdditionalProperties)
		return "map of " + kind, nil
	case s.PreserveUnknown:
		return "any object", nil
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`", nil
	default:
		return s.Type, s
	}
}

func suffix(s *schema) string {
	if s.Type == "array" {
		return "[]"
	}
	return ""
}

// bounds says what the schema itself bounds.
func bounds(s *schema) string {
	var all []string
	span := func(unit string, low, high *int64) {
		switch {
		case low != nil && high != nil:
			all = append(all, fmt.Sprintf("%d–%d %s", *low, *high, unit))
		case high != nil:
			all = append(all, fmt.Sprintf("≤ %d %s", *high, unit))
		}
	}
	span("characters", s.MinLength, s.MaxLength)
	span("items", s.MinItems, s.MaxItems)
	span("entries", nil, s.MaxProperties)
	if s.Minimum != nil && s.Maximum != nil {
		all = append(all, fmt.Sprintf("%.0f–%.0f", *s.Minimum, *s.Maximum))
	}
	return strings.Join(all, ", ")
}

func rules(out *strings.Builder, s *schema) {
	for _, rule := range s.Rules {
		fmt.Fprintf(out, "- %s\n", line(rule.Message))
	}
	if len(s.Rules) > 0 {
		out.WriteString("\n")
	}
}

// cell is a field's description, and its rules, on one line.
func cell(s *schema) string {
	text := line(s.Description)
	for _, rule := range s.Rules {
		text += " Rule: " + line(rule.Message) + "."
	}
	return strings.ReplaceAll(text, "|", "\\|")
}

func line(text string) string { return strings.Join(strings.Fields(text), " ") }
