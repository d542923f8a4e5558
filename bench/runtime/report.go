// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Where docs/performance.md holds the table.
const (
	markBegin = "<!-- begin bench: written by make bench FLAGS=-write -->\n"
	markEnd   = "<!-- end bench -->"
)

// report prints the table, and writes it into the document if that is wanted.
func report(ctx context.Context, rows []row, o options) error {
	servers, err := versions(ctx)
	if err != nil {
		return err
	}
	var table bytes.Buffer
	fmt.Fprintf(&table, "Measured %s with %d idle sessions and %d callers: %s; %s; %s.\n\n",
		time.Now().Format(time.DateOnly), o.n, o.callers, runtime.Version(), servers, machine())
	render(&table, rows)
	if _, err := os.Stdout.Write(table.Bytes()); err != nil || !o.write {
		return err
	}
	document := filepath.Join("..", "..", "docs", "performance.md")
	old, err := os.ReadFile(document)
	if err != nil {
		return fmt.Errorf("failed to read the document: %w", err)
	}
	head, rest, begins := strings.Cut(string(old), markBegin)
	_, tail, ends := strings.Cut(rest, markEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table: the lines %q and %q", document, strings.TrimSpace(markBegin), markEnd)
	}
	return os.WriteFile(document, []byte(head+markBegin+"\n"+table.String()+"\n"+markEnd+tail), 0o600)
}

// versions names what was compared.
func versions(ctx context.Context) (string, error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}}",
		"github.com/modelcontextprotocol/go-sdk", "github.com/mark3labs/mcp-go")
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("failed to list the modules that are compared: %w", err)
	}
	names := strings.Fields(string(out))
	return fmt.Sprintf("go-sdk %s, mcp-go %s", names[1], names[3]), nil
}

// machine names what was measured on.
func machine() string {
	model := "unknown processor"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if _, name, ok := strings.Cut(line, "model name\t: "); ok {
				model = strings.TrimSpace(name)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // Left out if it cannot be read.
	return fmt.Sprintf("%d × %s, Linux %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)))
}
