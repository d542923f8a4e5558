// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compileOne compiles a server of one tool.
func compileOne(tb testing.TB, tool Tool, o CompileOptions) *CompiledTool {
	tb.Helper()
	tool.Name, tool.Description = "t", "d"
	p, err := CompileWith(&Server{Name: "demo", Auth: Auth{AnonymousAccess: AccessAllowed}, Tools: []Tool{tool}}, o)
	if err != nil {
		tb.Fatal(err)
	}
	return p.Tools[0]
}

func TestHTTPRender(t *testing.T) {
	t.Parallel()
	tool := compileOne(t, Tool{
		InputSchema: []byte(`{"type":"object","properties":{"id":{"type":"string"},"n":{},"name":{},"q":{},"x":{}},"required":["id"],"additionalProperties":false}`),
		HTTP: &HTTP{
			Method:      "POST",
			URL:         "http://api.shop.svc/o/{id}{?q}",
			Query:       map[string]string{"z": "${arguments.?x}", "a b": "1&${principal.subject}"},
			Headers:     map[string]string{"X-Name": "${arguments.?name}", "x-who": "${principal.subject}", "X-Const": "a\tb"},
			HeadersFrom: []SecretHeader{{Name: "Authorization", SecretKeyRef: SecretKeyRef{Name: "s", Key: "k"}}},
			Response:    HTTPResponse{Stream: StreamSSE},
		},
	}, CompileOptions{})
	args, _ := value(t, `{"id":"1","n":9007199254740993,"name":"Ann","q":"?"}`).(map[string]any)
	got, err := tool.HTTP.Render(Vars{Arguments: args, Principal: PrincipalVars{Subject: "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://api.shop.svc/o/1?q=%3F&a%20b=1%26alice"; got.URL.String() != want || got.Method != http.MethodPost {
		t.Errorf("%s %s, want POST %s", got.Method, got.URL, want)
	}
	want := map[string][]string{"X-Name": {"Ann"}, "X-Who": {"alice"}, "X-Const": {"a\tb"}, "Content-Type": {"application/json"}}
	if diff := cmp.Diff(want, map[string][]string(got.Header)); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if want := `{"n":9007199254740993,"name":"Ann"}`; string(got.Body) != want {
		t.Errorf("body %s, want %s", got.Body, want)
	}
	if tool.HTTP.Network != NetworkCluster || tool.HTTP.Stream != StreamSSE {
		t.Errorf("network %s, stream %s", tool.HTTP.Network, tool.HTTP.Stream)
	}
	for _, bad := range []string{"a\r\nX-B: c", "a\x00", "a\x7f"} {
		args["name"] = bad
		_, err := tool.HTTP.Render(Vars{Arguments: args})
		var header *HeaderError
		if !errors.As(err, &header) || header.Name != "X-Name" || strings.Contains(err.Error(), bad) {
			t.Errorf("Render with %q = %v, want a HeaderError for X-Name", bad, err)
		}
	}
}

func TestHTTPBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, body, want string }{
		{"GET", "", ""},
		{"HEAD", "", ""},
		{"DELETE", "", ""},
		{"DELETE", BodyJSON, `{}`},
		{"POST", "", `{}`},
		{"PUT", "", `{}`},
		{"PATCH", "", `{}`},
		{"POST", BodyNone, ""},
	} {
		t.Run(tt.method+tt.body, func(t *testing.T) {
			t.Parallel()
			tool := compileOne(t, Tool{HTTP: &HTTP{Method: tt.method, Body: tt.body, URL: "https://h.example/"}}, CompileOptions{})
			got, err := tool.HTTP.Render(Vars{})
			if err != nil || string(got.Body) != tt.want || (got.Header.Get("Content-Type") != "") != (tt.want != "") {
				t.Errorf("body %q, header %v, %v, want %q", got.Body, got.Header, err, tt.want)
			}
		})
	}
}

func TestAllowLoopback(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"localhost:8000", "127.0.0.1", "[::1]:9", "a.localhost", "backend:80"} {
		tool := Tool{Name: "t", Description: "d", HTTP: &HTTP{URL: "http://" + host + "/"}}
		s := &Server{Name: "demo", Auth: Auth{AnonymousAccess: AccessAllowed}, Tools: []Tool{tool}}
		if _, err := Compile(s); err == nil {
			t.Errorf("%s is accepted in a cluster", host)
		}
		if _, err := CompileWith(s, CompileOptions{AllowLoopback: true}); err != nil {
			t.Errorf("%s is refused at a terminal: %v", host, err)
		}
	}
	for _, host := range []string{"169.254.169.254", "0.0.0.0", "kubernetes.default.svc", "[fe80::1]"} {
		s := &Server{Name: "demo", Auth: Auth{AnonymousAccess: AccessAllowed}, Tools: []Tool{{Name: "t", Description: "d", HTTP: &HTTP{URL: "http://" + host + "/"}}}}
		if _, err := CompileWith(s, CompileOptions{AllowLoopback: true}); err == nil {
			t.Errorf("%s is accepted at a terminal", host)
		}
	}
}

func TestDefaultNetwork(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"orders.shop.svc":               NetworkCluster,
		"orders.shop.svc.cluster.local": NetworkCluster,
		"ORDERS.Shop.SVC.":              NetworkCluster,
		"pod-0.orders.shop.svc":         NetworkCluster,
		"orders.svc":                    NetworkPublic,
		"svc":                           NetworkPublic,
		"svc.shop.example.com":          NetworkPublic,
		"orders..svc":                   NetworkPublic,
		"api.example.com":               NetworkPublic,
		"10.0.0.1":                      NetworkPublic,
		"":                              NetworkPublic,
	} {
		if got := DefaultNetwork(host); got != want {
			t.Errorf("DefaultNetwork(%q) = %s, want %s", host, got, want)
		}
	}
}

func TestHostOf(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://A.b./x": "a.b", "http://a:80": "a", "http://[::1]:80/x": "::1", "http://a{?x}": "a", "http://a?x": "a", "a": "", "http://": "",
	} {
		if got := hostOf(in); got != want {
			t.Errorf("hostOf(%q) = %q, want %q", in, got, want)
		}
	}
}
