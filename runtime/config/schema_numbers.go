// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"math"
	"math/big"
	"strconv"
)

// exactInteger is the largest integer below which every one is a double.
const exactInteger = 1 << 53

// compareNumbers compares int64 and float64 values by what they mean, without
// rounding.
func compareNumbers(a, b any) int {
	x, xInt := a.(int64)
	y, yInt := b.(int64)
	if xInt && yInt {
		return cmp.Compare(x, y)
	}
	if (!xInt || abs(x) <= exactInteger) && (!yInt || abs(y) <= exactInteger) {
		return cmp.Compare(asFloat(a), asFloat(b))
	}
	return asBig(a).Cmp(asBig(b))
}

func abs(n int64) int64 {
	if n < 0 {
		return -max(n, -math.MaxInt64)
	}
	return n
}

func asFloat(v any) float64 {
	if n, ok := v.(int64); ok {
		return float64(n)
	}
	f, _ := v.(float64)
	return f
}

func asBig(v any) *big.Float {
	if n, ok := v.(int64); ok {
		return new(big.Float).SetInt64(n)
	}
	return big.NewFloat(asFloat(v))
}

// isInteger reports whether a number has no fraction: 1.0 is an integer.
func isInteger(v any) bool {
	f, ok := v.(float64)
	return !ok || f == math.Trunc(f)
}

// isMultiple compares decimals: 0.3 is a multiple of 0.1, as people read them.
func isMultiple(v, of any) bool {
	n, ok := v.(int64)
	m, isInt := of.(int64)
	if ok && isInt {
		return n%m == 0
	}
	q := new(big.Rat).Quo(asRat(v), asRat(of))
	return q.IsInt()
}

func asRat(v any) *big.Rat {
	if n, ok := v.(int64); ok {
		return new(big.Rat).SetInt64(n)
	}
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(asFloat(v), 'g', -1, 64))
	if !ok {
		return new(big.Rat)
	}
	return r
}

// equalValues compares values of DecodeValue as JSON Schema does: 1 equals 1.0.
func equalValues(a, b any) bool {
	switch x := a.(type) {
	case int64, float64:
		switch b.(type) {
		case int64, float64:
			return compareNumbers(a, b) == 0
		}
		return false
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equalValues(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for name, v := range x {
			w, ok := y[name]
			if !ok || !equalValues(v, w) {
				return false
			}
		}
		return true
	default:
		return a == b
	}
}
