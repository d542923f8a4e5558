// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package telemetry

import "sync"

// maxWords bounds the distinct reasons or types of one metric. They are words
// of the code, so the bound only holds back a mistake.
const maxWords = 40

// labelSet remembers which words were used as labels of which metric.
type labelSet struct {
	mu    *sync.RWMutex
	words map[string]map[string]struct{}
}

// newLabelSet returns an empty set.
func newLabelSet() labelSet {
	return labelSet{mu: &sync.RWMutex{}, words: make(map[string]map[string]struct{})}
}

// label returns word, or Other when it is no word or too many were seen.
func (s labelSet) label(metric, word string) string {
	if !isWord(word) {
		return Other
	}
	s.mu.RLock()
	_, known := s.words[metric][word]
	s.mu.RUnlock()
	if known {
		return word
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.words[metric] == nil {
		s.words[metric] = make(map[string]struct{})
	}
	if _, known := s.words[metric][word]; !known && len(s.words[metric]) >= maxWords {
		return Other
	}
	s.words[metric][word] = struct{}{}
	return word
}

// isWord reports whether s is snake_case of at most 40 bytes.
func isWord(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
