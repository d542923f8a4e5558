// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// The scanners below walk JSON that was already checked as a whole, so they
// allocate nothing and need not fail: on other input they stop early, but stay
// within its bounds.

// maxDepth bounds how deep objects and arrays of a message may nest.
const maxDepth = 64

// shallow reports whether no value of b nests deeper than maxDepth. It needs no
// valid JSON, so that a hostile body is refused before anything recurses.
func shallow(b []byte) bool {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i) - 1
		case '{', '[':
			depth++
			if depth > maxDepth {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// endOfString gives the index behind the string that begins at i.
func endOfString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// endOfValue gives the index behind the value that begins at i.
func endOfValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			i = endOfLiteral(b, i)
		}
		if depth <= 0 {
			return i
		}
	}
	return len(b)
}

func endOfLiteral(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', ':', '}', ']', '{', '[', '"', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

// members walks an object.
type members struct {
	b []byte
	i int
}

func membersOf(object []byte) members {
	return members{b: object, i: skipSpace(object, 0) + 1}
}

// next gives the next member, its name with the quotes.
func (m *members) next() (name, value []byte, ok bool) {
	i := skipSpace(m.b, m.i)
	if i < len(m.b) && m.b[i] == ',' {
		i = skipSpace(m.b, i+1)
	}
	if i >= len(m.b) || m.b[i] != '"' {
		return nil, nil, false
	}
	end := endOfString(m.b, i)
	name = m.b[i:end]
	i = skipSpace(m.b, end)
	if i >= len(m.b) || m.b[i] != ':' {
		return nil, nil, false
	}
	i = skipSpace(m.b, i+1)
	end = endOfValue(m.b, i)
	m.i = end
	return name, m.b[i:end], true
}

// nameIs compares a quoted name, which may be escaped, with a plain one that
// needs no escapes.
func nameIs(quoted []byte, want string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return len(quoted) == len(want)+2 && string(quoted[1:len(quoted)-1]) == want
	}
	return unquote(quoted) == want
}

// member looks up a member of an object.
func member(object []byte, name string) ([]byte, bool) {
	for m := membersOf(object); ; {
		n, v, ok := m.next()
		if !ok {
			return nil, false
		}
		if nameIs(n, name) {
			return v, true
		}
	}
}

func isObject(v []byte) bool { return len(v) > 0 && v[0] == '{' }

func isString(v []byte) bool { return len(v) > 0 && v[0] == '"' }

func isNull(v []byte) bool { return string(v) == "null" }

// isInteger reports whether a JSON number has neither fraction nor exponent.
func isInteger(v []byte) bool {
	return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') && !bytes.ContainsAny(v, ".eE")
}

func isNumber(v []byte) bool {
	return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9')
}

// unquote gives the text of a JSON string.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 && len(quoted) >= 2 {
		return string(quoted[1 : len(quoted)-1])
	}
	// The string was checked with its message.
	b, _ := jsontext.AppendUnquote(nil, quoted)
	return string(b)
}
