// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxLagging and maxProblems bound the lists of a Report.
	maxLagging, maxProblems = 10, 16
	// shownPods bounds the names in a message.
	shownPods = 3
)

func (s *server) refusedMessage(all, refusing []*pod) string {
	first := refusing[0]
	return fmt.Sprintf("%s revision %s and serve another; pod %q says: %s: mend what it names; if spec.pod.image is older than the operator, raise it",
		share("refuse", "refuses", len(refusing), len(all)), s.goal.revision, first.name, first.known.ConfigError)
}

func (s *server) laggingMessage(all, behind []*pod) string {
	text := fmt.Sprintf("%s revision %s and its session keys yet: %s", share("do not hold", "does not hold", len(behind), len(all)), s.goal.revision, names(behind))
	for _, member := range behind {
		if member.refusal != "" {
			return text + "; the API server refuses to touch pods (" + member.refusal +
				"), so that the kubelet takes up to two minutes: let the operator patch pods/status"
		}
	}
	return text
}

func (s *server) unreachableMessage(silent []*pod) string {
	return fmt.Sprintf("what these pods serve is not known: %s (%s): let the operator's namespace reach port %s of pods in namespace %q through network policies and meshes",
		names(silent), silent[0].failure, adminPort, s.name.Namespace)
}

// share says how many of all do something.
func share(many, one string, n, all int) string {
	verb, noun := many, "pods"
	if n == 1 {
		verb = one
	}
	if all == 1 {
		noun = "pod"
	}
	return fmt.Sprintf("%d of %d %s %s", n, all, noun, verb)
}

// names lists the first few.
func names(pods []*pod) string {
	var list []string
	for _, member := range pods[:min(len(pods), shownPods)] {
		list = append(list, member.name)
	}
	text := strings.Join(list, ", ")
	if more := len(pods) - shownPods; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// bounded returns one line of at most limit bytes.
func bounded(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) <= limit {
		return text
	}
	const more = " …"
	cut := limit - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
