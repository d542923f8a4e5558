// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// mustSchema compiles a schema whose root may be of any type.
func mustSchema(tb testing.TB, text string) *Schema {
	tb.Helper()
	c := &checker{}
	s := c.compileSchema("inputSchema", "arguments", []byte(`{"type":"object","properties":{"v":`+text+`}}`), false)
	if err := c.err(); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return s
}

func value(tb testing.TB, text string) any {
	tb.Helper()
	v, err := DecodeValue([]byte(text))
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return v
}

// TestSchema judges the argument v; want is the whole error, empty if it fits.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, schema, value, want string }{
		{"type", `{"type":"string"}`, `5`, "arguments.v: must be a string, not a number"},
		{"types", `{"type":["integer","null"]}`, `"5"`, "arguments.v: must be an integer or null, not a string"},
		{"integer", `{"type":"integer"}`, `1.5`, "arguments.v: must be an integer, not a number"},
		{"integral double is an integer", `{"type":"integer"}`, `1.0`, ""},
		{"integer is a number", `{"type":"number"}`, `1`, ""},
		{"enum", `{"enum":["a",1,null]}`, `"b"`, `arguments.v: must be one of "a", 1, null`},
		{"enum fits by value", `{"enum":[1]}`, `1.0`, ""},
		{"empty enum", `{"enum":[]}`, `1`, "arguments.v: must be one of "},
		{"const null", `{"const":null}`, `1`, "arguments.v: must be null"},
		{"const object", `{"const":{"a":[1]}}`, `{"a":[1.0]}`, ""},
		{"minimum", `{"minimum":5}`, `4.9`, "arguments.v: must be at least 5"},
		{"maximum", `{"maximum":5}`, `6`, "arguments.v: must be at most 5"},
		{"exclusiveMinimum", `{"exclusiveMinimum":5}`, `5`, "arguments.v: must be greater than 5"},
		{"exclusiveMaximum", `{"exclusiveMaximum":5}`, `5.0`, "arguments.v: must be less than 5"},
		{"multipleOf", `{"multipleOf":3}`, `7`, "arguments.v: must be a multiple of 3"},
		{"multipleOf decimal", `{"multipleOf":0.1}`, `0.3`, ""},
		{"multipleOf above 2^53", `{"multipleOf":2}`, `9007199254740993`, "arguments.v: must be a multiple of 2"},
		{"maximum above 2^53", `{"maximum":9007199254740992}`, `9007199254740993`, "arguments.v: must be at most 9007199254740992"},
		{"enum above 2^53", `{"enum":[9007199254740993]}`, `9007199254740992`, "arguments.v: must be one of 9007199254740993"},
		{"enum above 2^53 fits", `{"enum":[9007199254740993]}`, `9007199254740993`, ""},
		{"integer beside a double", `{"maximum":9007199254740992.0}`, `9007199254740993`, "arguments.v: must be at most 9007199254740992"},
		{"number keywords leave strings alone", `{"minimum":5}`, `"a"`, ""},
		{"minLength counts characters", `{"minLength":2}`, `"é"`, "arguments.v: must have at least 2 characters"},
		{"maxLength", `{"maxLength":1}`, `"ab"`, "arguments.v: must have at most 1 character"},
		{"maxLength 0", `{"maxLength":0}`, `"a"`, "arguments.v: must have at most 0 characters"},
		{"pattern", `{"pattern":"^[0-9]+$"}`, `"secret"`, `arguments.v: does not match pattern "^[0-9]+$"`},
		{"items", `{"items":{"type":"string"}}`, `["a",5]`, "arguments.v[1]: must be a string, not a number"},
		{"prefixItems", `{"prefixItems":[{"type":"string"}],"items":false}`, `["a",5]`, "arguments.v[1]: is not allowed"},
		{"minItems", `{"minItems":1}`, `[]`, "arguments.v: must have at least 1 item"},
		{"maxItems", `{"maxItems":1}`, `[1,2]`, "arguments.v: must have at most 1 item"},
		{"uniqueItems", `{"uniqueItems":true}`, `[{"a":1,"b":2},{"b":2,"a":1.0}]`, "arguments.v: must not hold an item twice"},
		{"contains", `{"contains":{"type":"string"}}`, `[1]`, "arguments.v: must hold at least 1 item of the kind that it must contain"},
		{"minContains 0", `{"contains":{"type":"string"},"minContains":0}`, `[1]`, ""},
		{"maxContains", `{"contains":{"type":"string"},"maxContains":1}`, `["a","b"]`, "arguments.v: must hold at most 1 item of the kind that it must contain"},
		{"required", `{"required":["id"]}`, `{}`, `arguments.v: missing required property "id"`},
		{"properties", `{"properties":{"id":{"type":"string"}}}`, `{"id":1}`, "arguments.v.id: must be a string, not a number"},
		{"name that needs quotes", `{"properties":{"a.b":{"type":"string"}}}`, `{"a.b":1}`, `arguments.v["a.b"]: must be a string, not a number`},
		{"additionalProperties false", `{"properties":{"a":true},"additionalProperties":false}`, `{"c":1,"b":1}`, `arguments.v: unknown property "b"; known are "a"`},
		{"none allowed", `{"additionalProperties":false}`, `{"b":1}`, `arguments.v: unknown property "b": there are none`},
		{"additionalProperties schema", `{"additionalProperties":{"type":"string"}}`, `{"b":1}`, "arguments.v.b: must be a string, not a number"},
		{"patternProperties", `{"patternProperties":{"^x-":{"type":"string"}},"additionalProperties":false}`, `{"x-a":1}`, "arguments.v.x-a: must be a string, not a number"},
		{"patternProperties are known", `{"patternProperties":{"^x-":true},"additionalProperties":false}`, `{"x-a":1,"y":2}`, `arguments.v: unknown property "y": there are none`},
		{"propertyNames", `{"propertyNames":{"pattern":"^[a-z]+$"}}`, `{"A":1}`, `arguments.v: property name "A" is not allowed`},
		{"minProperties", `{"minProperties":1}`, `{}`, "arguments.v: must have at least 1 property"},
		{"maxProperties", `{"maxProperties":1}`, `{"a":1,"b":2}`, "arguments.v: must have at most 1 property"},
		{"dependentRequired", `{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, `arguments.v: missing property "b", which "a" needs`},
		{"dependentSchemas", `{"dependentSchemas":{"a":{"required":["b"]}}}`, `{"a":1}`, `arguments.v: missing required property "b"`},
		{"allOf", `{"allOf":[true,{"type":"string"}]}`, `1`, "arguments.v: must be a string, not a number"},
		{"anyOf", `{"anyOf":[{"type":"string"},{"minimum":5}]}`, `1`, "arguments.v: fits none of the alternatives: must be a string, not a number; or must be at least 5"},
		{"anyOf deeper", `{"anyOf":[{"properties":{"a":{"type":"string"}}},{"type":"null"}]}`, `{"a":1}`, "arguments.v: fits none of the alternatives: arguments.v.a: must be a string, not a number; or must be null, not an object"},
		{"oneOf", `{"oneOf":[{"type":"integer"},{"minimum":5}]}`, `6`, "arguments.v: fits 2 alternatives, but must fit exactly one"},
		{"not", `{"not":{"type":"string"}}`, `"a"`, "arguments.v: is excluded by the schema under not"},
		{"if then", `{"if":{"required":["a"]},"then":{"required":["b"]}}`, `{"a":1}`, `arguments.v: missing required property "b"`},
		{"if else", `{"if":{"required":["a"]},"else":{"required":["b"]}}`, `{}`, `arguments.v: missing required property "b"`},
		{"false", `false`, `1`, "arguments.v: is not allowed"},
		{"reference to the root", `{"$ref":"#"}`, `{"v":{"v":5}}`, "arguments.v.v.v: must be an object, not a number"},
		{"reference with escapes", `{"$ref":"#/properties/v/$defs/a~1b%20c","$defs":{"a/b c":{"type":"string"}}}`, `1`, "arguments.v: must be a string, not a number"},
		{"anchor", `{"$ref":"#here","$defs":{"a":{"$anchor":"here","type":"string"}}}`, `1`, "arguments.v: must be a string, not a number"},
		{"unevaluatedProperties", `{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"a":1,"secret":2}`, "arguments: does not fit the schema at /properties/v/unevaluatedProperties"},
		{"unevaluatedProperties fits", `{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"a":1}`, ""},
		{"format is an annotation", `{"format":"email"}`, `"nobody"`, ""},
		{"unknown keyword", `{"x-order":5}`, `1`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := mustSchema(t, tt.schema).Validate(value(t, `{"v":`+tt.value+`}`))
			got := ""
			if err != nil {
				got = err.Error()
				if _, ok := errors.AsType[*ValidationError](err); !ok {
					t.Errorf("%T is no ValidationError", err)
				}
			}
			if got != tt.want {
				t.Errorf("Validate = %q, want %q", got, tt.want)
			}
			if strings.Contains(got, "secret") {
				t.Errorf("the message %q holds the value", got)
			}
		})
	}
}

func TestSchemaDraft7(t *testing.T) {
	t.Parallel()
	const head = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",`
	for _, tt := range []struct{ name, schema, value, want string }{
		{"plain", `"properties":{"a":{"type":"string"}}}`, `{"a":1}`, "arguments.a: must be a string, not a number"},
		{"definitions", `"properties":{"a":{"$ref":"#/definitions/x"}},"definitions":{"x":{"type":"string"}}}`, `{"a":1}`, "arguments.a: must be a string, not a number"},
		{"siblings of $ref are ignored", `"properties":{"a":{"$ref":"#/definitions/x","type":"null"}},"definitions":{"x":{"type":"string"}}}`, `{"a":"b"}`, ""},
		{"list of items", `"properties":{"a":{"items":[{"type":"string"}]}}}`, `{"a":[1]}`, "arguments: does not fit the schema at /properties/a/items/0"},
		{"dependencies", `"dependencies":{"a":["b"]}}`, `{"a":1}`, "arguments: does not fit the schema"},
		{"dependentRequired is unknown", `"dependentRequired":{"a":["b"]}}`, `{"a":1}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &checker{}
			s := c.compileSchema("inputSchema", "arguments", []byte(head+tt.schema), false)
			if s == nil {
				t.Fatal(c.err())
			}
			got := ""
			if err := s.Validate(value(t, tt.value)); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Validate = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSchemaSteps: there are 2^60 ways to find out that the innermost value does
// not fit.
func TestSchemaSteps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, schema, want string }{
		{"alternatives", `{"type":"object","anyOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`, "arguments: takes too many steps to judge by its schema"},
		{"given up under not", `{"type":"object","not":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":"object","anyOf":[{"properties":{"a":{"$ref":"#/$defs/x"}}},{"properties":{"a":{"$ref":"#/$defs/x"}}}]}}}`, "arguments: takes too many steps to judge by its schema"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &checker{}
			s := c.compileSchema("inputSchema", "arguments", []byte(tt.schema), false)
			if s == nil {
				t.Fatal(c.err())
			}
			deep := `5`
			for range 60 {
				deep = `{"a":` + deep + `}`
			}
			if err := s.Validate(value(t, deep)); err == nil || err.Error() != tt.want {
				t.Errorf("Validate = %v, want %s", err, tt.want)
			}
		})
	}
}

// TestSchemaConcurrent is for the race detector.
func TestSchemaConcurrent(t *testing.T) {
	t.Parallel()
	s := mustSchema(t, `{"anyOf":[{"type":"string"},{"items":{"$ref":"#/properties/v"}}]}`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if err := s.Validate(map[string]any{"v": []any{"a"}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzSchema compares the verdict with the library's, of which it must be no
// looser and no stricter where numbers are small.
func FuzzSchema(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"type":["integer","string"],"minimum":2,"maxLength":1}`, `"ab"`},
		{`{"anyOf":[{"type":"array","items":{"enum":[1,"a",null]}},{"required":["x"],"additionalProperties":false}]}`, `{"x":1}`},
		{`{"oneOf":[{"minProperties":1},{"maxProperties":1}],"not":{"const":{}}}`, `{}`},
		{`{"if":{"type":"string"},"then":{"pattern":"^a"},"else":{"multipleOf":2}}`, `3`},
		{`{"contains":{"type":"null"},"minContains":2,"maxContains":3,"uniqueItems":true,"prefixItems":[true,false]}`, `[null,1]`},
		{`{"patternProperties":{"a":{"type":"string"}},"propertyNames":{"maxLength":2},"dependentRequired":{"a":["b"]}}`, `{"a":"x"}`},
		{`{"items":{"$ref":"#/properties/v"},"type":"array"}`, `[[],[1]]`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, schema, instance string) {
		v, err := DecodeValue([]byte(instance))
		if err != nil || len(schema) > 1000 || strings.ContainsAny(schema+instance, ".eE") && strings.Contains(schema, "multipleOf") {
			return
		}
		c := &checker{}
		text := `{"type":"object","properties":{"v":` + schema + `}}`
		s := c.compileSchema("s", "arguments", []byte(text), false)
		if s == nil || s.library != nil {
			return
		}
		var parsed jsonschema.Schema
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			t.Fatal(err)
		}
		resolved, err := parsed.Resolve(nil)
		if err != nil {
			return
		}
		wrapped := map[string]any{"v": v}
		got, want := s.Validate(wrapped), resolved.Validate(wrapped)
		if (got == nil) != (want == nil) {
			t.Fatalf("schema %s, value %s: here %v, library %v", schema, instance, got, want)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	for _, bb := range []struct{ name, schema, value string }{
		{"echo", `{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}`, `{"message":"hello"}`},
		{"nested", `{"type":"object","properties":{"a":{"type":"string","pattern":"^[a-z]+$"},"b":{"type":"integer","minimum":1},"c":{"type":"array","items":{"type":"object","properties":{"d":{"enum":["x","y"]}},"required":["d"],"additionalProperties":false}}},"required":["a"]}`, `{"a":"abc","b":5,"c":[{"d":"x"},{"d":"y"}]}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := &checker{}
			s := c.compileSchema("s", "arguments", []byte(bb.schema), false)
			v := value(b, bb.value)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Validate(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEcho is what the echo tool costs here: decode, validate, render.
func BenchmarkEcho(b *testing.B) {
	text := "${arguments.message}"
	p, err := Compile(&Server{
		Name: "demo", Auth: Auth{AnonymousAccess: AccessAllowed},
		Tools: []Tool{{
			Name: "echo", Description: "d",
			InputSchema: []byte(`{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}`),
			Static:      &Static{Content: []Content{{Text: &text}}},
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	data := fmt.Appendf(nil, `{"message":%q}`, "hello world")
	b.ReportAllocs()
	for b.Loop() {
		v, err := DecodeValue(data)
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Tools[0].Input.Validate(v); err != nil {
			b.Fatal(err)
		}
		if _, _, _, err := p.Tools[0].Static.Render(Vars{Arguments: v.(map[string]any)}); err != nil {
			b.Fatal(err)
		}
	}
}
