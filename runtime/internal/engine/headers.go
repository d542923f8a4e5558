// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"fairlead.dev/fairlead/runtime/internal/catalog"
)

// maxSafeInteger is the largest integer that every JSON reader keeps exact; a
// header stands for no larger one (2026-07-28 basic/transports/streamable-http,
// "Schema Extension").
const maxSafeInteger = 1<<53 - 1

// checkName compares the Mcp-Name header with params.name.
func checkName(id []byte, header, name string) *Error {
	if header == "" && name != "" {
		return mismatch(id, "Mcp-Name", header, brief(name))
	}
	decoded, ok := decodeHeader(header)
	if !ok {
		return refuse(KindHeaderMismatch, id, "header mismatch: the Mcp-Name header is not valid text or base64")
	}
	if decoded != name {
		return mismatch(id, "Mcp-Name", header, brief(name))
	}
	return nil
}

// checkParams compares the Mcp-Param-* headers that a tool's schema asks for
// with the arguments. Other such headers are ignored.
func checkParams(id []byte, headers map[string]string, params []catalog.HeaderParam, arguments map[string]any) *Error {
	for i := range params {
		p := &params[i]
		header, given := headers[p.Key]
		value := lookup(arguments, p.Path)
		name := "Mcp-Param-" + p.Name
		switch {
		case value == nil && !given:
			continue
		case value == nil:
			return refuse(KindHeaderMismatch, id, "header mismatch: the "+name+" header is given, but the argument "+strings.Join(p.Path, ".")+" is not")
		case !given:
			return refuse(KindHeaderMismatch, id, "header mismatch: the "+name+" header is missing for the argument "+strings.Join(p.Path, "."))
		}
		decoded, ok := decodeHeader(header)
		if !ok {
			return refuse(KindHeaderMismatch, id, "header mismatch: the "+name+" header is not valid text or base64")
		}
		if !equalsHeader(decoded, value) {
			return refuse(KindHeaderMismatch, id, "header mismatch: the "+name+" header differs from the argument "+strings.Join(p.Path, "."))
		}
	}
	return nil
}

// lookup follows a path through the arguments; null counts as absent.
func lookup(arguments map[string]any, path []string) any {
	var v any = arguments
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

// decodeHeader gives the text that a header value stands for: itself, or what
// "=?base64?" and "?=" enclose (2026-07-28 basic/transports/streamable-http,
// "Value Encoding").
func decodeHeader(value string) (string, bool) {
	for i := range len(value) {
		if (value[i] < ' ' || value[i] > '~') && value[i] != '\t' {
			return "", false
		}
	}
	encoded, ok := strings.CutPrefix(value, "=?base64?")
	if !ok {
		return value, true
	}
	encoded, ok = strings.CutSuffix(encoded, "?=")
	if !ok {
		return value, true
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || !utf8.Valid(decoded) {
		return "", false
	}
	return string(decoded), true
}

// equalsHeader compares a header's text with an argument: integers by value, so
// that 42.0 equals 42.
func equalsHeader(text string, value any) bool {
	switch v := value.(type) {
	case string:
		return text == v
	case bool:
		return text == strconv.FormatBool(v)
	case int64:
		n, ok := safeInteger(text)
		return ok && n == v
	case float64:
		n, ok := safeInteger(text)
		return ok && float64(n) == v
	default:
		return false
	}
}

func safeInteger(text string) (int64, bool) {
	if strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxSafeInteger {
		return 0, false
	}
	return int64(f), true
}
