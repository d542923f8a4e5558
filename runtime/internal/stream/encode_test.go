// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"strings"
	"testing"
)

func TestAppendEvent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, event, id, data, want string
	}{
		{name: "a message", event: "message", data: `{"id":1}`, want: "event: message\ndata: {\"id\":1}\n\n"},
		{name: "no event", data: "x", want: "data: x\n\n"},
		{name: "an id", id: "7", data: "x", want: "id: 7\ndata: x\n\n"},
		{name: "empty data", id: "7", want: "id: 7\ndata: \n\n"},
		{name: "lf", data: "a\nb", want: "data: a\ndata: b\n\n"},
		{name: "crlf is one terminator", data: "a\r\nb", want: "data: a\ndata: b\n\n"},
		{name: "a bare cr ends a line too", data: "a\rb", want: "data: a\ndata: b\n\n"},
		{name: "blank lines cannot end the event", data: "a\n\nevent: evil", want: "data: a\ndata: \ndata: event: evil\n\n"},
		{name: "a terminator at the end", data: "a\n", want: "data: a\ndata: \n\n"},
		{name: "a cr at the end", data: "a\r", want: "data: a\ndata: \n\n"},
		{name: "mixed", data: "a\r\n\rb\n", want: "data: a\ndata: \ndata: b\ndata: \n\n"},
		{name: "an event with line ends", event: "a\r\ndata: x\x00", data: "y", want: "event: adata: x\ndata: y\n\n"},
		{name: "an id with line ends and nul", id: "1\n2\x003", data: "y", want: "id: 123\ndata: y\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(AppendEvent(nil, tt.event, tt.id, []byte(tt.data))); got != tt.want {
				t.Errorf("AppendEvent = %q, want %q", got, tt.want)
			}
		})
	}
}

// parse reads one event as the event stream grammar says (WHATWG HTML, 9.2.6).
func parse(t *testing.T, wire string) (event, id, data string) {
	t.Helper()
	wire = strings.ReplaceAll(wire, "\r\n", "\n")
	wire = strings.ReplaceAll(wire, "\r", "\n")
	body, found := strings.CutSuffix(wire, "\n\n")
	if !found {
		t.Fatalf("%q does not end with an empty line", wire)
	}
	var lines []string
	for line := range strings.SplitSeq(body, "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "id":
			id = value
		case "data":
			lines = append(lines, value)
		default:
			t.Fatalf("%q has a line with the field %q", wire, name)
		}
	}
	return event, id, strings.Join(lines, "\n")
}

func FuzzAppendEvent(f *testing.F) {
	f.Add("message", "1", []byte(`{"a":1}`))
	f.Add("a\nb", "1\r2", []byte("x\r\n\ny\r"))
	f.Add("", "", []byte(nil))
	f.Fuzz(func(t *testing.T, event, id string, data []byte) {
		clean := strings.NewReplacer("\r", "", "\n", "", "\x00", "")
		wantData := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		gotEvent, gotID, gotData := parse(t, string(AppendEvent(nil, event, id, data)))
		// A leading space is part of the separator for a reader, which is why
		// the encoder always writes one itself.
		if gotEvent != clean.Replace(event) || gotID != clean.Replace(id) || gotData != wantData {
			t.Errorf("parsed (%q, %q, %q) from (%q, %q, %q)", gotEvent, gotID, gotData, event, id, data)
		}
		if bytes.ContainsRune(AppendEvent(nil, event, id, data), '\r') {
			t.Error("the encoder wrote a carriage return")
		}
	})
}
