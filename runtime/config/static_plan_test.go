// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStaticRender(t *testing.T) {
	t.Parallel()
	const open = `{"type":"object"}`
	for _, tt := range []struct {
		name, args, content, structured string
		static                          Static
		isError                         bool
	}{
		{
			name: "every kind", args: `{}`,
			static: Static{Content: []Content{
				{Text: new("a \"b\" $${c}")},
				{Image: &Binary{MIMEType: "image/png", Data: "aGVsbG8="}},
				{Audio: &Binary{MIMEType: "audio/wav", Data: "aGVsbG8="}},
				{Resource: &Resource{URI: "file:///a", Text: new("")}},
				{Resource: &Resource{URI: "file:///b", MIMEType: "a/b", Blob: new("aGVsbG8=")}},
			}},
			content: `[{"type":"text","text":"a \"b\" ${c}"},{"type":"image","data":"aGVsbG8=","mimeType":"image/png"},{"type":"audio","data":"aGVsbG8=","mimeType":"audio/wav"},{"type":"resource","resource":{"uri":"file:///a","text":""}},{"type":"resource","resource":{"uri":"file:///b","mimeType":"a/b","blob":"aGVsbG8="}}]`,
		},
		{
			name: "templates", args: `{"m":"x\"\n","n":9007199254740993}`,
			static: Static{
				Content:           []Content{{Text: new("${arguments.m}")}, {Text: new("n=${arguments.n}")}, {Text: new("${arguments.?no}")}},
				StructuredContent: json.RawMessage(`{"m":"${arguments.m}","n":"${arguments.n}","s":"${string(arguments.n)}","l":["${arguments.?no}",1,"${arguments.?m}"],"no":"${arguments.?no}","deep":{"no":"${arguments.?no}"},"amid":"<${arguments.?no}>","map":"${{'a': [arguments.n]}}"}`),
			},
			content:    `[{"type":"text","text":"x\"\n"},{"type":"text","text":"n=9007199254740993"},{"type":"text","text":""}]`,
			structured: `{"amid":"<>","deep":{},"l":[1,"x\"\n"],"m":"x\"\n","map":{"a":[9007199254740993]},"n":9007199254740993,"s":"9007199254740993"}`,
		},
		{
			name: "error", args: `{}`, isError: true,
			static:     Static{Content: []Content{{Text: new("no")}}, Outcome: OutcomeError, StructuredContent: json.RawMessage(`{ "b" : 1.0, "a" : null }`)},
			content:    `[{"type":"text","text":"no"}]`,
			structured: `{"a":null,"b":1}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tool := compileOne(t, Tool{InputSchema: json.RawMessage(open), Static: &tt.static}, CompileOptions{})
			args, _ := value(t, tt.args).(map[string]any)
			content, structured, isError, err := tool.Static.Render(Vars{Arguments: args})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.content, string(content)); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.structured, string(structured)); diff != "" || isError != tt.isError {
				t.Errorf("isError %t, structured (-want +got):\n%s", isError, diff)
			}
			if !json.Valid(content) || structured != nil && !json.Valid(structured) {
				t.Error("invalid JSON")
			}
		})
	}
}

func TestStaticRenderFails(t *testing.T) {
	t.Parallel()
	tool := compileOne(t, Tool{
		InputSchema: json.RawMessage(`{"type":"object"}`),
		Static:      &Static{Content: []Content{{Text: new("a")}}, StructuredContent: json.RawMessage(`{"a":["${arguments.x}"]}`)},
	}, CompileOptions{})
	if _, _, _, err := tool.Static.Render(Vars{}); err == nil {
		t.Error("Render without the argument succeeds")
	}
}

func TestConstantStaticAllocatesNothing(t *testing.T) {
	tool := compileOne(t, Tool{Static: &Static{Content: []Content{{Text: new("hello")}}, StructuredContent: json.RawMessage(`{"a":1}`)}}, CompileOptions{})
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = tool.Static.Render(Vars{}) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestListSchema(t *testing.T) {
	t.Parallel()
	static := &Static{Content: []Content{{Text: new("a")}}}
	for _, tt := range []struct {
		name, want string
		tool       Tool
	}{
		{"none", `{"type":"object","additionalProperties":false}`, Tool{}},
		{"text keeps order and numbers", `{"type":"object","maxProperties":1.0,"$defs":{}}`, Tool{InputSchemaJSON: "{\"type\": \"object\",\n \"maxProperties\": 1.0, \"$defs\": {}}"}},
		{"object", `{"type":"object","description":"9007199254740993"}`, Tool{InputSchema: json.RawMessage(`{"type":"object", "description":"9007199254740993"}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.tool.Static = static
			tool := compileOne(t, tt.tool, CompileOptions{})
			if string(tool.ListSchema) != tt.want {
				t.Errorf("ListSchema = %s, want %s", tool.ListSchema, tt.want)
			}
			if tt.name == "none" && tool.Input.Validate(map[string]any{"a": nil}) == nil {
				t.Error("a tool without a schema takes arguments")
			}
		})
	}
}

func TestHeaderParams(t *testing.T) {
	t.Parallel()
	tool := compileOne(t, Tool{
		InputSchema: json.RawMessage(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"o":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"Num"}}},"b":{"type":"boolean","x-mcp-header":"Flag"}}}`),
		Static:      &Static{Content: []Content{{Text: new("a")}}},
	}, CompileOptions{})
	want := []HeaderParam{
		{Name: "Flag", Path: []string{"b"}, Type: "boolean"},
		{Name: "Num", Path: []string{"o", "n"}, Type: "integer"},
		{Name: "Region", Path: []string{"region"}, Type: "string"},
	}
	if diff := cmp.Diff(want, tool.HeaderParams); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWithDefaults names every default, and shows that nothing is shared with
// the server it came from.
func TestWithDefaults(t *testing.T) {
	t.Parallel()
	s := &Server{
		Name: "demo", Exposure: Exposure{Path: "/", Hosts: []string{"a"}}, Browser: Browser{AllowedOrigins: []string{"b"}},
		Auth: Auth{APIKeys: &APIKeys{SecretRef{"k"}}},
		Tools: []Tool{
			{
				Access: &Access{AnyRole: []string{"r"}}, Annotations: &Annotations{ReadOnlyHint: new(true)}, InputSchema: json.RawMessage(`{}`),
				HTTP: &HTTP{URL: "http://a.b.svc/", Query: map[string]string{"q": "1"}, HeadersFrom: []SecretHeader{{Name: "n"}}},
			},
			{Static: &Static{Content: []Content{{Resource: &Resource{Text: new("t")}}}, StructuredContent: json.RawMessage(`{}`)}},
		},
	}
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	d := s.WithDefaults()
	golden(t, "testdata/defaults.yaml", encoded(t, d))
	d.Exposure.Hosts[0], d.Browser.AllowedOrigins[0], d.Auth.APIKeys.SecretRef.Name = "x", "x", "x"
	h, st := d.Tools[0].HTTP, d.Tools[1].Static
	d.Tools[0].Access.AnyRole[0], *d.Tools[0].Annotations.ReadOnlyHint, d.Tools[0].InputSchema[0] = "x", false, 'x'
	h.Query["q"], h.HeadersFrom[0].Name = "x", "x"
	*st.Content[0].Resource.Text, st.StructuredContent[0] = "x", 'x'
	after, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("the copy shares memory (-before +after):\n%s", diff)
	}
}

func encoded(t *testing.T, s *Server) string {
	t.Helper()
	out, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
