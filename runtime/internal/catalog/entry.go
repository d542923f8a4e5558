// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"fairlead.dev/fairlead/runtime/config"
)

// Flavour is which of a tool's fields a revision of MCP knows.
type Flavour uint8

const (
	// Flavour2024 is 2024-11-05: name, description and inputSchema.
	Flavour2024 Flavour = iota
	// Flavour2025March is 2025-03-26: annotations too.
	Flavour2025March
	// Flavour2025June is 2025-06-18 and later: title and outputSchema too.
	Flavour2025June

	flavours = 3
)

// encodeEntries encodes a tool's entry in tools/list once per flavour.
func encodeEntries(t *config.CompiledTool) ([flavours][]byte, error) {
	var entries [flavours][]byte
	input, err := oneLine(t.ListSchema)
	if err != nil {
		return entries, fmt.Errorf("failed to encode inputSchema: %w", err)
	}
	var output []byte
	if t.Config.OutputSchema != nil {
		if output, err = oneLine(t.Config.OutputSchema); err != nil {
			return entries, fmt.Errorf("failed to encode outputSchema: %w", err)
		}
	}
	var annotations []byte
	if t.Config.Annotations != nil {
		if annotations, err = json.Marshal(t.Config.Annotations); err != nil {
			return entries, fmt.Errorf("failed to encode annotations: %w", err)
		}
	}
	for flavour := range Flavour(flavours) {
		b := appendMember([]byte{'{'}, "name", quote(t.Config.Name))
		if flavour >= Flavour2025June && t.Config.Title != "" {
			b = appendMember(b, "title", quote(t.Config.Title))
		}
		b = appendMember(b, "description", quote(t.Config.Description))
		b = appendMember(b, "inputSchema", input)
		if flavour >= Flavour2025June && output != nil {
			b = appendMember(b, "outputSchema", output)
		}
		if flavour >= Flavour2025March && annotations != nil {
			b = appendMember(b, "annotations", annotations)
		}
		entries[flavour] = append(b, '}')
	}
	return entries, nil
}

func appendMember(b []byte, name string, value []byte) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(append(append(b, '"'), name...), '"', ':')
	return append(b, value...)
}

func quote(s string) []byte {
	// The only error is invalid UTF-8, which is replaced in the result.
	b, _ := jsontext.AppendQuote(nil, s)
	return b
}

// oneLine keeps a schema byte for byte unless it spans lines, which neither an
// event nor a message may.
func oneLine(raw json.RawMessage) ([]byte, error) {
	v := jsontext.Value(raw).Clone()
	if !v.IsValid() {
		return nil, fmt.Errorf("not a JSON value: %.80q", raw)
	}
	if bytes.ContainsAny(v, "\n\r") {
		if err := v.Compact(); err != nil {
			return nil, err
		}
	}
	return v, nil
}
