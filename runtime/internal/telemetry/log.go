// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"fairlead.dev/fairlead/runtime/config"
)

// NewLogger returns a logger that writes one JSON object a line to w. Its level
// is level's, which may be set at any time.
func NewLogger(w io.Writer, level *slog.LevelVar) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// Annotate returns a logger like l whose lines also have what attrs finds in the
// context that they are written with.
func Annotate(l *slog.Logger, attrs func(ctx context.Context) []slog.Attr) *slog.Logger {
	return slog.New(annotator{Handler: l.Handler(), attrs: attrs})
}

// annotator implements Annotate.
type annotator struct {
	slog.Handler
	attrs func(ctx context.Context) []slog.Attr
}

// Handle implements slog.Handler.
func (a annotator) Handle(ctx context.Context, r slog.Record) error {
	if attrs := a.attrs(ctx); len(attrs) > 0 {
		// The record may share its memory with copies of the caller's.
		r = r.Clone()
		r.AddAttrs(attrs...)
	}
	return a.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (a annotator) WithAttrs(attrs []slog.Attr) slog.Handler {
	return annotator{Handler: a.Handler.WithAttrs(attrs), attrs: a.attrs}
}

// WithGroup implements slog.Handler.
func (a annotator) WithGroup(name string) slog.Handler {
	return annotator{Handler: a.Handler.WithGroup(name), attrs: a.attrs}
}

// ParseLevel returns the level of logging.level; empty is Info.
func ParseLevel(name string) (slog.Level, error) {
	switch name {
	case config.LevelDebug:
		return slog.LevelDebug, nil
	case config.LevelInfo, "":
		return slog.LevelInfo, nil
	case config.LevelWarn:
		return slog.LevelWarn, nil
	case config.LevelError:
		return slog.LevelError, nil
	default:
		return slog.LevelInfo, fmt.Errorf("failed to set the log level %q: use %s, %s, %s or %s",
			name, config.LevelDebug, config.LevelInfo, config.LevelWarn, config.LevelError)
	}
}

// HashSession returns 12 hex digits that name a session in logs. Whoever reads
// them cannot take the session over, as its id would allow.
func HashSession(id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6])
}
