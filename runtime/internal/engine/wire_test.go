// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEraOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, version, message string
		want                   Era
	}{
		{name: "nothing", message: `{"jsonrpc":"2.0","id":1,"method":"ping"}`, want: EraStreamable},
		{name: "legacy header", version: Version20251125, message: `{"jsonrpc":"2.0","id":1,"method":"ping"}`, want: EraStreamable},
		{name: "unknown header", version: "v999", message: `{"jsonrpc":"2.0","id":1,"method":"ping"}`, want: EraStreamable},
		{name: "modern header", version: Version20260728, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, want: EraStateless},
		{name: "modern header, not JSON", version: Version20260728, message: `{`, want: EraStateless},
		{name: "modern header, initialize without _meta", version: Version20260728, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, want: EraStreamable},
		{name: "modern header, initialize with _meta", version: Version20260728, message: modern("1", "initialize", ""), want: EraStateless},
		{name: "modern _meta", message: modern("1", "tools/list", ""), want: EraStateless},
		{name: "modern _meta, legacy header", version: Version20251125, message: modern("1", "tools/list", ""), want: EraStateless},
		{name: "key elsewhere", message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"io.modelcontextprotocol/protocolVersion":"x"}}}`, want: EraStreamable},
		{name: "key, not JSON", message: `{"io.modelcontextprotocol/protocolVersion"`, want: EraStreamable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := EraOf(tt.version, []byte(tt.message)); got != tt.want {
				t.Errorf("EraOf() = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestIsBatch(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{"": false, " ": false, ` {"a":[]}`: false, "nonsense": false, "[]": true, "\n\t [": true} {
		if got := IsBatch([]byte(body)); got != want {
			t.Errorf("IsBatch(%q) = %t", body, got)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string
		wantErr    string
	}{
		{name: "batch", body: " [ {\"a\":\"],[\"} ,\n1,[2,{\"b\":[]}],\"x\" ] ", want: []string{`{"a":"],["}`, `1`, `[2,{"b":[]}]`, `"x"`}},
		{name: "full", body: `[1,2,3,4,5]`, want: []string{"1", "2", "3", "4", "5"}},
		{name: "too many", body: `[1,2,3,4,5,6]`, wantErr: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: too many messages in one batch"}}`},
		{name: "none", body: `[ ]`, wantErr: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a batch must not be empty"}}`},
		{name: "not closed", body: `[1,2`, wantErr: `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error: the body is not JSON"}}`},
		{name: "trailing comma", body: `[1,]`, wantErr: `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error: the body is not JSON"}}`},
		{name: "too deep", body: strings.Repeat("[", 65) + strings.Repeat("]", 65), wantErr: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: nested deeper than 64 levels"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			messages, err := Split([]byte(tt.body), 5)
			if e, ok := errors.AsType[*Error](err); ok {
				if got := string(e.JSON()); got != tt.wantErr {
					t.Errorf("error\n got %s\nwant %s", got, tt.wantErr)
				}
				return
			}
			var got []string
			for _, m := range messages {
				got = append(got, string(m))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || tt.wantErr != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for depth, want := range map[int]bool{1: true, maxDepth: true, maxDepth + 1: false, 100_000: false} {
		if got := shallow([]byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))); got != want {
			t.Errorf("shallow(depth %d) = %t", depth, got)
		}
	}
	if !shallow([]byte(`"` + strings.Repeat(`[\"`, 100) + `"`)) {
		t.Error("brackets in a string count")
	}
}

func TestAppendLine(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{name: "one line", in: `{"a": "b\n"}`, want: `{"a": "b\n"}`},
		{name: "lines", in: "{\n\t\"a\\\"\": \"b\\\\\",\r\n \"c\": [\n]}", want: "{\t\"a\\\"\": \"b\\\\\", \"c\": []}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := string(appendLine(nil, json.RawMessage(tt.in)))
			if got != tt.want || !json.Valid([]byte(got)) {
				t.Errorf("appendLine() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestErrorJSON(t *testing.T) {
	t.Parallel()
	e := &Error{Code: -1, Message: "a \"b\"\nc\xff", Data: json.RawMessage(`{"x":1}`), ID: json.RawMessage(`"i"`)}
	if got, want := string(e.JSON()), `{"jsonrpc":"2.0","id":"i","error":{"code":-1,"message":"a \"b\"\nc`+"\ufffd"+`","data":{"x":1}}}`; got != want {
		t.Errorf("JSON() = %s, want %s", got, want)
	}
}
