// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting of a JSON value: deeper ones are an attack on
// recursive code, not data.
const maxDepth = 256

// maxValues bounds the values in one JSON value: each costs memory, in Go up to
// 35 times its text.
const maxValues = 100_000

// ErrTooManyValues is DecodeValue's error for more than 100,000 values in one.
var ErrTooManyValues = fmt.Errorf("holds more than %d values", maxValues)

var (
	errNotDuration = errors.New(`must be a string of up to four numbers with a unit of h, m, s or ms, such as "1m30s"`)
	errTooDeep     = fmt.Errorf("is nested deeper than %d levels", maxDepth)
	errTrailing    = errors.New("has more data after the value")
	errNumberRange = errors.New("holds a number that is out of the range of a double")
)

// DecodeValue reads one JSON value: map[string]any, []any, string, bool, nil,
// int64 for an integer literal that fits one, float64 for every other number.
// Duplicate names, invalid UTF-8, numbers beyond a double, more than 256 levels,
// more than 100,000 values (those inside of others count too) and trailing data
// are errors (RFC 7493, I-JSON).
func DecodeValue(data []byte) (any, error) {
	d, _ := decoders.Get().(*valueDecoder)
	defer d.giveBack()
	d.input = *bytes.NewBuffer(data)
	d.Reset(&d.input)
	v, err := d.decodeAny(0)
	if err != nil {
		return nil, fmt.Errorf("failed to decode JSON: %w", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("failed to decode JSON: %w", errTrailing)
	}
	return v, nil
}

// valueDecoder counts what it decodes.
type valueDecoder struct {
	*jsontext.Decoder

	// input is what the Decoder reads.
	input  bytes.Buffer
	values int
}

var decoders = sync.Pool{New: func() any { return &valueDecoder{Decoder: &jsontext.Decoder{}} }}

// giveBack keeps the decoder for the next value, without this one.
func (d *valueDecoder) giveBack() {
	d.input, d.values = bytes.Buffer{}, 0
	d.Reset(&d.input)
	decoders.Put(d)
}

func (d *valueDecoder) decodeAny(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	d.values++
	if d.values > maxValues {
		return nil, ErrTooManyValues
	}
	switch d.PeekKind() {
	case '{':
		return d.decodeObject(depth)
	case '[':
		return d.decodeArray(depth)
	case '0':
		raw, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		return decodeNumber(string(raw))
	default:
		return d.decodeScalar()
	}
}

func (d *valueDecoder) decodeScalar() (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case '"':
		return t.String(), nil
	case 't', 'f':
		return t.Bool(), nil
	default:
		return nil, nil
	}
}

func (d *valueDecoder) decodeObject(depth int) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	object := map[string]any{}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := t.String()
		if object[name], err = d.decodeAny(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func (d *valueDecoder) decodeArray(depth int) (any, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	array := []any{}
	for d.PeekKind() != ']' {
		v, err := d.decodeAny(depth + 1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := d.ReadToken()
	return array, err
}

func decodeNumber(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errNumberRange
	}
	return f, nil
}

// EncodeValue writes a value of DecodeValue as compact JSON with sorted names.
// Equal numbers have equal texts. Other Go types, NaN, infinities and invalid
// UTF-8 are errors.
func EncodeValue(v any) ([]byte, error) { return appendValue(nil, v) }

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, v)
	case []any:
		return appendArray(b, v)
	case map[string]any:
		return appendObject(b, v)
	default:
		return nil, fmt.Errorf("failed to encode a value of type %T as JSON", v)
	}
}

func appendString(b []byte, s string) ([]byte, error) {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		return nil, fmt.Errorf("failed to encode a string as JSON: %w", err)
	}
	return b, nil
}

// appendFloat writes integral values without a fraction or exponent up to 1e21,
// as ECMAScript does, so that 1, 1.0 and 1e0 have one text.
func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("failed to encode a number as JSON: it is not finite")
	}
	if f == 0 {
		return append(b, '0'), nil
	}
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		return strconv.AppendFloat(b, f, 'e', -1, 64), nil
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64), nil
}

func appendArray(b []byte, array []any) ([]byte, error) {
	b = append(b, '[')
	for i, v := range array {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, object map[string]any) ([]byte, error) {
	b = append(b, '{')
	for i, name := range sortedKeys(object) {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, name); err != nil {
			return nil, err
		}
		if b, err = appendValue(append(b, ':'), object[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
