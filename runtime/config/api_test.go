// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// apiNode is a schema of the CustomResourceDefinition.
type apiNode struct {
	Type                 string             `json:"type"`
	Properties           map[string]apiNode `json:"properties"`
	AdditionalProperties *apiNode           `json:"additionalProperties"`
	Items                *apiNode           `json:"items"`
	MinLength            int                `json:"minLength"`
	MaxLength            int                `json:"maxLength"`
	Pattern              string             `json:"pattern"`
	Enum                 []string           `json:"enum"`
	Minimum              *int64             `json:"minimum"`
	Maximum              *int64             `json:"maximum"`
	MinItems             int64              `json:"minItems"`
	MaxItems             int64              `json:"maxItems"`
	MaxProperties        int64              `json:"maxProperties"`
	AnyOf                []any              `json:"anyOf"`
	Validations          []struct {
		Rule string `json:"rule"`
	} `json:"x-kubernetes-validations"`
}

// onlyHere are fields of the contract that the object has elsewhere or not at
// all.
var onlyHere = []string{"name", "namespace", "uid", "exposure.hosts", "exposure.hosts[]", "exposure.path", "drain.settle"}

// onlyThere are fields of the object that no file for the runtime holds.
var onlyThere = []string{
	"exposure", "networkPolicy", "service", "replicas", "autoscaling", "rollout", "pod", "managementState",
}

func apiSpec(t *testing.T) apiNode {
	t.Helper()
	data, err := os.ReadFile("../../config/crd/fairlead.dev_mcpservers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema apiNode `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// flatten notes every node by its schematic path.
func (n apiNode) flatten(path string, out map[string]apiNode) {
	if path != "" {
		out[path] = n
	}
	if n.Items != nil {
		n.Items.flatten(path+"[]", out)
	}
	if n.AdditionalProperties != nil {
		n.AdditionalProperties.flatten(path+".*", out)
	}
	for name, child := range n.Properties {
		if path == "" && slices.Contains(onlyThere, name) {
			continue
		}
		child.flatten(strings.TrimPrefix(path+"."+name, "."), out)
	}
}

// TestBoundsAreThoseOfTheAPI compares every bound with the generated
// CustomResourceDefinition, in both directions.
func TestBoundsAreThoseOfTheAPI(t *testing.T) {
	t.Parallel()
	api := map[string]apiNode{}
	apiSpec(t).flatten("", api)
	for path := range api {
		if !bounded(path, api[path]) {
			t.Errorf("the API bounds %s, and nothing does here", path)
		}
	}
	for path, b := range texts {
		if slices.Contains(onlyHere, path) {
			continue
		}
		want := api[path]
		if diff := cmp.Diff(sorted(want.Enum), sorted(b.enum)); diff != "" {
			t.Errorf("enum of %s (-API +here):\n%s", path, diff)
		}
		if b.enum != nil {
			continue
		}
		if b.max != want.MaxLength || b.min != want.MinLength && (b.min != 0 || want.MinLength > 3) {
			t.Errorf("%s has %d to %d characters here, %d to %d in the API", path, b.min, b.max, want.MinLength, want.MaxLength)
		}
		pattern := ""
		if b.form != nil {
			pattern = b.form.pattern.String()
		}
		if pattern != want.Pattern {
			t.Errorf("%s matches %q here, %q in the API", path, pattern, want.Pattern)
		}
	}
	for path, b := range numbers {
		if want, got := api[path].span(), b.text(path); !slices.Contains(onlyHere, path) && want != got {
			t.Errorf("%s: %s here, %s in the API", path, got, want)
		}
	}
	for path, b := range lengths {
		want := api[path]
		if slices.Contains(onlyHere, path) {
			continue
		}
		if b.min != want.MinItems || b.max != max(want.MaxItems, want.MaxProperties) {
			t.Errorf("%s has %d to %d entries here, %d to %d in the API", path, b.min, b.max, want.MinItems, want.MaxItems)
		}
	}
}

// bounded reports whether a bound of the API has one here.
func bounded(path string, n apiNode) bool {
	_, text := texts[path]
	_, number := numbers[path]
	_, length := lengths[path]
	switch {
	case n.Type == "string" || n.Type == "integer" || len(n.AnyOf) > 0:
		return text || number
	case n.MaxItems > 0 || n.MaxProperties > 0:
		return length
	default:
		return true
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// span writes the API's bounds of a number as b.text does.
func (n apiNode) span() string {
	if n.Minimum != nil && n.Maximum != nil {
		return fmt.Sprintf("%d to %d", *n.Minimum, *n.Maximum)
	}
	if len(n.Validations) == 0 {
		return "nothing"
	}
	return n.Validations[0].Rule
}

func (b span) text(path string) string {
	size := func(n int64) string {
		switch {
		case n%(1<<20) == 0:
			return fmt.Sprintf("%dMi", n>>20)
		case n%(1<<10) == 0:
			return fmt.Sprintf("%dKi", n>>10)
		default:
			return fmt.Sprint(n)
		}
	}
	switch {
	case strings.HasSuffix(path, "Size"):
		return fmt.Sprintf("quantity(string(self)).compareTo(quantity('%s')) >= 0 && quantity(string(self)).compareTo(quantity('%s')) <= 0", size(b.min), size(b.max))
	case b.max >= int64(1e10):
		return fmt.Sprintf("duration(self) >= duration('%s') && duration(self) <= duration('%s')", Duration(b.min), Duration(b.max))
	default:
		return fmt.Sprintf("%d to %d", b.min, b.max)
	}
}
