// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import "bytes"

// maxDigits is how many digits a whole number may have to be read by hand: a
// double holds all of them.
const maxDigits = 15

// plainFields reads an event as most backends write them: an object without
// white space that has progress, total and message, each at most once, whole
// numbers, and a text of ASCII without escapes. ok is false for all else, which
// is for a JSON decoder to judge. Bursts of events cost little by it.
func plainFields(event []byte) (f fields, ok bool) {
	rest := event
	var seen [3]bool
	for sep := byte('{'); len(rest) > 1 && rest[0] == sep; sep = ',' {
		rest = rest[1:]
		var which int
		if which, rest = plainName(rest); which < 0 || seen[which] {
			return fields{}, false
		}
		seen[which] = true
		valid := false
		switch which {
		case isProgress:
			f.progress, rest, valid = plainNumber(rest)
		case isTotal:
			f.total, rest, valid = plainNumber(rest)
		case isMessage:
			f.message, rest, valid = plainText(rest)
		}
		if !valid {
			return fields{}, false
		}
	}
	f.hasProgress = seen[isProgress]
	if !f.hasProgress && f.total == 0 && !seen[isMessage] || string(rest) != "}" {
		return fields{}, false
	}
	return f, true
}

// The members that plainFields knows.
const (
	isProgress = iota
	isTotal
	isMessage
)

var plainNames = [...]string{isProgress: `"progress":`, isTotal: `"total":`, isMessage: `"message":`}

// plainName takes a member's name from b; which is negative if it is another.
func plainName(b []byte) (which int, rest []byte) {
	for which, name := range plainNames {
		if len(b) > len(name) && string(b[:len(name)]) == name {
			return which, b[len(name):]
		}
	}
	return -1, b
}

// plainNumber takes a whole number that is not negative from b.
func plainNumber(b []byte) (n float64, rest []byte, ok bool) {
	i, whole := 0, 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' && i <= maxDigits {
		whole = 10*whole + int(b[i]-'0')
		i++
	}
	// A fraction or an exponent is followed by neither of these.
	if i == 0 || i > maxDigits || i > 1 && b[0] == '0' || i == len(b) || b[i] != ',' && b[i] != '}' {
		return 0, b, false
	}
	return float64(whole), b[i:], true
}

// plainText takes a string from b.
func plainText(b []byte) (text, rest []byte, ok bool) {
	if b[0] != '"' {
		return nil, b, false
	}
	end := bytes.IndexByte(b[1:], '"') + 1
	if end == 0 {
		return nil, b, false
	}
	for _, c := range b[1:end] {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, b, false
		}
	}
	return b[1:end], b[end+1:], true
}
