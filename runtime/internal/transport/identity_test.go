// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

// keys are credentials that a test changes.
type keys struct {
	generation uint64
	now        auth.Principal
	err        error
	asked      int
}

func (k *keys) Authenticate(*http.Request) (auth.Principal, error) {
	k.asked++
	return k.now, k.err
}

func (k *keys) Generation() uint64 { return k.generation }

func TestConfirm(t *testing.T) {
	t.Parallel()
	alice := auth.Principal{Key: "apikey:alice", Name: "alice", Roles: []string{"reader"}}
	promoted := auth.Principal{Key: "apikey:alice", Name: "alice", Roles: []string{"admin"}}
	verifier := auth.Principal{Key: auth.VerifierKey, Name: auth.VerifierKey, Verifier: true}
	tests := []struct {
		name   string
		who    auth.Principal
		change func(k *keys)
		want   auth.Principal
		refuse bool
		asked  int
	}{
		{name: "nothing changed", who: alice, change: func(*keys) {}, want: alice, asked: 1},
		{name: "other keys changed", who: alice, change: func(k *keys) { k.generation++ }, want: alice, asked: 2},
		{name: "roles changed", who: alice, change: func(k *keys) { k.generation++; k.now = promoted }, want: promoted, asked: 2},
		{name: "revoked", who: alice, change: func(k *keys) { k.generation++; k.err = &auth.Error{Code: auth.CodeInvalid} }, refuse: true, asked: 2},
		{name: "somebody else", who: alice, change: func(k *keys) { k.generation++; k.now.Key = "apikey:bob" }, refuse: true, asked: 2},
		{name: "without generations", who: alice, change: func(k *keys) { k.now = promoted }, want: promoted, asked: 2},
		{name: "a token that expired", who: verifier, change: func(k *keys) { k.err = &auth.Error{Code: auth.CodeInvalid} }, refuse: true, asked: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := &keys{generation: 1, now: tt.who}
			if tt.name == "without generations" {
				k.generation = 0
			}
			r := httptest.NewRequestWithContext(WithRequest(t.Context(), "id", ""), http.MethodPost, "/mcp", http.NoBody)
			if got, err := Identify(r, k); err != nil || got.Key != tt.who.Key || Principal(r.Context()).Key != tt.who.Key {
				t.Fatalf("Identify = %+v, %v; the context has %+v", got, err, Principal(r.Context()))
			}
			tt.change(k)
			got, err := confirm(r)
			if tt.refuse {
				if _, ok := errors.AsType[*auth.Error](err); !ok {
					t.Errorf("confirm = %+v, %v", got, err)
				}
			} else if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("confirm: %v (-want +got):\n%s", err, diff)
			}
			if k.asked != tt.asked {
				t.Errorf("asked %d times, want %d", k.asked, tt.asked)
			}
		})
	}
}

// TestKeysChangeDuringIdentify finds keys that change while a request is
// identified by those before: confirm must look again.
func TestKeysChangeDuringIdentify(t *testing.T) {
	t.Parallel()
	k := &changing{keys: keys{generation: 1, now: auth.Principal{Key: "apikey:alice"}}}
	r := httptest.NewRequestWithContext(WithRequest(t.Context(), "id", ""), http.MethodPost, "/mcp", http.NoBody)
	if _, err := Identify(r, k); err != nil {
		t.Fatal(err)
	}
	if _, err := confirm(r); err == nil {
		t.Error("a key that was revoked meanwhile is confirmed")
	}
}

// changing revokes its key while it is looked up.
type changing struct{ keys }

func (c *changing) Authenticate(r *http.Request) (auth.Principal, error) {
	p, err := c.keys.Authenticate(r)
	c.generation++
	c.err = &auth.Error{Code: auth.CodeInvalid}
	return p, err
}

func TestConfirmOfNobody(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]context.Context{"no request": t.Context(), "not identified": WithRequest(t.Context(), "id", "")} {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp", http.NoBody)
		if p, err := confirm(r); err == nil {
			t.Errorf("%s: confirmed as %+v", name, p)
		}
	}
	if _, err := Identify(httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mcp", http.NoBody), &keys{}); err == nil {
		t.Error("a request without a context of its own was identified")
	}
}

func TestLogAttrs(t *testing.T) {
	t.Parallel()
	hash := func(s string) string { return "#" + s }
	r := httptest.NewRequestWithContext(WithRequest(t.Context(), "id", "one"), http.MethodPost, "/mcp", http.NoBody)
	if _, err := Identify(r, &keys{now: auth.Principal{Key: "apikey:alice", Name: "alice"}}); err != nil {
		t.Fatal(err)
	}
	outlives := context.WithoutCancel(r.Context())
	tests := []struct {
		name string
		ctx  context.Context
		want []slog.Attr
	}{
		{name: "no request", ctx: t.Context()},
		{name: "request", ctx: r.Context(), want: []slog.Attr{slog.String("requestId", "id"), slog.String("session", "#one"), slog.String("principal", "alice")}},
		{name: "call that outlives it", ctx: outlives, want: []slog.Attr{slog.String("requestId", "id"), slog.String("session", "#one"), slog.String("principal", "alice")}},
		{name: "no session", ctx: WithRequest(t.Context(), "id", ""), want: []slog.Attr{slog.String("requestId", "id")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, LogAttrs(tt.ctx, hash)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
