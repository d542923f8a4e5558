// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"
	"testing"
)

func mustTemplate(tb testing.TB, text string) *Template {
	tb.Helper()
	c := &checker{}
	out := c.compileTemplate("text", text)
	if err := c.err(); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return out
}

func sampleVars(tb testing.TB) Vars {
	tb.Helper()
	args, _ := value(tb, `{"name":"Ann","n":9007199254740993,"f":1.5,"flag":true,"none":null,"list":[1,"a",{"b":2}],"map":{"z":1,"a":[true]},"q":"a\"b"}`).(map[string]any)
	return Vars{Arguments: args, Principal: PrincipalVars{Subject: "alice", Roles: []string{"dev", "admin"}}}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
		absent         bool
	}{
		{name: "constant", in: "hello", want: "hello"},
		{name: "empty", in: "", want: ""},
		{name: "lone dollar and braces", in: "$ {} $5 }", want: "$ {} $5 }"},
		{name: "escape", in: "$${arguments.name}", want: "${arguments.name}"},
		{name: "escape beside an expression", in: "$${x} ${arguments.name} $${y}", want: "${x} Ann ${y}"},
		{name: "dollar before an escape", in: "$$${x}", want: "$${x}"},
		{name: "string", in: "${arguments.name}", want: "Ann"},
		{name: "amid text", in: "Dear ${arguments.name}!", want: "Dear Ann!"},
		{name: "two", in: "${arguments.name}${principal.subject}", want: "Annalice"},
		{name: "integer above 2^53", in: "${arguments.n}", want: "9007199254740993"},
		{name: "integer arithmetic above 2^53", in: "${arguments.n + 2}", want: "9007199254740995"},
		{name: "double", in: "${arguments.f}", want: "1.5"},
		{name: "integral double", in: "${2.0}", want: "2"},
		{name: "uint", in: "${18446744073709551615u}", want: "18446744073709551615"},
		{name: "boolean", in: "${arguments.flag}", want: "true"},
		{name: "null", in: "${arguments.none}", want: "null"},
		{name: "list", in: "${arguments.list}", want: `[1,"a",{"b":2}]`},
		{name: "map", in: "${arguments.map}", want: `{"a":[true],"z":1}`},
		{name: "literal map", in: `${{"b": [1, {}], "a": arguments.n}}`, want: `{"a":9007199254740993,"b":[1,{}]}`},
		{name: "roles", in: "${principal.roles.join(',')}", want: "dev,admin"},
		{name: "role test", in: "${'admin' in principal.roles}", want: "true"},
		{name: "extension", in: "${arguments.name.lowerAscii().replace('a', '${')}", want: "${nn"},
		{name: "brace in a string", in: `${"}"}`, want: "}"},
		{name: "brace in a single-quoted string", in: `${'{'}x`, want: "{x"},
		{name: "brace in a triple-quoted string", in: `${"""a"}b"""}`, want: `a"}b`},
		{name: "escaped quote", in: `${"\"}"}`, want: `"}`},
		{name: "raw string", in: `${r"\"}`, want: `\`},
		{name: "raw string with a brace", in: `${R'}\'}`, want: `}\`},
		{name: "name that ends in r before a string", in: `${[arguments.map.?xr.orValue("\"}")][0]}`, want: `"}`},
		{name: "comment", in: "${1 // }\n}", want: "1"},
		{name: "comprehension", in: "${[1,2,3].filter(x, x > 1)}", want: "[2,3]"},
		{name: "optional that is there", in: "${arguments.?name}", want: "Ann"},
		{name: "optional that is absent", in: "${arguments.?nothing}", absent: true},
		{name: "absent amid text", in: "a${arguments.?nothing}b", want: "ab"},
		{name: "nested optional", in: "${optional.of(optional.none())}", absent: true},
		{name: "orValue", in: "${arguments.?nothing.orValue('x')}", want: "x"},
		{name: "has", in: "${has(arguments.nothing) ? 1 : 0}", want: "0"},
		{name: "conditional on a missing one", in: "${arguments.flag || arguments.nothing}", want: "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, present, err := mustTemplate(t, tt.in).Eval(sampleVars(t))
			if err != nil || got != tt.want || present == tt.absent {
				t.Errorf("Eval = %q, %t, %v, want %q, %t", got, present, err, tt.want, !tt.absent)
			}
		})
	}
}

func TestTemplateFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"missing", "${arguments.nothing}", `failed to evaluate ${arguments.nothing}: there is no "nothing"; for an optional one write arguments.?nothing`},
		{"division by zero", "${1 / (arguments.n - arguments.n)}", "division by zero"},
		{"wrong type", "${arguments.name + 1}", "no such overload"},
		{"bytes", "${dyn(b'x')}", "has no JSON form"},
		{"timestamp", "${timestamp('2026-01-01T00:00:00Z')}", "has no JSON form"},
		{"NaN", "${0.0 / 0.0}", "not finite"},
		{"map with other keys", "${{1: 2}}", "use strings as keys"},
		{"cost", "${[1,2,3,4,5,6,7,8,9,10].map(a,[1,2,3,4,5,6,7,8,9,10].map(b,[1,2,3,4,5,6,7,8,9,10].map(c,[1,2,3,4,5,6,7,8,9,10].map(d,[1,2,3,4,5,6,7,8,9,10].map(e,[1,2,3,4,5,6,7,8,9,10].map(f,[1,2,3,4,5,6,7,8,9,10].map(g,g)))))))}", "cost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := mustTemplate(t, tt.in).Eval(sampleVars(t))
			var eval *EvalError
			if !errors.As(err, &eval) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Eval = %.80q, %v, want an EvalError with %q", got, err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "Ann") || strings.Contains(err.Error(), "9007199254740993")) {
				t.Errorf("%q holds a value", err)
			}
		})
	}
}

func TestTemplateWithoutVars(t *testing.T) {
	t.Parallel()
	got, _, err := mustTemplate(t, "${size(arguments)} ${size(principal.roles)} [${principal.subject}]").Eval(Vars{})
	if err != nil || got != "0 0 []" {
		t.Errorf("Eval = %q, %v", got, err)
	}
}

func TestConstantTemplateAllocatesNothing(t *testing.T) {
	tpl := mustTemplate(t, "hello $${x}")
	if !tpl.Constant() {
		t.Fatal("not constant")
	}
	vars := sampleVars(t)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = tpl.Eval(vars) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzTemplate: no text panics, a text without ${ is itself, and an escaped text
// is what it was before.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"hi ${arguments.name}", "$${", "${\"}\"}", "${r'\\'}", "${'''}'''}", "${{'a':{}}}", "${// }\n1}", "${arguments.?x}", "${[1].map(x,x)}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 300 {
			return
		}
		vars := sampleVars(t)
		c := &checker{}
		if tpl := c.compileTemplate("text", text); tpl != nil {
			got, _, err := tpl.Eval(vars)
			if err == nil && !strings.Contains(text, "${") && got != text {
				t.Fatalf("%q became %q", text, got)
			}
		} else if c.err() == nil {
			t.Fatalf("%q is neither a template nor an error", text)
		}
		got, _, err := mustTemplate(t, strings.ReplaceAll(text, "${", "$${")).Eval(vars)
		if err != nil || got != text {
			t.Fatalf("%q escaped became %q, %v", text, got, err)
		}
	})
}
