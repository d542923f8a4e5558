// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clients runs published MCP clients, unmodified, against a server: the
// TypeScript SDKs, the Inspector and mcp-remote from npm, and the official Go
// SDK. The same table serves the tests on one machine and those on a cluster.
package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Target is a server and the call that a client makes there.
type Target struct {
	// Base is the server's address without an endpoint, such as http://127.0.0.1:8080.
	Base string
	// APIKey is sent as a bearer token; empty for an anonymous server.
	APIKey string
	// Tool and Arguments are the call.
	Tool      string
	Arguments map[string]any
}

// Answer is what a client saw.
type Answer struct {
	Tools   []string `json:"tools"`
	Text    string   `json:"text"`
	IsError bool     `json:"isError"`
}

// Client is one way to connect.
type Client struct {
	// Name says which client it is and which transport it is told to use.
	Name string
	// Run lists the tools and calls one. It ends with its context.
	Run func(ctx context.Context, t Target) (Answer, error)
}

// All lists every client. dir is the folder of package.json, with its
// node_modules installed.
func All(dir string) []Client {
	n := npm{dir: dir}
	return []Client{
		{Name: "typescript-v1-sse", Run: n.script("v1-sse")},
		{Name: "typescript-v1-streamable", Run: n.script("v1-streamable")},
		{Name: "typescript-v2-legacy", Run: n.script("v2-legacy")},
		{Name: "typescript-v2-2026-07-28", Run: n.script("v2-modern")},
		{Name: "inspector-sse", Run: n.inspector("/sse", "--transport", "sse")},
		{Name: "inspector-legacy", Run: n.inspector("/mcp", "--transport", "http", "--protocol-era", "legacy")},
		{Name: "inspector-modern", Run: n.inspector("/mcp", "--transport", "http", "--protocol-era", "modern")},
		{Name: "mcp-remote-sse", Run: n.remote("/sse", "sse-only")},
		{Name: "mcp-remote-streamable", Run: n.remote("/mcp", "http-only")},
		{Name: "go-sdk-sse", Run: runGoSDK(func(t Target, h *http.Client) mcp.Transport {
			return &mcp.SSEClientTransport{Endpoint: t.Base + "/sse", HTTPClient: h}
		})},
		{Name: "go-sdk-streamable", Run: runGoSDK(func(t Target, h *http.Client) mcp.Transport {
			return &mcp.StreamableClientTransport{Endpoint: t.Base + "/mcp", HTTPClient: h}
		})},
	}
}

type npm struct{ dir string }

// command runs a program of node_modules with the Node that is installed
// there, since several clients need a newer one than the machine's.
func (n npm) command(ctx context.Context, name string, args ...string) ([]byte, error) {
	bin := filepath.Join(n.dir, "node_modules", ".bin")
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Dir = n.dir
	// Clients keep catalogs and credentials at home: each gets an empty one.
	home, err := os.MkdirTemp("", "fairlead-clients-")
	if err != nil {
		return nil, fmt.Errorf("failed to create a home for %s: %w", name, err)
	}
	defer os.RemoveAll(home)
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+home, "NO_COLOR=1")
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("failed to run %s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return out, nil
}

func (n npm) script(kind string) func(context.Context, Target) (Answer, error) {
	return func(ctx context.Context, t Target) (Answer, error) {
		args, err := json.Marshal(t.Arguments)
		if err != nil {
			return Answer{}, fmt.Errorf("failed to encode the arguments: %w", err)
		}
		out, err := n.command(ctx, "node", "call.mjs", kind, t.Base, t.Tool, string(args), t.APIKey)
		if err != nil {
			return Answer{}, err
		}
		var a Answer
		if err := json.Unmarshal(out, &a); err != nil {
			return Answer{}, fmt.Errorf("failed to read the answer %q: %w", out, err)
		}
		return a, nil
	}
}

func (n npm) inspector(path string, transport ...string) func(context.Context, Target) (Answer, error) {
	return func(ctx context.Context, t Target) (Answer, error) {
		return n.inspect(ctx, t, append([]string{t.Base + path}, transport...), authorization(t)...)
	}
}

func (n npm) remote(path, transport string) func(context.Context, Target) (Answer, error) {
	return func(ctx context.Context, t Target) (Answer, error) {
		args := []string{t.Base + path, "--allow-http", "--transport", transport}
		args = append(args, authorization(t)...)
		config := map[string]any{"mcpServers": map[string]any{"target": map[string]any{
			"command": filepath.Join(n.dir, "node_modules", ".bin", "mcp-remote"), "args": args,
		}}}
		file, err := os.CreateTemp("", "mcp-remote-*.json")
		if err != nil {
			return Answer{}, fmt.Errorf("failed to create the Inspector's configuration: %w", err)
		}
		defer os.Remove(file.Name())
		if err := errors.Join(json.NewEncoder(file).Encode(config), file.Close()); err != nil {
			return Answer{}, fmt.Errorf("failed to write the Inspector's configuration: %w", err)
		}
		return n.inspect(ctx, t, []string{"--config", file.Name(), "--server", "target"})
	}
}

// inspect lists and calls with the Inspector's command line, one process each.
func (n npm) inspect(ctx context.Context, t Target, server []string, extra ...string) (Answer, error) {
	run := func(args ...string) ([]byte, error) {
		return n.command(ctx, "mcp-inspector", append(append(append([]string{"--cli"}, server...), args...), extra...)...)
	}
	var listed struct {
		Tools []struct{ Name string }
	}
	out, err := run("--method", "tools/list")
	if err != nil {
		return Answer{}, err
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return Answer{}, fmt.Errorf("failed to read the list %q: %w", out, err)
	}
	call := []string{"--method", "tools/call", "--tool-name", t.Tool}
	for name, value := range t.Arguments {
		call = append(call, "--tool-arg", fmt.Sprintf("%s=%v", name, value))
	}
	if out, err = run(call...); err != nil {
		return Answer{}, err
	}
	var result struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return Answer{}, fmt.Errorf("failed to read the result %q: %w", out, err)
	}
	answer := Answer{IsError: result.IsError}
	for _, tool := range listed.Tools {
		answer.Tools = append(answer.Tools, tool.Name)
	}
	for _, content := range result.Content {
		answer.Text += content.Text
	}
	return answer, nil
}

func authorization(t Target) []string {
	if t.APIKey == "" {
		return nil
	}
	return []string{"--header", "Authorization: Bearer " + t.APIKey}
}

func runGoSDK(connect func(Target, *http.Client) mcp.Transport) func(context.Context, Target) (Answer, error) {
	return func(ctx context.Context, t Target) (Answer, error) {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := mcp.NewClient(&mcp.Implementation{Name: "fairlead-test-go-sdk", Version: "1.0.0"}, nil)
		session, err := client.Connect(ctx, connect(t, &http.Client{Transport: bearer{t.APIKey, transport}}), nil)
		if err != nil {
			return Answer{}, fmt.Errorf("failed to connect to %s: %w", t.Base, err)
		}
		defer session.Close()
		var answer Answer
		for tool, err := range session.Tools(ctx, nil) {
			if err != nil {
				return Answer{}, fmt.Errorf("failed to list tools: %w", err)
			}
			answer.Tools = append(answer.Tools, tool.Name)
		}
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: t.Tool, Arguments: t.Arguments})
		if err != nil {
			return Answer{}, fmt.Errorf("failed to call %s: %w", t.Tool, err)
		}
		answer.IsError = result.IsError
		for _, content := range result.Content {
			if text, ok := content.(*mcp.TextContent); ok {
				answer.Text += text.Text
			}
		}
		return answer, nil
	}
}

// bearer adds a bearer token to each request; an empty key adds nothing.
type bearer struct {
	key  string
	next http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.key != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.key)
	}
	return b.next.RoundTrip(r)
}

// CallWithProgress calls a tool without arguments with the official Go SDK and
// runs onProgress for each progress notification.
func CallWithProgress(ctx context.Context, base, tool string, onProgress func()) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "fairlead-test-go-sdk", Version: "1.0.0"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { onProgress() },
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: base + "/mcp"}, nil)
	if err != nil {
		return fmt.Errorf("failed to connect to %s: %w", base, err)
	}
	defer session.Close()
	params := &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}}
	params.SetProgressToken("progress")
	result, err := session.CallTool(ctx, params)
	if err != nil {
		return fmt.Errorf("failed to call %s: %w", tool, err)
	}
	if result.IsError {
		return fmt.Errorf("the tool %s failed: %v", tool, result.Content)
	}
	return nil
}
