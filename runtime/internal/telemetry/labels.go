// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// Other is the label of values outside a bounded set.
const Other = "other"

const (
	// maxWords bounds the distinct reasons, types or kinds of one metric. They
	// are words of the code, so the bound only holds back a mistake.
	maxWords = 40
	// maxWord bounds such a word in bytes.
	maxWord = 40
	// maxClients bounds the distinct client names of one process.
	maxClients = 50
	// maxClientName bounds a client's name in bytes.
	maxClientName = 64
)

// family holds the metrics of one label's values, made when a value is first
// seen. Values beyond limit, and those that accept refuses, share the metric of
// Other. Looking a known value up takes no lock and allocates nothing.
type family[T any] struct {
	limit  int
	accept func(string) bool
	create func(value string) T

	growing sync.Mutex
	known   atomic.Pointer[map[string]T]
}

// newFamily returns a family that has the values of first.
func newFamily[T any](limit int, accept func(string) bool, create func(string) T, first ...string) *family[T] {
	f := &family[T]{limit: limit, accept: accept, create: create}
	known := make(map[string]T, len(first))
	for _, value := range first {
		known[value] = create(value)
	}
	f.known.Store(&known)
	return f
}

// get returns the metric of a value.
func (f *family[T]) get(value string) T {
	if metric, ok := (*f.known.Load())[value]; ok {
		return metric
	}
	if !f.accept(value) {
		value = Other
	}
	return f.grow(value)
}

// grow returns the metric of a value that was not seen yet, or of Other if
// there are too many.
func (f *family[T]) grow(value string) T {
	f.growing.Lock()
	defer f.growing.Unlock()
	known := *f.known.Load()
	if _, ok := known[value]; !ok && len(known) >= f.limit {
		value = Other
	}
	if metric, ok := known[value]; ok {
		return metric
	}
	// The value may be a part of a request; a copy lets the rest be freed.
	value = strings.Clone(value)
	next := maps.Clone(known)
	next[value] = f.create(value)
	f.known.Store(&next)
	return next[value]
}

// isWord accepts snake_case words.
func isWord(s string) bool {
	if s == "" || len(s) > maxWord {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// isClientName accepts names as well-behaved clients have them: printable ASCII.
func isClientName(s string) bool {
	return s != "" && len(s) <= maxClientName &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
