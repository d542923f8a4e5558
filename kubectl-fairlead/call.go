// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/client"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/arguments"
)

// maxArguments bounds the arguments of a call, in bytes, as servers do.
const maxArguments = 4 << 20

// caller holds the flags of call.
type caller struct {
	target target

	pairs   []string
	json    string
	output  string
	trace   bool
	retry   bool
	timeout time.Duration
}

func callCommand(s streams) *cobra.Command {
	c := &caller{}
	cmd := &cobra.Command{
		Use:   "call TARGET TOOL",
		Short: "Call a tool and print its answer",
		Long: `Call a tool and print its answer; progress goes to standard error as it comes.

The values of -a are typed by the tool's schema: -a limit=5 is a number where the
schema says so, and arrays and objects are written as JSON.

If the connection breaks, a call that has left is not sent again, unless the tool
declares itself read-only or idempotent and --retry is given.

` + targetHelp,
		Example: `  kubectl fairlead call http://127.0.0.1:8080/mcp hello -a name=you
  kubectl fairlead call shop/orders list_orders -a status=open -a limit=5 --trace
  kubectl fairlead call shop/orders refund_order --args @refund.json -o json`,
		Args: takes("TARGET", "TOOL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), s, args[0], args[1])
		},
	}
	c.target.bind(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&c.pairs, "argument", "a", nil, "one argument, as key=value; may be repeated")
	f.StringVar(&c.json, "args", "", "all arguments as a JSON object, @FILE, or @- for standard input; -a adds to them")
	f.StringVarP(&c.output, "output", "o", "text", "text or json")
	f.BoolVar(&c.trace, "trace", false, "show the request that the tool made to its backend")
	f.BoolVar(&c.retry, "retry", false, "send a call again that was cut, if the tool declares that this is safe")
	f.DurationVar(&c.timeout, "timeout", 5*time.Minute, "how long to wait for the answer")
	return cmd
}

func (c *caller) run(ctx context.Context, s streams, server, tool string) error {
	if err := checkOutput(c.output, "text", "json"); err != nil {
		return err
	}
	base, err := c.base(s.in)
	if err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	conn, err := c.target.connect(ctx, s, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	calling, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	args := base
	if len(c.pairs) > 0 {
		schema, err := schemaOf(calling, conn, tool)
		if err != nil {
			return c.failure(ctx, server, err)
		}
		if args, err = arguments.Parse(schema, base, c.pairs); err != nil {
			return &exitError{code: codeUsage, err: err}
		}
	}
	began := time.Now()
	result, err := conn.Do(calling, client.Call{
		Name: tool, Arguments: args, Trace: c.trace, Retry: c.retry,
		OnProgress: func(p client.Progress) { s.say("%s", progressLine(p, time.Since(began))) },
	})
	if err != nil {
		return c.failure(ctx, server, err)
	}
	return c.print(s, result)
}

// base reads --args.
func (c *caller) base(in io.Reader) (map[string]any, error) {
	if c.json == "" {
		return map[string]any{}, nil
	}
	data := []byte(c.json)
	if name, ok := strings.CutPrefix(c.json, "@"); ok {
		source := in
		if name != "-" {
			file, err := os.Open(name) //nolint:gosec // G304: reading the file that the user names is what the flag is for.
			if err != nil {
				return nil, fmt.Errorf("failed to read the arguments: %w", err)
			}
			defer file.Close()
			source = file
		}
		var err error
		if data, err = io.ReadAll(io.LimitReader(source, maxArguments+1)); err != nil {
			return nil, fmt.Errorf("failed to read the arguments: %w", err)
		}
	}
	if len(data) > maxArguments {
		return nil, fmt.Errorf("the arguments have more than %d bytes", maxArguments)
	}
	var out map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	err := decoder.Decode(&out)
	if other, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("the arguments are not a JSON object: they are of type %s", other.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("the arguments are not a JSON object: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the arguments are not one JSON object: something follows it")
	}
	return out, nil
}

// schemaOf finds the tool's schema. A tool that is not listed has none: whether
// it may be called is for the server to say.
func schemaOf(ctx context.Context, c *client.Client, name string) (any, error) {
	tools, err := c.Tools(ctx)
	if err != nil {
		return nil, err
	}
	for _, tool := range tools {
		if tool.Name == name {
			return tool.InputSchema, nil
		}
	}
	return map[string]any{}, nil
}

// print writes the answer; a tool's own error goes to standard error.
func (c *caller) print(s streams, result *client.Result) error {
	if c.output == "json" {
		if err := printJSON(s.out, result.CallToolResult); err != nil {
			return err
		}
	} else {
		w := s.out
		if result.IsError {
			w = s.err
			fmt.Fprint(w, "The tool failed: ")
		}
		if err := printContent(w, result.CallToolResult); err != nil {
			return err
		}
	}
	if c.trace {
		printTrace(s.err, result.Trace)
	}
	if result.IsError {
		return &exitError{code: codeFailed}
	}
	return nil
}

// failure gives an error its exit code and its next act.
func (c *caller) failure(ctx context.Context, server string, err error) error {
	if ctx.Err() != nil {
		return &exitError{code: codeInterrupted, err: ctx.Err()}
	}
	rpc, ok := errors.AsType[*jsonrpc.Error](err)
	switch {
	case ok && rpc.Code == jsonrpc.CodeInvalidParams && strings.Contains(rpc.Message, "unknown tool"):
		// As for a tool that is switched off: the server answers, and runs nothing.
		err = fmt.Errorf("%s says: %s: `kubectl fairlead tools %s` lists what it offers to you", server, plain(rpc.Message), server)
		return &exitError{code: codeFailed, err: err}
	case ok:
		return &exitError{code: codeUnreachable, err: fmt.Errorf("the server refused the call: %s (code %d)", plain(rpc.Message), rpc.Code)}
	case errors.Is(err, client.ErrOutcomeUnknown):
		return &exitError{code: codeUnknown, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s: the tool may still be running; --timeout waits longer", c.timeout)
		return &exitError{code: codeUnknown, err: err}
	}
	return c.target.failure(ctx, clientOptions(&c.target), server, err)
}

// clientOptions are the options as far as failure needs them.
func clientOptions(t *target) client.Options {
	key := ""
	if t.keyFile != "" || os.Getenv(keyVariable) != "" {
		key = "given"
	}
	return client.Options{APIKey: key}
}

// progressLine is one message of progress for people.
func progressLine(p client.Progress, since time.Duration) string {
	parts := []string{fmt.Sprintf("%7.1fs", since.Seconds())}
	switch {
	case p.Total > 0:
		parts = append(parts, fmt.Sprintf("%3.0f%%", 100*p.Progress/p.Total))
	default:
		parts = append(parts, fmt.Sprintf("%4g", p.Progress))
	}
	if p.Message != "" {
		parts = append(parts, line(p.Message, 160))
	}
	return strings.Join(parts, "  ")
}

// checkOutput refuses an unknown -o.
func checkOutput(got string, allowed ...string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return &exitError{code: codeUsage, err: fmt.Errorf("unknown output %q: use %s", got, strings.Join(allowed, " or "))}
}
