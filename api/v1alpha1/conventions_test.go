// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// maxCRD bounds the CRD's YAML: plain kubectl apply keeps a copy of it in an
// annotation, which holds 256 KiB.
const maxCRD = 240 << 10

// conditionFields are those of metav1.Condition, whose schema is Kubernetes' own.
const conditionFields = "status.conditions[]"

// TestConventions holds the API conventions over the generated CRD.
func TestConventions(t *testing.T) {
	t.Parallel()
	root := crdSchema(t)
	for _, part := range []string{"spec", "status"} {
		schema := root.Properties[part]
		walk(part, &schema, func(path string, s *apiextensionsv1.JSONSchemaProps) {
			if path == conditionFields || strings.HasPrefix(path, conditionFields+".") {
				return
			}
			for _, problem := range problems(path, s) {
				t.Errorf("%s %s", path, problem)
			}
		})
	}
}

// hints are MCP's own booleans, under MCP's own names.
var hints = []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}

func problems(path string, s *apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	add := func(wrong bool, problem string) {
		if wrong {
			found = append(found, problem)
		}
	}
	name := lastName(path)
	free := s.XPreserveUnknownFields != nil
	// A quantity is bounded by its rule: the schema's pattern alone is not.
	quantity := s.XIntOrString
	add(s.Type == "string" && s.MaxLength == nil && len(s.Enum) == 0, "is a string without maxLength")
	add(quantity && len(s.XValidations) == 0, "is a quantity without a rule that bounds it")
	add(s.Type == "integer" && (s.Minimum == nil) && path != "status.observedGeneration", "is a number without a minimum")
	add(s.Type == "array" && s.MaxItems == nil, "is a list without maxItems")
	add(s.Type == "array" && s.XListType == nil, "is a list without a list type")
	add(s.Type == "object" && s.AdditionalProperties != nil && s.MaxProperties == nil, "is a map without maxProperties")
	add(s.Type == "boolean" && !slices.Contains(hints, name), "is a bool: use an enumeration, which can grow")
	add(s.Type == "number", "is a float: use a quantity or an integer")
	add(s.Default != nil && path != "status", "has a default in the schema: it would hide what the user left open")
	// Items of lists and maps are described by their field.
	if !strings.HasSuffix(path, "[]") && !strings.HasSuffix(path, "{}") {
		add(s.Description == "", "has no description")
		add(!strings.HasPrefix(s.Description, name), "has a description that does not begin with its name: "+s.Description)
		add(!strings.HasSuffix(strings.TrimSpace(s.Description), "."), "has a description that does not end with a period")
	}
	add(free && s.Type != "object", "keeps unknown fields, but is not an object")
	return found
}

func TestCRDIsSmall(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(crdFile())
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxCRD {
		t.Errorf("the CRD has %d bytes, more than %d", info.Size(), maxCRD)
	}
}

// TestRulesAreCheap estimates the CEL rules as the API server does when it
// admits the CRD: half of the budget is for what is still to come.
func TestRulesAreCheap(t *testing.T) {
	t.Parallel()
	schema := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crdSchema(t), schema, nil); err != nil {
		t.Fatal(err)
	}
	budget := &costs{t: t, environment: environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())}
	budget.add("", schema, validation.RootCELContext(schema))
	if budget.total == 0 {
		t.Fatal("no rule was found")
	}
	const whole = validation.StaticEstimatedCRDCostLimit
	t.Logf("all rules: %.1f %% of the budget", 100*float64(budget.total)/whole)
	if budget.total > whole/2 {
		t.Errorf("all rules together cost %d, more than half of %d", budget.total, uint64(whole))
	}
}

type costs struct {
	t           *testing.T
	environment *environment.EnvSet
	total       uint64
}

func (c *costs) add(path string, schema *apiextensions.JSONSchemaProps, context *validation.CELSchemaContext) {
	c.t.Helper()
	if len(schema.XValidations) > 0 {
		c.rules(path, context)
	}
	for name := range schema.Properties {
		child := schema.Properties[name]
		c.add(path+"."+name, &child, context.ChildPropertyContext(&child, name))
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		c.add(path+"[]", schema.Items.Schema, context.ChildItemsContext(schema.Items.Schema))
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		c.add(path+"{}", schema.AdditionalProperties.Schema, context.ChildAdditionalPropertiesContext(schema.AdditionalProperties.Schema))
	}
}

func (c *costs) rules(path string, context *validation.CELSchemaContext) {
	c.t.Helper()
	info, err := context.TypeInfo()
	if err != nil {
		c.t.Fatal(err)
	}
	results, err := cel.Compile(info.Schema, info.DeclType, celconfig.PerCallLimit, c.environment, cel.StoredExpressionsEnvLoader())
	if err != nil {
		c.t.Fatal(err)
	}
	for i, result := range results {
		if result.Error != nil {
			c.t.Fatalf("%s: rule %d: %v", path, i, result.Error)
		}
		times := result.MaxCardinality
		if context.MaxCardinality != nil {
			times = *context.MaxCardinality
		}
		cost := result.MaxCost * times
		if cost > validation.StaticEstimatedCostLimit/2 {
			c.t.Errorf("%s: rule %d costs %d, more than half of %d", path, i, cost, validation.StaticEstimatedCostLimit)
		}
		c.total += cost
	}
}
