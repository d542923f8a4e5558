// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
)

// TestGoneIsBounded removes more tools than are remembered: the newest are kept.
func TestGoneIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	text := "x"
	named := func(prefix string, n int) *config.Server {
		s := &config.Server{Contract: config.ContractVersion, Name: "s", Auth: config.Auth{AnonymousAccess: config.AccessAllowed}}
		for i := range n {
			s.Tools = append(s.Tools, config.Tool{Name: fmt.Sprintf("%s-%d", prefix, i), Description: "d", Static: &config.Static{Content: []config.Content{{Text: &text}}}})
		}
		return s
	}
	const each = 250
	now := time.Now()
	var g gone
	before := w.build(t, named("v0", each), nil)
	for i := range 5 {
		next := w.build(t, named(fmt.Sprintf("v%d", i+1), each), nil)
		g = g.after(before, next, now.Add(time.Duration(i)*time.Second))
		if want := min((i+1)*each, maxGone); len(g) != want {
			t.Errorf("after %d removals %d are remembered, want %d", (i+1)*each, len(g), want)
		}
		before = next
	}
	for name := range g {
		if strings.HasPrefix(name, "v0-") {
			t.Fatalf("%s is remembered, which was removed first", name)
		}
	}
	if g = g.after(before, w.build(t, named("v4", each), nil), now.Add(time.Minute)); len(g) != maxGone {
		t.Errorf("%d are remembered after %d came back and as many went", len(g), each)
	}
	if _, ok := g["v4-0"]; ok {
		t.Error("a tool that came back is remembered as removed")
	}
	st := &state{gone: gone{"a": {at: now, access: &config.Access{AnyRole: []string{"admin"}}}}}
	for role, told := range map[string]bool{"admin": true, "guest": false} {
		if got := st.unknown("a", auth.Principal{Roles: []string{role}}); strings.Contains(got, "removed") != told {
			t.Errorf("%s is told %q", role, got)
		}
	}
}
