// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
)

// maxGone bounds the removed tools that are remembered.
const maxGone = 1000

// removal is a tool that a swap of this process took away.
type removal struct {
	at time.Time
	// access said who might see the tool: nobody else learns that there was one.
	access *config.Access
}

// gone are the tools that were removed, by name. Clients that ignore
// notifications/tools/list_changed call them for as long as they run, and
// deserve a better answer than for a name that was never there. It is immutable.
type gone map[string]removal

// after is what is gone once next follows old. Of too many the newest stay.
func (g gone) after(old, next *catalog.Catalog, now time.Time) gone {
	kept := make(gone, len(g))
	for name, r := range g {
		if _, state := next.Tool(name); state == catalog.Unknown {
			kept[name] = r
		}
	}
	for _, name := range old.Names() {
		if _, state := next.Tool(name); state == catalog.Unknown {
			t, _ := old.Tool(name)
			kept[name] = removal{at: now, access: t.Access}
		}
	}
	if len(kept) <= maxGone {
		return kept
	}
	names := slices.SortedFunc(maps.Keys(kept), func(a, b string) int { return kept[a].at.Compare(kept[b].at) })
	for _, name := range names[:len(names)-maxGone] {
		delete(kept, name)
	}
	return kept
}

// unknown says why a name is none of a tool that the caller may call. Who could
// not see a tool learns no more than that it is unknown.
func (st *state) unknown(name string, p auth.Principal) string {
	if r, ok := st.gone[name]; ok && st.policy.Allowed(p, r.access) {
		return "unknown tool " + brief(name) + ": it was removed by a change of this server at " + r.at.UTC().Format(time.RFC3339) + "; list the tools again"
	}
	return "unknown tool " + brief(name)
}
