// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"time"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
)

// state is what one revision answers with, swapped whole. Its bytes are encoded
// once and shared by all answers.
type state struct {
	catalog *catalog.Catalog
	policy  auth.Policy
	trace   bool
	// changed is when the list of tools became this one, zero for the first.
	changed time.Time
	// gone are the tools that earlier revisions had.
	gone gone
	// head begins every stateless result, up to the middle of _meta.
	head []byte
	// cacheable ends stateless results that may be cached.
	cacheable []byte
	// introduction is what follows the version in the result of initialize;
	// plainIntroduction is the same without a title, which revisions before
	// 2025-06-18 do not know.
	introduction      []byte
	plainIntroduction []byte
	// discover is the result of server/discover after its head.
	discover []byte
}

// capabilities are the same in all eras.
const capabilities = `"capabilities":{"tools":{"listChanged":true},"logging":{}}`

func newState(r Revision) *state {
	s := &state{catalog: r.Catalog, policy: r.Policy, trace: r.AllowTrace}
	info := appendInfo(nil, r.Info, true)
	s.head = slices.Concat([]byte(`"resultType":"complete","_meta":{"`+metaServerInfo+`":`), info)
	s.introduction = appendIntroduction(info, r.Info.Instructions)
	s.plainIntroduction = appendIntroduction(appendInfo(nil, r.Info, false), r.Info.Instructions)
	// A change is announced, but not to those who do not listen: nothing may be
	// taken for fresh without asking.
	scope := "private"
	if r.Catalog.Shared() {
		scope = "public"
	}
	s.cacheable = []byte(`,"ttlMs":0,"cacheScope":"` + scope + `"`)
	d := append([]byte(`"supportedVersions":`), quotedVersions(Versions())...)
	d = append(d, ","+capabilities...)
	d = appendInstructions(d, r.Info.Instructions)
	s.discover = append(append(d, s.cacheable...), "}}"...)
	return s
}

func appendInfo(b []byte, i Info, title bool) []byte {
	b = appendString(append(b, `{"name":`...), i.Name)
	if title && i.Title != "" {
		b = appendString(append(b, `,"title":`...), i.Title)
	}
	return append(appendString(append(b, `,"version":`...), i.Version), '}')
}

func appendIntroduction(info []byte, instructions string) []byte {
	b := append([]byte(","+capabilities+`,"serverInfo":`), info...)
	return appendInstructions(b, instructions)
}

func appendInstructions(b []byte, instructions string) []byte {
	if instructions == "" {
		return b
	}
	return appendString(append(b, `,"instructions":`...), instructions)
}
