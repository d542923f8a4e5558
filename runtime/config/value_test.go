// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeValue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     any
	}{
		{"null", `null`, nil},
		{"booleans", `[true,false]`, []any{true, false}},
		{"string with escapes", `"a\u00e9\n"`, "aé\n"},
		{"integer", `42`, int64(42)},
		{"integer above 2^53", `9007199254740993`, int64(9007199254740993)},
		{"largest integer", `9223372036854775807`, int64(math.MaxInt64)},
		{"smallest integer", `-9223372036854775808`, int64(math.MinInt64)},
		{"integer beyond int64", `9223372036854775808`, float64(9223372036854775808)},
		{"fraction", `1.5`, 1.5},
		{"integral fraction", `1.0`, 1.0},
		{"exponent", `1e3`, 1000.0},
		{"minus zero", `-0`, int64(0)},
		{"names differ in case", `{"name":1,"Name":2}`, map[string]any{"name": int64(1), "Name": int64(2)}},
		{"nested", ` {"a" : [ { } , [ ] ] } `, map[string]any{"a": []any{map[string]any{}, []any{}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := DecodeValue([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			// Not cmp.Diff: its time doubles with each level of nesting.
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

// TestDecodeValueDepth accepts what is as deep as allowed. (go-cmp would take
// exponential time to compare it.)
func TestDecodeValueDepth(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)
	v, err := DecodeValue([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := EncodeValue(v); err != nil || string(out) != text {
		t.Errorf("EncodeValue = %.20s…, %v", out, err)
	}
}

func TestDecodeValueRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, "EOF"},
		{"duplicate names", `{"a":1,"a":2}`, `duplicate object member name "a"`},
		{"duplicate names by escape", `{"a":1,"\u0061":2}`, "duplicate object member name"},
		{"invalid UTF-8", "\"\xff\"", "invalid UTF-8"},
		{"lone surrogate", `"\ud800"`, "surrogate"},
		{"trailing data", `{} {}`, "more data"},
		{"trailing garbage", `1x`, "more data"},
		{"beyond a double", `1e999`, "out of the range"},
		{"too deep", strings.Repeat("[", 300) + strings.Repeat("]", 300), "deeper than 256"},
		{"leading zero", `01`, "more data"},
		{"comment", `{/*x*/}`, "invalid character"},
		{"trailing comma", `[1,]`, "invalid character"},
		{"cut", `{"a":`, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, err := DecodeValue([]byte(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("DecodeValue = %v, %v, want an error with %q", v, err, tt.want)
			}
		})
	}
}

func TestEncodeValue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   any
		want string
	}{
		{"sorted names", map[string]any{"b": nil, "a": true, "é": ""}, `{"a":true,"b":null,"é":""}`},
		{"integer above 2^53", int64(9007199254740993), `9007199254740993`},
		{"integral double", 1.0, `1`},
		{"large integral double", 1e20, `100000000000000000000`},
		{"larger double", 1e21, `1e+21`},
		{"small double", 1e-7, `1e-07`},
		{"fraction", 0.1, `0.1`},
		{"minus zero", math.Copysign(0, -1), `0`},
		{"characters of HTML", "<a>&", `"<a>&"`},
		{"control characters", "\x00\n\u2028", "\"\\u0000\\n\u2028\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := EncodeValue(tt.in)
			if err != nil || string(got) != tt.want {
				t.Errorf("EncodeValue = %s, %v, want %s", got, err, tt.want)
			}
		})
	}
	for _, bad := range []any{math.NaN(), math.Inf(1), 5, "\xff", map[string]any{"\xff": nil}, []any{struct{}{}}} {
		if got, err := EncodeValue(bad); err == nil {
			t.Errorf("EncodeValue(%v) = %s, want an error", bad, got)
		}
	}
}

// FuzzDecodeValue: what is decoded encodes to a text that decodes to the same,
// and its text is a fixed point.
func TestDecodeValueBoundsValues(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want string
	}{
		{name: "as many as may be", in: "[" + strings.Repeat("0,", 99_998) + "0]"},
		{name: "one more", in: "[" + strings.Repeat("0,", 99_999) + "0]", want: "holds more than 100000 values"},
		{name: "arrays inside of an object", in: `{"a":[` + strings.Repeat("[],", 1<<20) + "[]]}", want: "holds more than 100000 values"},
		{name: "spread over siblings", in: `[` + strings.Repeat("[0,0,0],", 25_000) + "0]", want: "holds more than 100000 values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, err := DecodeValue([]byte(tt.in))
			if tt.want == "" {
				if err != nil {
					t.Fatalf("DecodeValue() = %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || v != nil {
				t.Errorf("DecodeValue() = %T, %v, want nil and an error with %q", v, err, tt.want)
			}
		})
	}
}

func FuzzDecodeValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,-0,1e20,9007199254740993,"é\u0000",null,true]}`, `1E400`, `[[[]]]`, "\"\xff\"", `{"a":1,"a":1}`, `9223372036854775808`, `-1e-320`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := DecodeValue(data)
		if err != nil {
			return
		}
		text, err := EncodeValue(v)
		if err != nil {
			t.Fatalf("EncodeValue(%v): %v", v, err)
		}
		again, err := DecodeValue(text)
		if err != nil || !equalValues(v, again) {
			t.Fatalf("%s is read as %v, %v, want %v", text, again, err, v)
		}
		if second, err := EncodeValue(again); err != nil || !bytes.Equal(second, text) {
			t.Fatalf("%s is written anew as %s, %v", text, second, err)
		}
	})
}
