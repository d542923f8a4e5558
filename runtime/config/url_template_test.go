// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// openSchema knows every one-letter property and requires all.
func openSchema(tb testing.TB) *Schema {
	tb.Helper()
	var names, required []string
	for c := 'a'; c <= 'z'; c++ {
		names = append(names, `"`+string(c)+`":true`)
		required = append(required, `"`+string(c)+`"`)
	}
	c := &checker{}
	s := c.compileSchema("s", "arguments", []byte(`{"type":"object","properties":{`+strings.Join(names, ",")+`},"required":[`+strings.Join(required, ",")+`]}`), false)
	if s == nil {
		tb.Fatal(c.err())
	}
	return s
}

func mustURL(tb testing.TB, text string) *URLTemplate {
	tb.Helper()
	c := &checker{}
	u := c.compileURL("url", text, openSchema(tb))
	if err := c.err(); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return u
}

func TestURLTemplate(t *testing.T) {
	t.Parallel()
	const host = "http://h.example"
	for _, tt := range []struct{ name, in, args, want string }{
		{"constant", host + "/a/b?c=d", `{}`, host + "/a/b?c=d"},
		{"no path", host, `{}`, host},
		{"query without a path", host + "?q={a}", `{"a":1}`, host + "?q=1"},
		{"path", host + "/{a}/x/{b}", `{"a":"1","b":2}`, host + "/1/x/2"},
		{"amid a segment", host + "/v{a}.json", `{"a":"1"}`, host + "/v1.json"},
		{"slash", host + "/{a}", `{"a":"b/c"}`, host + "/b%2Fc"},
		{"every reserved character", host + "/{a}", `{"a":"?#[]@!$&'()*+,;=% é"}`, host + "/%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25%20%C3%A9"},
		{"unreserved ones", host + "/{a}", `{"a":"A-b_c.d~9"}`, host + "/A-b_c.d~9"},
		{"line break", host + "/{a}", `{"a":"x\r\ny"}`, host + "/x%0D%0Ay"},
		{"host is fixed", host + "/{a}", `{"a":"@evil.example"}`, host + "/%40evil.example"},
		{"integer above 2^53", host + "/{a}", `{"a":9007199254740993}`, host + "/9007199254740993"},
		{"boolean and double", host + "/{a}/{b}", `{"a":true,"b":1.50}`, host + "/true/1.5"},
		{"empty segments stay", host + "//a/{a}/", `{"a":"x"}`, host + "//a/x/"},
		{"encoded literal stays", host + "/a%2Fb/{a}", `{"a":"x"}`, host + "/a%2Fb/x"},
		{"query", host + "/{?a,b}", `{"a":"1&2","b":"x y"}`, host + "/?a=1%262&b=x%20y"},
		{"first of a query is absent", host + "/{?a,b}", `{"b":"x"}`, host + "/?b=x"},
		{"whole query is absent", host + "/{?a,b}", `{}`, host + "/"},
		{"null is absent", host + "/{?a}", `{"a":null}`, host + "/"},
		{"empty is not absent", host + "/{?a}", `{"a":""}`, host + "/?a="},
		{"continued query", host + "/?x=1{&a,b}{&c}", `{"a":1,"c":2}`, host + "/?x=1&a=1&c=2"},
		{"form continued by form", host + "/{?a}{&b}", `{"b":2}`, host + "/?b=2"},
		{"value in a query", host + "/?x={a}-{b}&y={c}", `{"a":1,"b":"&","c":3}`, host + "/?x=1-%26&y=3"},
		{"absent value in a query", host + "/?x={a}", `{}`, host + "/?x="},
		{"list in a query", host + "/{?a}", `{"a":["x,y",2]}`, host + "/?a=x%2Cy,2"},
		{"port and IPv6", "http://[2001:db8::1]:8080/{a}", `{"a":1}`, "http://[2001:db8::1]:8080/1"},
		{"host in capitals", "http://H.Example/{a}", `{"a":1}`, host + "/1"},
		{"dots amid others", host + "/{a}", `{"a":"..."}`, host + "/..."},
		{"dot beside a literal", host + "/x{a}", `{"a":"."}`, host + "/x."},
		{"literal percent", host + "/{a}", `{"a":"100%"}`, host + "/100%25"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args, _ := value(t, tt.args).(map[string]any)
			got, err := mustURL(t, tt.in).Expand(args)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("Expand = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestURLTemplateRefuses(t *testing.T) {
	t.Parallel()
	const dots = "must not form a path segment of dots in the backend's URL"
	for _, tt := range []struct{ name, in, args, want string }{
		{"missing", "/{a}", `{}`, "is required in the backend's URL"},
		{"null", "/{a}", `{"a":null}`, "is required in the backend's URL"},
		{"empty", "/{a}", `{"a":""}`, "must not be empty: it is a part of the backend's URL path"},
		{"empty beside a literal", "/x{a}", `{"a":""}`, "must not be empty: it is a part of the backend's URL path"},
		{"object", "/{a}", `{"a":{}}`, "must be a string, a number or a boolean: it is a part of the backend's URL"},
		{"list in the path", "/{a}", `{"a":["x"]}`, "must be a string, a number or a boolean: it is a part of the backend's URL"},
		{"list in a query value", "/?x={a}", `{"a":["x"]}`, "must be a string, a number or a boolean: it is a part of the backend's URL"},
		{"list of lists", "/{?a}", `{"a":[["x"]]}`, "must be a string, a number or a boolean: it is a part of the backend's URL"},
		{"dot", "/{a}", `{"a":"."}`, dots},
		{"dots", "/{a}", `{"a":".."}`, dots},
		{"encoded", "/{a}", `{"a":"%2e%2E"}`, dots},
		{"half encoded", "/{a}", `{"a":".%2e"}`, dots},
		{"encoded twice", "/{a}", `{"a":"%252e%252e"}`, dots},
		{"encoded too often", "/{a}", `{"a":"%252525252525252e"}`, dots},
		{"with a literal", "/{a}.", `{"a":"."}`, dots},
		{"with an encoded literal", "/%2e{a}", `{"a":"."}`, dots},
		{"two together", "/{b}{a}", `{"a":".","b":"."}`, dots},
		{"behind a slash", "/{a}", `{"a":"x/../y"}`, dots},
		{"behind an encoded slash", "/{a}", `{"a":"x%2f..%2fy"}`, dots},
		{"behind a backslash", "/{a}", `{"a":"..\\x"}`, dots},
		{"with path parameters", "/{a}", `{"a":"..;x=1"}`, dots},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args, _ := value(t, tt.args).(map[string]any)
			got, err := mustURL(t, "http://h.example"+tt.in).Expand(args)
			var argument *ArgumentError
			if !errors.As(err, &argument) || err.Error() != "arguments.a: "+tt.want {
				t.Errorf("Expand = %v, %v, want arguments.a: %s", got, err, tt.want)
			}
		})
	}
}

func TestURLVariables(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, mustURL(t, "http://h.example/{d}/{a}?x={c}{&b}").Variables()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzURLTemplate: whatever the template and the values, host, scheme and depth
// of the path are those of the template, and nothing becomes a fragment.
func FuzzURLTemplate(f *testing.F) {
	for _, seed := range [][3]string{
		{"/v{a}/{b}{?c}", "x", "y"}, {"/{a}", "../..", ""}, {"/{a}{b}", ".", "."}, {"/%2e{a}", "%2e", "/"}, {"?x={a}#", "#", "\x00"}, {"//{a}//?{&b}", "\\", "@"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	schema := openSchema(f)
	f.Fuzz(func(t *testing.T, rest, first, second string) {
		c := &checker{}
		text := "https://h.example:8443" + rest
		if !c.text("tools[0].http.url", text, true) {
			return
		}
		tpl := c.compileURL("url", text, schema)
		if tpl == nil || !strings.HasPrefix(tpl.origin, "https://h.example:8443") {
			return
		}
		args := map[string]any{}
		for i, name := range tpl.names {
			args[name] = []string{first, second}[i%2]
		}
		u, err := tpl.Expand(args)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		literal, _, _ := strings.Cut(strings.TrimPrefix(text, "https://"), "?")
		literal, _, _ = strings.Cut(literal, "{?")
		if again.Scheme != "https" || again.Host != tpl.origin[len("https://"):] || again.User != nil || again.Fragment != "" {
			t.Fatalf("%s with %v became %s", text, args, u)
		}
		if got, want := strings.Count(again.EscapedPath(), "/"), strings.Count(literal, "/"); got != want {
			t.Fatalf("%s with %v became %s: %d slashes, want %d", text, args, u, got, want)
		}
		for s := range strings.SplitSeq(again.EscapedPath(), "/") {
			if p, _ := url.PathUnescape(s); p == "." || p == ".." {
				t.Fatalf("%s with %v became %s", text, args, u)
			}
		}
	})
}
