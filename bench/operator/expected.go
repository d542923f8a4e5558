// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// forOneServer is what a new server costs, exactly: one look behind the cache
// before a child is written for the first time, since the cache shows objects
// with our label only and an apply would merge into anybody's; each child
// once; the record of a configuration that serves; and two statuses, one while
// pods start and one when they serve.
var forOneServer = map[string]int{
	"get serviceaccounts":        1,
	"get configmaps":             1,
	"get services":               2,
	"get poddisruptionbudgets":   1,
	"get networkpolicies":        1,
	"get deployments":            1,
	"apply serviceaccounts":      1,
	"apply secrets":              1,
	"apply configmaps":           1,
	"apply services":             2,
	"apply poddisruptionbudgets": 1,
	"apply networkpolicies":      1,
	"apply deployments":          1,
	"create controllerrevisions": 1,
	"patch mcpservers/status":    2,
}

// asExpected compares counts with what so many servers cost; empty: they are equal.
func asExpected(counts map[string]int, servers int) string {
	all := maps.Clone(counts)
	for did := range forOneServer {
		all[did] += 0
	}
	var wrong []string
	for _, did := range slices.Sorted(maps.Keys(all)) {
		if want := forOneServer[did] * servers; all[did] != want {
			wrong = append(wrong, fmt.Sprintf("%s: %d, want %d", did, all[did], want))
		}
	}
	return strings.Join(wrong, "; ")
}
