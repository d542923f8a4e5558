// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

var (
	allow = auth.Policy{AllowByDefault: true}
	admin = auth.Principal{Key: "apikey:ann", Name: "ann", Roles: []string{"admin"}}
)

// backend is an executor that knows whether it is closed.
type backend struct{ closed int }

func (*backend) Run(context.Context, tool.Call, tool.Sink) (tool.Result, error) {
	return tool.Text("ran"), nil
}

// backends makes and remembers backends by tool.
type backends map[string][]*backend

func (b backends) deps() Deps {
	return Deps{New: func(t *config.CompiledTool) (tool.Executor, func(), error) {
		if t.Config.Name == "broken" {
			return nil, nil, errors.New("no backend")
		}
		made := &backend{}
		b[t.Config.Name] = append(b[t.Config.Name], made)
		return made, func() { made.closed++ }, nil
	}}
}

func newTool(name, text string) config.Tool {
	return config.Tool{Name: name, Description: "Does " + name + ".", Static: &config.Static{Content: []config.Content{{Text: &text}}}}
}

func many(n int) []config.Tool {
	var tools []config.Tool
	for i := range n {
		tools = append(tools, newTool(fmt.Sprintf("t%03d", i), "x"))
	}
	return tools
}

func compile(t *testing.T, tools ...config.Tool) *config.Program {
	t.Helper()
	p, err := config.Compile(&config.Server{
		Contract: config.ContractVersion, Name: "s", Tools: tools,
		Auth: config.Auth{AnonymousAccess: config.AccessAllowed, APIKeys: &config.APIKeys{SecretRef: config.SecretRef{Name: "keys"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newCatalog(t *testing.T, prev *Catalog, deps Deps, tools ...config.Tool) *Catalog {
	t.Helper()
	c, err := Build(compile(t, tools...), prev, deps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// page decodes one page.
func page(t *testing.T, c *Catalog, p auth.Principal, cursor string, f Flavour) (names []string, next string) {
	t.Helper()
	b, err := c.AppendPage([]byte("{"), p, allow, cursor, f)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tools      []struct{ Name string }
		NextCursor string
	}
	if err := json.Unmarshal(append(b, '}'), &got); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	for _, tool := range got.Tools {
		names = append(names, tool.Name)
	}
	return names, got.NextCursor
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, PageSize, PageSize + 1, 2 * PageSize, 256} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			tools := many(n)
			c := newCatalog(t, nil, backends{}.deps(), tools...)
			var want, got []string
			for _, tool := range tools {
				want = append(want, tool.Name)
			}
			// The second round is answered from the cache.
			for range 2 {
				got = nil
				pages, cursor := 0, ""
				for {
					names, next := page(t, c, auth.Anonymous(), cursor, Flavour2025June)
					got = append(got, names...)
					pages++
					if cursor = next; cursor == "" {
						break
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("tools (-want +got):\n%s", diff)
				}
				if wantPages := (n + PageSize - 1) / PageSize; pages != wantPages {
					t.Errorf("%d pages, want %d", pages, wantPages)
				}
			}
		})
	}
}

func TestPagesByRole(t *testing.T) {
	t.Parallel()
	secret := newTool("secret", "x")
	secret.Access = &config.Access{AnyRole: []string{"admin"}}
	off := newTool("off", "x")
	off.State = config.StateDisabled
	c := newCatalog(t, nil, backends{}.deps(), secret, off, newTool("plain", "x"))
	for range 2 {
		got, _ := page(t, c, auth.Anonymous(), "", Flavour2024)
		if diff := cmp.Diff([]string{"plain"}, got); diff != "" {
			t.Errorf("anonymous sees (-want +got):\n%s", diff)
		}
		got, _ = page(t, c, admin, "", Flavour2024)
		if diff := cmp.Diff([]string{"secret", "plain"}, got); diff != "" {
			t.Errorf("an admin sees (-want +got):\n%s", diff)
		}
	}
	b, err := c.AppendPage(nil, auth.Anonymous(), auth.Policy{}, "", Flavour2024)
	if err != nil || string(b) != `"tools":[]` {
		t.Errorf("with access denied by default: %s, %v", b, err)
	}
	if len(c.pages.pages) != 3 {
		t.Errorf("%d cached pages, want one for each of 3 views", len(c.pages.pages))
	}
	if c.Shared() {
		t.Error("Shared() with an access rule")
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	c := newCatalog(t, nil, backends{}.deps(), many(2*PageSize)...)
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	valid := encode(c.Revision() + ".100")
	if _, next := page(t, c, auth.Anonymous(), "", Flavour2024); next != valid {
		t.Fatalf("cursor = %q, want %q", next, valid)
	}
	tests := []struct{ name, cursor string }{
		{name: "not base64", cursor: "*"},
		{name: "padded", cursor: base64.URLEncoding.EncodeToString([]byte(c.Revision() + ".100."))},
		{name: "other revision", cursor: encode("0123456789abcdef.100")},
		{name: "no offset", cursor: encode(c.Revision() + ".")},
		{name: "start", cursor: encode(c.Revision() + ".0")},
		{name: "within a page", cursor: encode(c.Revision() + ".50")},
		{name: "at the end", cursor: encode(c.Revision() + ".200")},
		{name: "beyond", cursor: encode(c.Revision() + ".100000000")},
		{name: "negative", cursor: encode(c.Revision() + ".-100")},
		{name: "written otherwise", cursor: encode(c.Revision() + ".+100")},
		{name: "leading zero", cursor: encode(c.Revision() + ".0100")},
		{name: "out of range", cursor: encode(c.Revision() + ".100000000000000000000")},
		{name: "something behind", cursor: valid + "A"},
		{name: "line break", cursor: valid + "\n"},
		{name: "long", cursor: strings.Repeat("A", 129)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := c.AppendPage([]byte("kept"), auth.Anonymous(), allow, tt.cursor, Flavour2024)
			if !errors.Is(err, ErrCursor) || string(b) != "kept" {
				t.Errorf("AppendPage() = %q, %v, want ErrCursor", b, err)
			}
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c pageCache
	large := make([]byte, maxCachedBytes/2)
	for _, key := range []string{"a", "b", "c"} {
		c.put(key, large)
	}
	if len(c.pages) != 1 || c.bytes > maxCachedBytes {
		t.Errorf("%d pages of %d bytes are kept", len(c.pages), c.bytes)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	text := "x"
	c := newCatalog(t, nil, backends{}.deps(), config.Tool{
		Name: "a", Title: `A "title"`, Description: "Two\nlines.",
		InputSchemaJSON: "{\"type\": \"object\",\n \"properties\": {\"b\":{}, \"a\":{}}}",
		OutputSchema:    json.RawMessage(`{"type":"object"}`),
		Annotations:     &config.Annotations{ReadOnlyHint: &yes, OpenWorldHint: &no},
		Static:          &config.Static{Content: []config.Content{{Text: &text}}, StructuredContent: json.RawMessage(`{}`)},
	})
	// A schema of several lines is put on one; order and numbers stay.
	const input = `"inputSchema":{"type":"object","properties":{"b":{},"a":{}}}`
	want := [flavours]string{
		Flavour2024:      `{"name":"a","description":"Two\nlines.",` + input + `}`,
		Flavour2025March: `{"name":"a","description":"Two\nlines.",` + input + `,"annotations":{"readOnlyHint":true,"openWorldHint":false}}`,
		Flavour2025June:  `{"name":"a","title":"A \"title\"","description":"Two\nlines.",` + input + `,"outputSchema":{"type":"object"},"annotations":{"readOnlyHint":true,"openWorldHint":false}}`,
	}
	for f, entry := range c.tools[0].entries {
		if diff := cmp.Diff(want[f], string(entry)); diff != "" {
			t.Errorf("flavour %d (-want +got):\n%s", f, diff)
		}
	}
}

func TestSameListing(t *testing.T) {
	t.Parallel()
	base := func() []config.Tool { return []config.Tool{newTool("a", "x"), newTool("b", "x")} }
	tests := []struct {
		name   string
		change func(tools []config.Tool) []config.Tool
		want   bool
	}{
		{name: "nothing", change: func(tools []config.Tool) []config.Tool { return tools }, want: true},
		{name: "backend", change: func(tools []config.Tool) []config.Tool { tools[0] = newTool("a", "y"); return tools }, want: true},
		{name: "description", change: func(tools []config.Tool) []config.Tool { tools[0].Description = "New."; return tools }},
		{name: "access", change: func(tools []config.Tool) []config.Tool {
			tools[0].Access = &config.Access{AnyRole: []string{"admin"}}
			return tools
		}},
		{name: "switched off", change: func(tools []config.Tool) []config.Tool { tools[0].State = config.StateDisabled; return tools }},
		{name: "order", change: func(tools []config.Tool) []config.Tool { return []config.Tool{tools[1], tools[0]} }},
		{name: "added", change: func(tools []config.Tool) []config.Tool { return append(tools, newTool("c", "x")) }},
		{name: "removed", change: func(tools []config.Tool) []config.Tool { return tools[:1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newCatalog(t, nil, backends{}.deps(), base()...)
			b := newCatalog(t, a, backends{}.deps(), tt.change(base())...)
			if a.SameListing(b) != tt.want || b.SameListing(a) != tt.want {
				t.Errorf("SameListing() = %t, want %t", a.SameListing(b), tt.want)
			}
		})
	}
}

func TestExecutorsAreShared(t *testing.T) {
	t.Parallel()
	made := backends{}
	one := newCatalog(t, nil, made.deps(), newTool("kept", "x"), newTool("edited", "x"), newTool("removed", "x"))
	edited, renamed := newTool("edited", "y"), newTool("kept", "x")
	renamed.Description, renamed.State = "New words leave the backend alone.", config.StateDisabled
	tool, _ := one.Tool("edited")
	_, release, ok := tool.Acquire()
	if !ok {
		t.Fatal("Acquire() of a catalog in use failed")
	}
	two := newCatalog(t, one, made.deps(), renamed, edited)
	one.Close()
	one.Close()
	closed := func() map[string][]int {
		got := map[string][]int{}
		for name, all := range made {
			for _, b := range all {
				got[name] = append(got[name], b.closed)
			}
		}
		return got
	}
	if diff := cmp.Diff(map[string][]int{"kept": {0}, "edited": {0, 0}, "removed": {1}}, closed()); diff != "" {
		t.Errorf("closed while a call runs (-want +got):\n%s", diff)
	}
	release()
	if _, _, ok := tool.Acquire(); ok {
		t.Error("Acquire() of a closed executor succeeded")
	}
	two.Close()
	if diff := cmp.Diff(map[string][]int{"kept": {1}, "edited": {1, 1}, "removed": {1}}, closed()); diff != "" {
		t.Errorf("closed after both catalogs (-want +got):\n%s", diff)
	}
}

func TestResponseLimitSplitsExecutors(t *testing.T) {
	t.Parallel()
	made := backends{}
	p := compile(t, newTool("a", "x"))
	one, err := Build(p, nil, made.deps())
	if err != nil {
		t.Fatal(err)
	}
	other := *p.Server
	other.Limits.MaxResponseSize++
	if _, err := Build(&config.Program{Server: &other, Tools: p.Tools}, one, made.deps()); err != nil {
		t.Fatal(err)
	}
	if len(made["a"]) != 2 {
		t.Error("an executor with another limit was shared")
	}
}

func TestBuildFails(t *testing.T) {
	t.Parallel()
	made := backends{}
	one := newCatalog(t, nil, made.deps(), newTool("a", "x"))
	_, err := Build(compile(t, newTool("a", "x"), newTool("b", "x"), newTool("broken", "x")), one, made.deps())
	if err == nil || err.Error() != `failed to build tool "broken": no backend` {
		t.Errorf("error = %v", err)
	}
	if made["a"][0].closed != 0 || made["b"][0].closed != 1 {
		t.Errorf("closed: a %d times, b %d times, want 0 and 1", made["a"][0].closed, made["b"][0].closed)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	off := newTool("off", "x")
	off.State = config.StateDisabled
	c := newCatalog(t, nil, Deps{}, newTool("on", "x"), off)
	for name, want := range map[string]State{"on": Enabled, "off": Disabled, "On": Unknown, "": Unknown} {
		got, state := c.Tool(name)
		if state != want || (got == nil) != (want == Unknown) {
			t.Errorf("Tool(%q) = %v, %d, want state %d", name, got, state, want)
		}
	}
	if diff := cmp.Diff([]string{"on", "off"}, c.Names()); diff != "" || c.Len() != 2 {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if !c.Shared() {
		t.Error("Shared() = false for an open server without access rules")
	}
	closed := compile(t, newTool("on", "x"))
	closed.Server.Auth.AnonymousAccess = config.AccessDenied
	if behind, err := Build(closed, nil, Deps{}); err != nil || behind.Shared() {
		t.Errorf("Shared() behind a key: %v", err)
	}
	// Without New the tool's own backend runs, guarded.
	tool, _ := c.Tool("on")
	executor, release, ok := tool.Acquire()
	if !ok {
		t.Fatal("Acquire() failed")
	}
	defer release()
	result, err := executor.Run(t.Context(), call("on"), nil)
	if err != nil || string(result.Content) != `[{"type":"text","text":"x"}]` {
		t.Errorf("Run() = %s, %v", result.Content, err)
	}
}

func call(name string) tool.Call { return tool.Call{Name: name, Principal: auth.Anonymous()} }
