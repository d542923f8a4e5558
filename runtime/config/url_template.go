// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// URLTemplate is an absolute http or https URL with variables in its path, {x},
// and in its query, {x}, {?x,y} and {&x} (a part of RFC 6570 levels 1 to 3). It
// is immutable and safe for concurrent use.
type URLTemplate struct {
	// origin is scheme://host[:port]; nothing in it varies.
	origin string
	// segments are those of the path, each begun by a slash.
	segments []segment
	query    []queryPart
	names    []string
}

// segment is one path segment: literal text, percent-encoded, and variables.
type segment []urlPart

// urlPart is literal text or a variable.
type urlPart struct{ literal, variable string }

// queryPart is literal text, the value of a variable, or a whole name=value
// pair that is left out with its variable.
type queryPart struct {
	literal, variable string
	pair              bool
}

// ArgumentError says that an argument cannot be put into a request.
type ArgumentError struct {
	// Name is the argument.
	Name string
	// Message says why; it never holds the value.
	Message string
}

// Error returns "arguments.<name>: message".
func (e *ArgumentError) Error() string { return member("arguments", e.Name) + ": " + e.Message }

// Variables returns the names of the arguments that the URL uses, sorted.
func (t *URLTemplate) Variables() []string { return slices.Clone(t.names) }

// expandAhead is how many bytes most paths and queries fit in.
const expandAhead = 64

// Expand returns the URL for the arguments. Values are strings, numbers and
// booleans, in {?x} and {&x} also lists of them; everything in them but letters,
// digits and -._~ is percent-encoded. A path value that is missing, empty or
// makes a segment of dots, also behind slashes or percent-encoded, is an
// *ArgumentError; a missing query value leaves out its pair.
func (t *URLTemplate) Expand(args map[string]any) (*url.URL, error) {
	var b strings.Builder
	b.Grow(len(t.origin) + expandAhead)
	b.WriteString(t.origin)
	for _, s := range t.segments {
		if err := s.expand(&b, args); err != nil {
			return nil, err
		}
	}
	mark := byte('?')
	for _, q := range t.query {
		text, ok, err := q.expand(args)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if q.begins() {
			b.WriteByte(mark)
			mark = '&'
		}
		b.WriteString(text)
	}
	u, err := url.Parse(b.String())
	if err != nil {
		return nil, errors.New("failed to build the backend's URL")
	}
	return u, nil
}

// begins reports whether the part begins a new pair.
func (q queryPart) begins() bool { return q.pair || strings.HasPrefix(q.literal, "&") }

func (q queryPart) expand(args map[string]any) (text string, ok bool, err error) {
	if q.variable == "" {
		return strings.TrimPrefix(q.literal, "&"), true, nil
	}
	v := args[q.variable]
	if v == nil {
		return "", !q.pair, nil
	}
	if !q.pair {
		text, err = scalar(q.variable, v)
		return escape(text), true, err
	}
	values, isList := v.([]any)
	if !isList {
		values = []any{v}
	}
	texts := make([]string, len(values))
	for i, v := range values {
		text, err := scalar(q.variable, v)
		if err != nil {
			return "", false, err
		}
		texts[i] = escape(text)
	}
	return escape(q.variable) + "=" + strings.Join(texts, ","), true, nil
}

func (s segment) expand(b *strings.Builder, args map[string]any) error {
	b.WriteByte('/')
	if len(s) == 1 && s[0].variable == "" {
		b.WriteString(s[0].literal)
		return nil
	}
	name := ""
	var plain strings.Builder
	for _, p := range s {
		if p.variable == "" {
			b.WriteString(p.literal)
			plain.WriteString(p.literal)
			continue
		}
		v, ok := args[p.variable]
		if !ok || v == nil {
			return &ArgumentError{p.variable, "is required in the backend's URL"}
		}
		text, err := scalar(p.variable, v)
		if err != nil {
			return err
		}
		if text == "" {
			return &ArgumentError{p.variable, "must not be empty: it is a part of the backend's URL path"}
		}
		b.WriteString(escape(text))
		plain.WriteString(text)
		name = p.variable
	}
	if name != "" && climbs(plain.String()) {
		return &ArgumentError{name, "must not form a path segment of dots in the backend's URL"}
	}
	return nil
}

// climbs reports whether a segment, read by anything that decodes it once or
// more, that takes backslashes for slashes, or that cuts path parameters at a
// semicolon, has a part that is empty of anything but dots.
func climbs(text string) bool {
	for range 4 {
		pieces := strings.FieldsFunc(text, func(c rune) bool { return c == '/' || c == '\\' })
		for _, piece := range pieces {
			piece, _, _ = strings.Cut(piece, ";")
			if piece == "." || piece == ".." {
				return true
			}
		}
		decoded := decodePercent(text)
		if decoded == text {
			return false
		}
		text = decoded
	}
	// Still encoded after four rounds: nothing sane looks like this.
	return true
}

// decodePercent decodes every valid escape and leaves the rest as it is.
func decodePercent(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// scalar returns the text of a value that can stand in a URL.
func scalar(name string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int64, float64:
		text, err := EncodeValue(v)
		return string(text), err
	default:
		return "", &ArgumentError{name, "must be a string, a number or a boolean: it is a part of the backend's URL"}
	}
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes everything but RFC 3986's unreserved characters.
func escape(text string) string {
	clean := func(c byte) bool {
		return isNameByte(c) || c == '-' || c == '.' || c == '~'
	}
	n := 0
	for i := range len(text) {
		if !clean(text[i]) {
			n++
		}
	}
	if n == 0 {
		return text
	}
	b := make([]byte, 0, len(text)+2*n)
	for i := range len(text) {
		if c := text[i]; clean(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}
