// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package static_test

import (
	"encoding/json"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/static"
)

func TestRun(t *testing.T) {
	t.Parallel()
	echo := "${arguments.message} for ${principal.subject}"
	for _, tt := range []struct {
		name       string
		static     config.Static
		arguments  map[string]any
		want       string
		structured string
		isError    bool
		wantErr    string
	}{
		{
			name: "echo", static: config.Static{Content: []config.Content{{Text: &echo}}},
			arguments: map[string]any{"message": `a "b"`}, want: `[{"type":"text","text":"a \"b\" for alice"}]`,
		},
		{
			name: "error", static: config.Static{Content: []config.Content{{Text: new("no")}}, Outcome: config.OutcomeError},
			want: `[{"type":"text","text":"no"}]`, isError: true,
		},
		{
			name: "structured", static: config.Static{Content: []config.Content{{Text: new("1")}}, StructuredContent: json.RawMessage(`{"n":1}`)},
			want: `[{"type":"text","text":"1"}]`, structured: `{"n":1}`,
		},
		{
			name: "absent argument", static: config.Static{Content: []config.Content{{Text: &echo}}},
			wantErr: `tool "test": failed to render the answer: failed to evaluate ${arguments.message}: there is no "message"`,
		},
		{
			name: "argument that is no number", static: config.Static{Content: []config.Content{{Text: new("${int(arguments.message)}")}}},
			arguments: map[string]any{"message": "seven"},
			wantErr:   `tool "test": failed to render the answer: failed to evaluate ${int(arguments.message)}: `,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			program, err := config.Compile(&config.Server{
				Name: "test", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
				Tools: []config.Tool{{
					Name: "test", Description: "A test.", Static: &tt.static,
					InputSchema: json.RawMessage(`{"type":"object","properties":{"message":{"type":"string"}}}`),
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := static.New(program.Tools[0].Static).Run(t.Context(), tool.Call{
				Name: "test", Arguments: tt.arguments, Principal: auth.Principal{Name: "alice"},
			}, nil)
			if tt.wantErr != "" {
				if !strings.HasPrefix(tool.Message(err), tt.wantErr) {
					t.Errorf("Message = %q, want %q", tool.Message(err), tt.wantErr)
				}
				if got := tool.Outcome(tool.Result{}, err); got != tool.OutcomeToolError {
					t.Errorf("Outcome = %q, want %q: the arguments are the caller's", got, tool.OutcomeToolError)
				}
				return
			}
			if err != nil || string(got.Content) != tt.want || string(got.Structured) != tt.structured || got.IsError != tt.isError {
				t.Errorf("Run = %s, %s, %t, %v", got.Content, got.Structured, got.IsError, err)
			}
		})
	}
}
