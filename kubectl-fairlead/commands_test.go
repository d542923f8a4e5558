// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// backend is a shop's API that wants its token.
func backend(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Token") != "backend-secret" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":%s,"item":"rope"}`, r.PathValue("id"))
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for i, m := range []string{"packed", "sent", "here"} {
			fmt.Fprintf(w, `{"progress":%d,"total":3,"message":%q}`+"\n", i+1, m)
			_ = http.NewResponseController(w).Flush()
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// shop serves testdata/shop.yaml and returns the URL and the process.
func shop(t *testing.T) (url string, p *process) {
	t.Helper()
	data, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "shop.yaml", strings.ReplaceAll(string(data), "BACKEND", backend(t)))
	p = start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	url = p.out.wait(t, `Streamable HTTP +(http://\S+)`)
	p.out.wait(t, "Ctrl-C ends")
	return url, p
}

func TestCommandsAgainstAServer(t *testing.T) {
	url, p := shop(t)
	t.Run("serve says what to try", func(t *testing.T) { golden(t, "serve.txt", p.out.String()) })
	alice, bob := write(t, "alice", "alice-key-0123456789\n"), write(t, "bob", "bob-key-0123456789")
	arguments := write(t, "args.json", `{"id": 3, "reason": "late"}`)
	tests := []struct {
		name  string
		stdin string
		args  []string
		code  int
	}{
		{name: "tools", args: []string{"tools", url, "--api-key-file", alice}},
		{name: "tools-less-power", args: []string{"tools", url, "--api-key-file", bob}},
		{name: "tools-json", args: []string{"tools", url, "--api-key-file", bob, "-o", "json"}},
		{name: "tools-no-key", args: []string{"tools", url}, code: codeUnreachable},
		{name: "tools-wrong-key", stdin: "guess", args: []string{"tools", url, "--api-key-file", "-"}, code: codeUnreachable},
		{name: "tools-empty-key", args: []string{"tools", url, "--api-key-file", "-"}, code: codeUsage},
		{name: "tools-key-lines", stdin: "one\ntwo\n", args: []string{"tools", url, "--api-key-file", "-"}, code: codeUsage},
		{name: "tools-no-file", args: []string{"tools", url, "--api-key-file", "testdata/no-such-file"}, code: codeUsage},
		{name: "tools-no-endpoint", args: []string{"tools", url + "/elsewhere", "--api-key-file", alice}, code: codeUnreachable},
		{name: "call", args: []string{"call", url, "get_order", "-a", "id=7", "--api-key-file", alice}},
		{name: "call-sse", args: []string{"call", url, "get_order", "-a", "id=7", "--api-key-file", alice, "--transport", "sse"}},
		{name: "call-streamable", args: []string{"call", url, "get_order", "-a", "id=7", "--api-key-file", alice, "--transport", "streamable"}},
		{name: "call-stateless", args: []string{"call", url, "get_order", "-a", "id=7", "--api-key-file", alice, "--transport", "stateless"}},
		{name: "call-json", args: []string{"call", url, "get_order", "-a", "id=7", "--api-key-file", alice, "-o", "json"}},
		{name: "call-progress", args: []string{"call", url, "follow", "--api-key-file", alice}},
		{name: "call-trace", args: []string{"call", url, "get_order", "-a", "id=7", "--api-key-file", alice, "--trace"}},
		{name: "call-trace-static", args: []string{"call", url, "refund", "-a", "id=7", "--api-key-file", alice, "--trace"}},
		{name: "call-args-file", args: []string{"call", url, "refund", "--args", "@" + arguments, "-a", "id=4", "--api-key-file", alice}},
		{name: "call-args-stdin", stdin: `{"id": 5}`, args: []string{"call", url, "refund", "--args", "@-", "--api-key-file", alice}},
		{name: "call-args-broken", args: []string{"call", url, "refund", "--args", `{"id": 5} {}`, "--api-key-file", alice}, code: codeUsage},
		{name: "call-args-array", args: []string{"call", url, "refund", "--args", `[]`, "--api-key-file", alice}, code: codeUsage},
		{name: "call-argument-type", args: []string{"call", url, "get_order", "-a", "id=seven", "--api-key-file", alice}, code: codeUsage},
		{name: "call-argument-missing", args: []string{"call", url, "get_order", "--api-key-file", alice}, code: codeFailed},
		{name: "call-tool-fails", args: []string{"call", url, "broken", "--api-key-file", alice}, code: codeFailed},
		{name: "call-tool-fails-json", args: []string{"call", url, "broken", "--api-key-file", alice, "-o", "json"}, code: codeFailed},
		{name: "call-forbidden", args: []string{"call", url, "refund", "-a", "id=1", "--api-key-file", bob}, code: codeFailed},
		{name: "call-unknown-tool", args: []string{"call", url, "nope", "--api-key-file", alice}, code: codeFailed},
		{name: "call-output", args: []string{"call", url, "broken", "-o", "xml"}, code: codeUsage},
		{name: "transport", args: []string{"call", url, "broken", "--transport", "smoke"}, code: codeUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := command(t, tt.stdin, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			got := seconds.ReplaceAllString("--- stdout\n"+out+"--- stderr\n"+errs, "    0.0s")
			got = agents.ReplaceAllString(timings.ReplaceAllString(got, "  $1 TIME"), "User-Agent: AGENT")
			golden(t, filepath.Join("commands", tt.name+".txt"), got)
			if strings.Contains(out+errs, "backend-secret") || strings.Contains(out+errs, "alice-key-0123456789") {
				t.Error("a secret is in the output")
			}
		})
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("serve ended with code %d after Ctrl-C, want 0; it said:\n%s", code, p.err)
	}
}

func TestTheKeyComesFromTheEnvironment(t *testing.T) {
	url, _ := shop(t)
	t.Setenv(keyVariable, "bob-key-0123456789")
	if code, _, errs := command(t, "", "tools", url); code != 0 {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{name: "no command of that name", args: []string{"dance"}, want: `Error: unknown command "dance" for "kubectl fairlead"`},
		{name: "an unknown flag", args: []string{"tools", "--dance"}, want: "Error: unknown flag: --dance: `kubectl fairlead tools --help` lists the flags"},
		{name: "no target", args: []string{"tools"}, want: "Error: tools takes TARGET, but was given nothing: `kubectl fairlead tools --help` has examples"},
		{name: "too few", args: []string{"call", "shop/orders"}, want: "Error: call takes TARGET and TOOL, but was given shop/orders: `kubectl fairlead call --help` has examples"},
		{name: "a file without -f", args: []string{"lint", "ok.yaml"}, want: "Error: lint takes its files by -f: kubectl fairlead lint -f ok.yaml"},
		{name: "a URL without its scheme", args: []string{"call", "127.0.0.1:8080/mcp", "greet"}, want: `Error: "127.0.0.1:8080/mcp" has no scheme: write http://127.0.0.1:8080/mcp`},
		{name: "history of nothing", args: []string{"history"}, want: "Error: history takes NAME, but was given nothing: `kubectl fairlead history --help` has examples"},
		{name: "no file", args: []string{"lint"}, want: `Error: required flag(s) "filename" not set`},
		{name: "two namespaces", args: []string{"tools", "a/b", "-n", "c"}, want: "Error: a/b and --namespace c name two namespaces"},
		{name: "no name", args: []string{"tools", "a/b/c"}, want: `Error: "a/b/c" is neither NAME nor NAMESPACE/NAME of an MCPServer`},
		{name: "a URL of another kind", args: []string{"tools", "ftp://a"}, want: `Error: the URL "ftp://a" is not an address such as http://127.0.0.1:8080/mcp`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, "", tt.args...)
			if code != codeUsage || strings.TrimSpace(errs) != tt.want || out != "" {
				t.Errorf("code %d, %q, want %d, %q", code, out+errs, codeUsage, tt.want)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	code, _, errs := command(t, "", "tools", "http://127.0.0.1:1/mcp", "--wait", "100ms")
	want := "Error: http://127.0.0.1:1/mcp did not answer within 100ms (connection refused)\n"
	if code != codeUnreachable || !strings.HasSuffix(errs, want) {
		t.Errorf("code %d, %q, want %d, %q", code, errs, codeUnreachable, want)
	}
}
