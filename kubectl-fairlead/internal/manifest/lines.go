// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"regexp"
	"strconv"
)

// yamlLine is how the parser names a line of what it was given.
var yamlLine = regexp.MustCompile(`\bline (\d+)`)

// documentStarts counts the lines before each document of a file, as
// utilyaml.YAMLReader splits it: an empty one is none.
func documentStarts(data []byte) []int {
	var starts []int
	open := false
	number := 0
	for text := range bytes.Lines(data) {
		switch {
		case bytes.HasPrefix(text, []byte("---")):
			open = false
		case !open:
			starts = append(starts, number)
			open = true
		}
		number++
	}
	return starts
}

// atLines turns the lines of a document in a message into those of the file.
func atLines(message string, before int) string {
	return yamlLine.ReplaceAllStringFunc(message, func(found string) string {
		n, err := strconv.Atoi(found[len("line "):])
		if err != nil {
			return found
		}
		return "line " + strconv.Itoa(n+before)
	})
}
