// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fairlead.dev/fairlead/client"
)

var (
	seconds = regexp.MustCompile(`(?m)^ +\d+\.\ds`)
	timings = regexp.MustCompile(`(?m)^ {2}(connected|first byte|done) .*$`)
	agents  = regexp.MustCompile(`User-Agent: .*`)
)

const hello = `apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: hello}
spec:
  tools:
  - name: greet
    description: Greet.
    static: {content: [{text: Hello}]}
  auth: {anonymousAccess: Allowed}
`

// TestEditsApplyLive is what serve is for: a client that is connected learns of
// an edit, a broken edit changes nothing, and Ctrl-C leaves no file behind.
func TestEditsApplyLive(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	file := write(t, "hello.yaml", hello)
	p := start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	url := p.out.wait(t, `Streamable HTTP +(http://\S+)`)
	for _, transport := range []client.Transport{client.SSE, client.Streamable, client.Stateless} {
		c, err := client.Connect(t.Context(), client.Options{URL: url, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		rewrite(t, file, strings.ReplaceAll(hello, "greet", "greet_"+string(transport)))
		for event := range c.Events() {
			if lost, ok := event.(client.Disconnected); ok {
				t.Fatalf("%s was disconnected by an edit: %v", transport, lost.Err)
			}
			if _, ok := event.(client.ToolsChanged); !ok {
				continue
			}
			tools, err := c.Tools(t.Context())
			if err != nil || len(tools) != 1 {
				t.Fatalf("Tools = %v, %v after the edit for %s", tools, err, transport)
			}
			// Who begins to listen shortly after an edit is told of that one too.
			if tools[0].Name == "greet_"+string(transport) {
				break
			}
		}
		p.out.wait(t, regexp.QuoteMeta("+greet_"+string(transport)))
	}

	rewrite(t, file, strings.ReplaceAll(hello, "text: Hello", `text: "${nobody}"`))
	p.err.wait(t, `hello.yaml: MCPServer hello: spec.tools\[0\].static.content\[0\].text: column 3: undeclared reference to 'nobody'`)
	p.err.wait(t, `hello.yaml is not applied: revision [0-9a-f]{16} keeps serving.`)
	rewrite(t, file, "nonsense")
	p.err.wait(t, `hello.yaml: document 1: this is not a Kubernetes object`)
	code, _, errs := command(t, "", "call", url, "greet_sse")
	if !regexp.MustCompile(`says: unknown tool "greet_sse": it was removed by a change of this server at .*; list the tools again`).MatchString(errs) || code != codeFailed {
		t.Errorf("a tool that was removed: code %d, %s", code, errs)
	}
	if code, out, errs := command(t, "", "call", url, "greet_stateless"); code != 0 || out != "Hello\n" {
		t.Errorf("after broken edits: code %d, %s%s", code, out, errs)
	}

	rewrite(t, file, strings.ReplaceAll(hello, "Hello", "Good day"))
	p.out.wait(t, `Applied \S*hello.yaml, revision [0-9a-f]{16}: \+greet -greet_stateless`)
	if code, out, errs := command(t, "", "call", url, "greet"); code != 0 || out != "Good day\n" {
		t.Errorf("after the mended edit: code %d, %s%s", code, out, errs)
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("exit code %d after Ctrl-C: %s", code, p.err)
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKeysInTheFileAreLive(t *testing.T) {
	t.Parallel()
	text := strings.Replace(hello, "anonymousAccess: Allowed", "apiKeys: {secretRef: {name: keys}}", 1)
	key := func(k string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {me: " + k + "}\n---\n" + text
	}
	file := write(t, "hello.yaml", key("first-key-0123456789"))
	p := start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	url := p.out.wait(t, `Streamable HTTP +(http://\S+)`)
	if code, _, errs := command(t, "first-key-0123456789", "call", url, "greet", "--api-key-file", "-"); code != 0 {
		t.Fatalf("the first key: code %d: %s", code, errs)
	}
	rewrite(t, file, strings.Replace(key("second-key-0123456789"), "Greet.", "Greets.", 1))
	p.out.wait(t, "revision [0-9a-f]{16}: ~greet; contents of keys")
	if code, _, errs := command(t, "second-key-0123456789", "call", url, "greet", "--api-key-file", "-"); code != 0 {
		t.Errorf("the second key: code %d: %s", code, errs)
	}
	if code, _, _ := command(t, "first-key-0123456789", "call", url, "greet", "--api-key-file", "-"); code != codeUnreachable {
		t.Errorf("the first key still works: code %d", code)
	}
	rewrite(t, file, strings.Replace(key("third-key-0123456789"), "Greet.", "Greets.", 1))
	p.out.wait(t, "revision [0-9a-f]{16}: contents of keys\n")
	rewrite(t, file, strings.Replace(strings.Replace(key("third-key-0123456789"), "Greet.", "Greets.", 1), "stringData: {me: third-key-0123456789}", "stringData: {}", 1))
	p.out.wait(t, `Warning: Secret "keys" has no entries: no API key will be accepted`)
	p.stop(t)
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	two := hello + "---\n" + strings.ReplaceAll(hello, "name: hello", "name: second")
	withKeys := strings.Replace(hello, "anonymousAccess: Allowed", "apiKeys: {secretRef: {name: keys}}", 1)
	tests := []struct {
		name string
		text string
		args []string
		code int // codeFailed when it is 0
		want string
	}{
		{name: "everybody from everywhere", text: hello, args: []string{"--listen", "0.0.0.0:0"}, want: "FILE: MCPServer hello: spec.auth.anonymousAccess: Allowed lets everybody in who reaches this machine, and --listen 0.0.0.0:0 is not loopback: listen on 127.0.0.1, or set apiKeys and Denied"},
		{name: "everybody by no host", text: hello, args: []string{"--listen", ":0"}, want: "FILE: MCPServer hello: spec.auth.anonymousAccess: Allowed lets everybody in who reaches this machine, and --listen :0 is not loopback: listen on 127.0.0.1, or set apiKeys and Denied"},
		{name: "several", text: two, want: "FILE: it has 2 MCPServers: choose one by --name: hello, second"},
		{name: "none of the name", text: two, args: []string{"--name", "third"}, want: `FILE: there is no MCPServer "third" in it, only hello, second`},
		{name: "no YAML", text: "a: [", want: "FILE: document 1: yaml: line 1: did not find expected node content"},
		{name: "none at all", text: "", want: "FILE: there is no MCPServer in it"},
		{name: "wrong", text: strings.Replace(hello, "static:", "statik:", 1), want: "FILE: MCPServer hello: spec.tools[0].statik: unknown field\nFILE: MCPServer hello: spec.tools[0]: Invalid value: exactly one of the fields in [http static] must be set"},
		{name: "an address that is none", text: withKeys, args: []string{"--listen", "20082"}, code: codeUsage, want: "Error: --listen 20082 is no address: write HOST:PORT, such as 127.0.0.1:20082"},
		{name: "no port to listen on", text: hello, args: []string{"--listen", ":"}, want: "FILE: MCPServer hello: spec.auth.anonymousAccess: Allowed lets everybody in who reaches this machine, and --listen : is not loopback: listen on 127.0.0.1, or set apiKeys and Denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := write(t, "hello.yaml", tt.text)
			code, out, errs := command(t, "", append([]string{"serve", "-f", file, "--admin-listen", "127.0.0.1:0"}, tt.args...)...)
			got := strings.TrimSpace(strings.ReplaceAll(errs, file, "FILE"))
			if want := cmp.Or(tt.code, codeFailed); code != want || got != tt.want || out != "" {
				t.Errorf("code %d, %q, want %d, %q", code, out+got, want, tt.want)
			}
		})
	}
}

// TestServeCannotBegin: a file that is not there and a port that is taken are no
// findings.
func TestServeCannotBegin(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, _, errs := command(t, "", "serve", "-f", write(t, "hello.yaml", hello), "--listen", taken.Addr().String(), "--admin-listen", "127.0.0.1:0")
	if code != codeUsage || !strings.Contains(errs, "choose another address by --listen") {
		t.Errorf("a taken port: code %d, %q", code, errs)
	}
	code, _, errs = command(t, "", "serve", "-f", "testdata/nothing.yaml")
	if want := "testdata/nothing.yaml: no such file or directory\n"; code != codeUsage || errs != want {
		t.Errorf("no file: code %d, %q, want %d, %q", code, errs, codeUsage, want)
	}
}

func TestWatchSurvivesARestart(t *testing.T) {
	t.Parallel()
	file := write(t, "hello.yaml", hello)
	p := start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	url := p.out.wait(t, `Streamable HTTP +(http://\S+)`)
	w := start(t, "watch", url, "--transport", "streamable")
	w.out.wait(t, `connected +hello .* over streamable \(MCP 2025-11-25\)`)
	w.out.wait(t, `tools +1: greet`)
	p.stop(t)
	w.out.wait(t, `disconnected +.*; trying again in `)
	rewrite(t, file, strings.ReplaceAll(hello, "greet", "welcome"))
	again := start(t, "serve", "-f", file, "--listen", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp"), "--admin-listen", "127.0.0.1:0")
	w.out.wait(t, `(?s)disconnected .*\sconnected .*tools +\+welcome -greet`)
	if code := w.stop(t); code != 0 {
		t.Errorf("watch ended with code %d after Ctrl-C, want 0", code)
	}
	again.stop(t)
}

func TestWatchJSON(t *testing.T) {
	t.Parallel()
	file := write(t, "hello.yaml", hello)
	p := start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	url := p.out.wait(t, `Streamable HTTP +(http://\S+)`)
	w := start(t, "watch", url, "-o", "json")
	w.out.wait(t, `"event":"tools",.*"tools":\["greet"\]`)
	rewrite(t, file, strings.ReplaceAll(hello, "Greet.", "Greets."))
	w.out.wait(t, `\{"added":\[\],"changed":\["greet"\],"event":"tools","removed":\[\],"time":"[^"]+"\}`)
	w.stop(t)
	p.stop(t)
}

func TestWatchEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	text := strings.Replace(hello, "anonymousAccess: Allowed", "apiKeys: {secretRef: {name: keys}}", 1)
	p := start(t, "serve", "-f", write(t, "hello.yaml", text), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	url := p.out.wait(t, `Streamable HTTP +(http://\S+)`)
	p.out.wait(t, `Warning: Secret "keys" is not in the file: no API key will be accepted`)
	code, _, errs := command(t, "", "watch", url)
	if code != codeUnreachable || !strings.Contains(errs, "wants an API key") {
		t.Errorf("code %d, %q, want %d", code, errs, codeUnreachable)
	}
	p.stop(t)
}

func TestSamplesServe(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../config/samples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(file); err != nil {
				t.Fatal(err)
			}
			p := start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
			p.out.wait(t, "Ctrl-C ends")
			if code := p.stop(t); code != 0 {
				t.Errorf("exit code %d: %s", code, p.err)
			}
		})
	}
}

func TestLintAndServeNameOneRevision(t *testing.T) {
	t.Parallel()
	file := write(t, "hello.yaml", hello)
	_, out, _ := command(t, "", "lint", "-f", file)
	p := start(t, "serve", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if got := p.out.wait(t, `serves 1 tool, revision ([0-9a-f]{16})`); !strings.Contains(out, "revision "+got) {
		t.Errorf("serve says revision %s, lint %s", got, out)
	}
	p.out.wait(t, "Ctrl-C ends")
	p.stop(t)
}
