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
			wantErr: "failed to render the answer: ",
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
				Arguments: tt.arguments, Principal: auth.Principal{Name: "alice"},
			}, nil)
			if tt.wantErr != "" {
				if !strings.HasPrefix(tool.Message(err), tt.wantErr) || !strings.Contains(tool.Message(err), "message") {
					t.Errorf("Message = %q, want %q and the argument's name", tool.Message(err), tt.wantErr)
				}
				return
			}
			if err != nil || string(got.Content) != tt.want || string(got.Structured) != tt.structured || got.IsError != tt.isError {
				t.Errorf("Run = %s, %s, %t, %v", got.Content, got.Structured, got.IsError, err)
			}
		})
	}
}
