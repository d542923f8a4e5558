// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestLint(t *testing.T) {
	t.Parallel()
	wrong := strings.Replace(hello, "static:", "statik:", 1)
	tests := []struct {
		name  string
		stdin string
		args  []string
		code  int
		out   string
		errs  string
	}{
		{name: "right", stdin: hello, args: []string{"-f", "-"}, out: "-: MCPServer hello: ok, 1 tool, revision REVISION\n"},
		{
			name: "wrong", stdin: wrong, args: []string{"-f", "-"}, code: codeFailed,
			out: "-: MCPServer hello: spec.tools[0].statik: unknown field\n-: MCPServer hello: spec.tools[0]: Invalid value: exactly one of the fields in [http static] must be set\n",
		},
		{
			name: "one of two", stdin: hello + "---\n" + strings.ReplaceAll(wrong, "name: hello", "name: second"), args: []string{"-f", "-"}, code: codeFailed,
			out: "-: MCPServer second: spec.tools[0].statik: unknown field\n-: MCPServer second: spec.tools[0]: Invalid value: exactly one of the fields in [http static] must be set\n-: MCPServer hello: ok, 1 tool, revision REVISION\n",
		},
		{
			name: "a backend on this machine", stdin: strings.Replace(hello, "static: {content: [{text: Hello}]}", "http: {url: http://127.0.0.1:9/}", 1), args: []string{"-f", "-"}, code: codeFailed,
			out: "-: MCPServer hello: spec.tools[0].http.url: the host \"127.0.0.1\" is this machine (loopback), which backends must never be: name a Service of the cluster; only `kubectl fairlead serve` lets tools call this machine\n",
		},
		{name: "no YAML", stdin: "a: [", args: []string{"-f", "-"}, code: codeFailed, out: "-: document 1: yaml: line 1: did not find expected node content\n"},
		{
			name: "misspelt kind", stdin: "apiVersion: fairlead.dev/v1alpha1\nkind: MCPSever\nmetadata: {name: a}\n", args: []string{"-f", "-"}, code: codeFailed,
			out: `-: MCPSever a: kind: "MCPSever" is no kind of fairlead.dev: use MCPServer` + "\n",
		},
		{
			name: "no server as JSON", stdin: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", args: []string{"-f", "-", "-o", "json"}, code: codeUsage,
			out: "{\n  \"ok\": false,\n  \"servers\": [],\n  \"problems\": []\n}\n", errs: "Error: there is no MCPServer in what was given\n",
		},
		{name: "no server", stdin: "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", args: []string{"-f", "-"}, code: codeUsage, errs: "Error: there is no MCPServer in what was given\n"},
		{name: "no file", args: []string{"-f", "testdata/nothing.yaml"}, code: codeUsage, out: "testdata/nothing.yaml: no such file or directory\n"},
		{name: "an unknown output", args: []string{"-f", "-", "-o", "xml"}, code: codeUsage, errs: "Error: unknown output \"xml\": use text or json\n"},
		{
			name: "JSON", stdin: wrong, args: []string{"-f", "-", "-o", "json"}, code: codeFailed,
			out: `{
  "ok": false,
  "servers": [
    {
      "file": "-",
      "object": "MCPServer hello",
      "ok": false
    }
  ],
  "problems": [
    {
      "file": "-",
      "object": "MCPServer hello",
      "path": "spec.tools[0].statik",
      "message": "unknown field"
    },
    {
      "file": "-",
      "object": "MCPServer hello",
      "path": "spec.tools[0]",
      "message": "Invalid value: exactly one of the fields in [http static] must be set"
    }
  ]
}
`,
		},
		{
			name: "JSON of a right one", stdin: hello, args: []string{"-f", "-", "-o", "json"},
			out: "{\n  \"ok\": true,\n  \"servers\": [\n    {\n      \"file\": \"-\",\n      \"object\": \"MCPServer hello\",\n      \"ok\": true,\n      \"tools\": 1,\n      \"revision\": \"REVISION\"\n    }\n  ],\n  \"problems\": []\n}\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, tt.stdin, append([]string{"lint"}, tt.args...)...)
			out = revision.ReplaceAllString(out, "REVISION")
			if code != tt.code || out != tt.out || errs != tt.errs {
				t.Errorf("code %d\n%s%s\nwant %d\n%s%s", code, out, errs, tt.code, tt.out, tt.errs)
			}
		})
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	code, out, errs := command(t, hello, "render", "-f", "-", "--runtime-image", "example.com/runtime:v1", "--default-replicas", "3")
	if code != 0 || errs != "" {
		t.Fatalf("code %d: %s", code, errs)
	}
	for _, want := range []string{
		"kind: ServiceAccount", "kind: ConfigMap", "kind: Service\n", "kind: Deployment",
		"image: example.com/runtime:v1", "replicas: 3", "name: hello-mcp\n", "server.yaml: |",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "kind: Ingress") || strings.Contains(out, "status:") {
		t.Errorf("there is more than the operator applies:\n%s", out)
	}
	code, again, _ := command(t, out, "lint", "-f", "-")
	if code != codeUsage {
		t.Errorf("what is rendered does not read as objects: %s", again)
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	code, out, errs := command(t, strings.Replace(hello, "static:", "statik:", 1), "render", "-f", "-")
	if code != codeFailed || out != "" || !strings.HasPrefix(errs, "-: MCPServer hello: spec.tools[0].statik: unknown field\n") {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}
