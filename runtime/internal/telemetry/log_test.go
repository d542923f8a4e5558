// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/internal/telemetry"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var level slog.LevelVar
	logger := telemetry.NewLogger(&out, &level)
	logger.Debug("Too soon")
	level.Set(slog.LevelDebug)
	logger.Debug("Opening stream", "session", telemetry.HashSession("s-1"))
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("not one JSON object: %v: %s", err, out.String())
	}
	if got["msg"] != "Opening stream" || got["level"] != "DEBUG" || got["session"] != "6a840baf5d8c" {
		t.Errorf("logged %v", got)
	}
}

func TestAnnotate(t *testing.T) {
	t.Parallel()
	type key struct{}
	var out bytes.Buffer
	var level slog.LevelVar
	logger := telemetry.Annotate(telemetry.NewLogger(&out, &level), func(ctx context.Context) []slog.Attr {
		if id, ok := ctx.Value(key{}).(string); ok {
			return []slog.Attr{slog.String("requestId", id)}
		}
		return nil
	})
	ctx := context.WithValue(t.Context(), key{}, "r-1")
	logger.DebugContext(ctx, "Below the level")
	logger.InfoContext(ctx, "One", "a", 1)
	logger.With("b", 2).InfoContext(ctx, "Two")
	logger.WithGroup("g").InfoContext(ctx, "Three", "a", 1)
	logger.Info("Four")
	var got []string
	for line := range strings.Lines(out.String()) {
		_, rest, _ := strings.Cut(line, `"msg":`)
		got = append(got, strings.TrimSpace(rest))
	}
	want := []string{
		`"One","a":1,"requestId":"r-1"}`, `"Two","b":2,"requestId":"r-1"}`, `"Three","g":{"a":1,"requestId":"r-1"}}`, `"Four"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestParseLevel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		want    slog.Level
		wantErr string
	}{
		{name: "", want: slog.LevelInfo},
		{name: "Debug", want: slog.LevelDebug},
		{name: "Info", want: slog.LevelInfo},
		{name: "Warn", want: slog.LevelWarn},
		{name: "Error", want: slog.LevelError},
		{name: "debug", wantErr: `failed to set the log level "debug": use Debug, Info, Warn or Error`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := telemetry.ParseLevel(tt.name)
			if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && err.Error() != tt.wantErr {
				t.Errorf("ParseLevel = %v, %v, want %v, %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestHashSession(t *testing.T) {
	t.Parallel()
	if got := telemetry.HashSession(""); got != "" {
		t.Errorf("no session has the hash %q", got)
	}
	a, b := telemetry.HashSession("a"), telemetry.HashSession("b")
	if a == b || len(a) != 12 {
		t.Errorf("hashes %q, %q", a, b)
	}
}
