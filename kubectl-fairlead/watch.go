// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/client"
)

// listTimeout bounds how long watch waits for a list of tools.
const listTimeout = 30 * time.Second

// watcher holds the flags and the memory of watch.
type watcher struct {
	target   target
	output   string
	logLevel string

	tools map[string]string // name -> digest, of the last list
}

func watchCommand(s streams) *cobra.Command {
	w := &watcher{}
	cmd := &cobra.Command{
		Use:   "watch TARGET",
		Short: "Show what a server says until Ctrl-C, across restarts",
		Long: `Show what a server says until Ctrl-C: when the connection is lost and comes back,
when tools appear, change and vanish, and what the server logs.

A lost connection is tried again for ever, after 1 s, 2 s, 4 s and so on up to
30 s, or later if the server asks for it. With a session, the stream is resumed
after the last event that arrived.

` + targetHelp,
		Example: `  kubectl fairlead watch http://127.0.0.1:8080/mcp --transport streamable
  kubectl fairlead watch shop/orders --api-key-file key.txt -o json`,
		Args: takes("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.run(cmd.Context(), s, args[0])
		},
	}
	w.target.bind(cmd)
	cmd.Flags().StringVarP(&w.output, "output", "o", "text", "text, or json: one object a line")
	cmd.Flags().StringVar(&w.logLevel, "log-level", "info", "least level of the server's log: debug, info, notice, warning, error; none for no logs")
	return cmd
}

func (w *watcher) run(ctx context.Context, s streams, server string) error {
	if err := checkOutput(w.output, "text", "json"); err != nil {
		return err
	}
	o, err := w.target.options(s, server)
	if err != nil {
		return err
	}
	if w.logLevel != "none" {
		o.LogLevel = w.logLevel
	}
	c, err := client.Connect(ctx, o)
	if err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	defer c.Close()
	for event := range c.Events() {
		if closed, ok := event.(client.Closed); ok {
			if closed.Err != nil {
				return w.target.failure(ctx, o, server, closed.Err)
			}
			break
		}
		if err := w.print(s, event); err != nil {
			return err
		}
		switch event.(type) {
		case client.Connected, client.ToolsChanged:
			if err := w.list(ctx, s, c); err != nil {
				return err
			}
		}
	}
	return nil // Ctrl-C is how a watch ends.
}

// list prints what differs from the last list.
func (w *watcher) list(ctx context.Context, s streams, c *client.Client) error {
	listing, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	tools, err := c.Tools(listing)
	if err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C while listing.
		}
		return w.write(s, time.Now(), "tools", cause(err), map[string]any{"error": cause(err)})
	}
	first := w.tools == nil
	before := w.tools
	w.tools = map[string]string{}
	added, changed, removed := []string{}, []string{}, []string{}
	for _, tool := range tools {
		digest := toolDigest(tool)
		w.tools[tool.Name] = digest
		old, ok := before[tool.Name]
		switch {
		case !ok:
			added = append(added, line(tool.Name, 128))
		case old != digest:
			changed = append(changed, line(tool.Name, 128))
		}
	}
	for name := range before {
		if _, ok := w.tools[name]; !ok {
			removed = append(removed, line(name, 128))
		}
	}
	slices.Sort(removed)
	if first {
		return w.write(s, time.Now(), "tools", fmt.Sprintf("%d: %s", len(tools), strings.Join(added, ", ")),
			map[string]any{"tools": added})
	}
	var parts []string
	for _, part := range []struct {
		sign  string
		names []string
	}{{"+", added}, {"~", changed}, {"-", removed}} {
		for _, name := range part.names {
			parts = append(parts, part.sign+name)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return w.write(s, time.Now(), "tools", strings.Join(parts, " "),
		map[string]any{"added": added, "changed": changed, "removed": removed})
}

// toolDigest is equal for equal tools; map keys are sorted by the encoder.
func toolDigest(tool *mcp.Tool) string {
	data, err := json.Marshal(tool)
	if err != nil {
		return tool.Description
	}
	return string(data)
}

// print writes one event.
func (w *watcher) print(s streams, event client.Event) error {
	at := event.When()
	switch e := event.(type) {
	case client.Connected:
		word := "connected"
		if e.Resumed {
			word = "resumed"
		}
		text := fmt.Sprintf("%s %s over %s (MCP %s)", line(e.Server, 64), line(e.ServerVersion, 32), e.Transport, line(e.ProtocolVersion, 32))
		return w.write(s, at, word, text, map[string]any{
			"server": e.Server, "version": e.ServerVersion, "transport": e.Transport, "protocolVersion": e.ProtocolVersion,
		})
	case client.Disconnected:
		retry := e.RetryIn.Round(100 * time.Millisecond)
		return w.write(s, at, "disconnected", fmt.Sprintf("%s; trying again in %s", cause(e.Err), retry),
			map[string]any{"reason": cause(e.Err), "retryInSeconds": e.RetryIn.Seconds()})
	case client.ToolsChanged:
		return w.write(s, at, "list_changed", "the tools changed", nil)
	case client.Log:
		return w.write(s, at, "log", strings.TrimSpace(e.Level+" "+line(e.Logger, 64)+" "+logText(e.Data)),
			map[string]any{"level": e.Level, "logger": e.Logger, "data": e.Data})
	case client.Progress:
		return w.write(s, at, "progress", line(e.Message, 160), map[string]any{"progress": e.Progress, "total": e.Total})
	case client.Dropped:
		return w.write(s, at, "dropped", fmt.Sprintf("%d events, as they came faster than they were printed", e.Count),
			map[string]any{"count": e.Count})
	}
	return nil
}

func logText(data json.RawMessage) string {
	var text string
	if json.Unmarshal(data, &text) == nil {
		return line(text, 400)
	}
	return line(string(data), 400)
}

// write is one line of output in either form.
func (w *watcher) write(s streams, at time.Time, kind, text string, fields map[string]any) error {
	if w.output == "json" {
		object := map[string]any{"time": at.UTC().Format(time.RFC3339Nano), "event": kind}
		maps.Copy(object, fields)
		data, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("failed to encode an event: %w", err)
		}
		_, err = fmt.Fprintf(s.out, "%s\n", data)
		return err
	}
	_, err := fmt.Fprintf(s.out, "%s  %-13s %s\n", at.Format("15:04:05.000"), kind, text)
	return err
}
