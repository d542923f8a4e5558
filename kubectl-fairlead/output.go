// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/client"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// say writes one line for people, apart from the answer itself.
func (s streams) say(format string, args ...any) {
	fmt.Fprintf(s.err, format+"\n", args...)
}

// table aligns rows; the first is the head.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return tw.Flush()
}

// printJSON writes v indented.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// plain makes text from a server harmless for a terminal: it may hold control
// sequences that move the cursor or rewrite what was printed.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || (!unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// line is the first line of s, at most width characters.
func line(s string, width int) string {
	first, _, more := strings.Cut(strings.TrimSpace(plain(s)), "\n")
	first = strings.ReplaceAll(first, "\t", " ")
	runes := []rune(first)
	if len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	if more {
		return first + " …"
	}
	return first
}

// printContent writes the blocks of a result for people.
func printContent(w io.Writer, result *mcp.CallToolResult) error {
	for _, block := range result.Content {
		var text string
		switch b := block.(type) {
		case *mcp.TextContent:
			text = plain(b.Text)
		case *mcp.ImageContent:
			text = fmt.Sprintf("[image %s, %d bytes]", plain(b.MIMEType), len(b.Data))
		case *mcp.AudioContent:
			text = fmt.Sprintf("[audio %s, %d bytes]", plain(b.MIMEType), len(b.Data))
		case *mcp.ResourceLink:
			text = fmt.Sprintf("[resource %s]", plain(b.URI))
		case *mcp.EmbeddedResource:
			text = resourceText(b.Resource)
		default:
			text = fmt.Sprintf("[%T]", block)
		}
		if _, err := fmt.Fprintln(w, strings.TrimSuffix(text, "\n")); err != nil {
			return err
		}
	}
	if len(result.Content) == 0 && result.StructuredContent != nil {
		return printJSON(w, result.StructuredContent)
	}
	return nil
}

func resourceText(r *mcp.ResourceContents) string {
	switch {
	case r == nil:
		return "[resource]"
	case r.Text != "":
		return fmt.Sprintf("[resource %s]\n%s", plain(r.URI), plain(r.Text))
	}
	return fmt.Sprintf("[resource %s %s, %d bytes]", plain(r.URI), plain(r.MIMEType), len(r.Blob))
}

// printTrace writes what a tool sent to its backend.
func printTrace(w io.Writer, t *client.Trace) {
	if t == nil {
		fmt.Fprintln(w, "No trace came. Servers give one under `kubectl fairlead serve`, or with spec.logging.level: Debug;\nonly tools with an HTTP backend have one.")
		return
	}
	fmt.Fprintf(w, "Backend request\n  %s %s\n", plain(t.Method), plain(t.URL))
	for _, name := range sortedKeys(t.Header) {
		fmt.Fprintf(w, "  %s: %s\n", plain(name), plain(t.Header[name]))
	}
	if t.Status == 0 {
		fmt.Fprintln(w, "Backend answer\n  none")
	} else {
		fmt.Fprintf(w, "Backend answer\n  %s, %s\n", status(t.Status), size(t.Bytes))
	}
	fmt.Fprintln(w, "Timings")
	if t.ConnectMillis > 0 {
		fmt.Fprintf(w, "  connected     %s\n", millis(t.ConnectMillis))
	} else {
		fmt.Fprintln(w, "  connected     at once (the connection was reused)")
	}
	if t.FirstByteMillis > 0 {
		fmt.Fprintf(w, "  first byte    %s\n", millis(t.FirstByteMillis))
	}
	fmt.Fprintf(w, "  done          %s\n", millis(t.TotalMillis))
}

func millis(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

func size(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}
