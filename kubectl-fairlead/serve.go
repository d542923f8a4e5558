// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/changes"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/local"
	"fairlead.dev/fairlead/runtime/config"
)

func serveCommand(s streams) *cobra.Command {
	var (
		o       local.Options
		verbose bool
	)
	cmd := &cobra.Command{
		Use:   "serve -f FILE",
		Short: "Run the MCPServer of a manifest on this machine, without a cluster",
		Long: `Run the MCPServer of a manifest on this machine, without a cluster, by the same
code that serves it in a pod. Secrets and ConfigMaps in the same file are used.

Edits of the file apply at once: clients stay connected and are told that the
tools changed. An edit that is wrong is reported, and what was served before goes
on. Tools may call backends on this machine, and calls may ask for a trace
(kubectl fairlead call --trace).`,
		Example: `  kubectl fairlead serve -f config/samples/hello.yaml
  kubectl fairlead serve -f servers.yaml --name orders --listen 127.0.0.1:9000`,
		Args: onlyFiles,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			o.Logger = slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
			o.Version = buildVersion()
			return serve(cmd.Context(), s, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.File, "filename", "f", "", "file with the MCPServer and its Secrets")
	f.StringVar(&o.Name, "name", "", "which MCPServer, when the file has several")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address for clients")
	f.StringVar(&o.AdminListen, "admin-listen", "127.0.0.1:8081", "address for /healthz, /readyz, /status and /metrics")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what happens underneath to standard error")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // The flag is defined a few lines above.
	}
	return cmd
}

func serve(ctx context.Context, s streams, o local.Options) error {
	var mu sync.Mutex // Lines of different goroutines must not mix.
	o.OnReady = func(r local.Ready) {
		mu.Lock()
		defer mu.Unlock()
		announce(s, o, r)
	}
	o.OnEdit = func(e local.Edit) {
		mu.Lock()
		defer mu.Unlock()
		reportEdit(s, o.File, e)
	}
	err := local.Serve(ctx, o)
	refused, ok := errors.AsType[*local.RefusedError](err)
	switch {
	case ok:
		return refuse(s, refused.Problems)
	case errors.Is(err, syscall.EADDRINUSE):
		return &exitError{code: codeUsage, err: fmt.Errorf("%w: choose another address by --listen or --admin-listen", err)}
	case err != nil:
		return &exitError{code: codeUsage, err: err}
	}
	return nil // Ctrl-C is how it ends.
}

// announce says what serves and what to try.
func announce(s streams, o local.Options, r local.Ready) {
	base := "http://" + reachable(r.Listen)
	path := r.Program.Server.Exposure.Path
	url := base + path + "/mcp"
	fmt.Fprintf(s.out, "%s serves %s, revision %s\n\n", r.Server.Name, count(len(r.Program.Tools), "tool"), r.Revision)
	rows := [][]string{{"  Streamable HTTP", url}}
	if r.Program.Server.Transports.SSE.Mode != "Disabled" {
		rows = append(rows, []string{"  HTTP+SSE", base + path + "/sse"})
	}
	admin := "http://" + reachable(r.Admin)
	rows = append(rows, []string{"  Status, metrics", admin + "/status, " + admin + "/metrics"})
	_ = table(s.out, rows)
	fmt.Fprintln(s.out)
	_ = table(s.out, indent(toolRows(listed(r.Program))))
	for _, w := range r.Warnings {
		fmt.Fprintln(s.out, "\nWarning:", w)
	}
	fmt.Fprintln(s.out, "\nTry, in another terminal:")
	self := selfCommand()
	key := ""
	if keys := r.Server.Spec.Auth.APIKeys; keys != nil && r.Server.Spec.Auth.AnonymousAccess != fairleadv1alpha1.AccessAllowed {
		key = " --api-key-file KEY"
		fmt.Fprintf(s.out, "  # KEY is a file with a key of Secret %s\n", keys.SecretRef.Name)
	}
	if example := callExample(r.Program); example != "" {
		fmt.Fprintf(s.out, "  %s call %s %s%s\n", self, url, example, key)
	}
	fmt.Fprintf(s.out, "  %s watch %s%s\n", self, url, key)
	header := ""
	if key != "" {
		header = ` --header "Authorization: Bearer $(cat KEY)"`
	}
	fmt.Fprintf(s.out, "  npx @modelcontextprotocol/inspector --cli %s --transport http --method tools/list%s\n", url, header)
	fmt.Fprintf(s.out, "\nEdit %s: changes apply at once and nobody is disconnected. Ctrl-C ends.\n", o.File)
}

// reachable is an address that a client on this machine can use.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func indent(rows [][]string) [][]string {
	for _, row := range rows {
		row[0] = "  " + row[0]
	}
	return rows
}

// selfCommand is how the user started this program.
func selfCommand() string {
	name := os.Args[0]
	switch {
	case strings.Contains(name, "go-build"):
		return "go run ./kubectl-fairlead"
	case filepath.Base(name) == "kubectl-fairlead" && !strings.HasPrefix(name, "bin/") && !strings.HasPrefix(name, "./"):
		return "kubectl fairlead"
	}
	return name
}

// listed gives the tools as clients see them.
func listed(p *config.Program) []*mcp.Tool {
	var tools []*mcp.Tool
	for _, t := range p.Tools {
		tool := &mcp.Tool{Name: t.Config.Name, Description: t.Config.Description, InputSchema: t.ListSchema}
		if a := t.Config.Annotations; a != nil {
			tool.Annotations = &mcp.ToolAnnotations{
				ReadOnlyHint: a.ReadOnlyHint != nil && *a.ReadOnlyHint, DestructiveHint: a.DestructiveHint,
				IdempotentHint: a.IdempotentHint != nil && *a.IdempotentHint,
			}
		}
		tools = append(tools, tool)
	}
	return tools
}

// callExample is a tool with arguments that its schema takes, as far as can be
// guessed: a read-only one, if there is any.
func callExample(p *config.Program) string {
	tools := listed(p)
	if len(tools) == 0 {
		return ""
	}
	best := tools[0]
	for _, t := range tools {
		if t.Annotations != nil && t.Annotations.ReadOnlyHint {
			best = t
			break
		}
	}
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
	}
	raw, ok := best.InputSchema.(json.RawMessage)
	if !ok || json.Unmarshal(raw, &schema) != nil {
		return best.Name
	}
	parts := []string{best.Name}
	for _, name := range schema.Required {
		parts = append(parts, "-a "+quote(name+"="+sampleValue(name, schema.Properties[name])))
	}
	return strings.Join(parts, " ")
}

// sampleValue guesses a value.
func sampleValue(name string, raw json.RawMessage) string {
	var property struct {
		Type     string            `json:"type"`
		Enum     []json.RawMessage `json:"enum"`
		Examples []json.RawMessage `json:"examples"`
		Default  json.RawMessage   `json:"default"`
		Minimum  json.RawMessage   `json:"minimum"`
	}
	if json.Unmarshal(raw, &property) != nil {
		return "VALUE"
	}
	for _, candidates := range [][]json.RawMessage{property.Examples, {property.Default}, property.Enum, {property.Minimum}} {
		if len(candidates) > 0 && len(candidates[0]) > 0 {
			return strings.Trim(string(bytes.TrimSpace(candidates[0])), `"`)
		}
	}
	switch {
	case property.Type == "integer", property.Type == "number":
		return "1"
	case property.Type == "boolean":
		return "true"
	case property.Type == "array":
		return "[]"
	case property.Type == "object":
		return "{}"
	case name == "name":
		return "you"
	case strings.HasSuffix(name, "id"):
		return "1001"
	}
	return "hello"
}

// quote makes a word of a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._=/:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// reportEdit says what became of an edit.
func reportEdit(s streams, file string, e local.Edit) {
	if e.Err != nil {
		for l := range strings.SplitSeq(strings.TrimSpace(e.Err.Error()), "\n") {
			s.say("%s", plain(l))
		}
		s.say("%s is not applied: revision %s keeps serving.", file, e.Revision)
		return
	}
	fmt.Fprintf(s.out, "Applied %s, revision %s: %s\n", file, e.Revision, difference(e))
	for _, w := range e.Warnings {
		fmt.Fprintln(s.out, "Warning:", w)
	}
}

// difference names what differs.
func difference(e local.Edit) string {
	var parts []string
	spec, err := changes.Between(e.OldSpec, e.NewSpec)
	switch {
	case err != nil:
		parts = append(parts, err.Error())
	case !spec.Empty():
		parts = append(parts, spec.Summary())
	}
	if len(e.Secrets) > 0 {
		parts = append(parts, "contents of "+strings.Join(e.Secrets, ", "))
	}
	if len(parts) == 0 {
		return "as before"
	}
	return strings.Join(parts, "; ")
}
