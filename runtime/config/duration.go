// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// durationPattern is the API's Duration, as in Gateway API (GEP-2257).
var durationPattern = regexp.MustCompile(`^(\d{1,5}(h|m|s|ms)){1,4}$`)

// durationUnits are the units of a written duration, largest first.
var durationUnits = []struct {
	suffix string
	value  int64
}{{"h", int64(time.Hour)}, {"m", int64(time.Minute)}, {"s", int64(time.Second)}, {"ms", int64(time.Millisecond)}}

// String returns d in units of h, m, s and ms, such as "1m30s", so that it can
// be read back; what a file cannot hold, a part of a millisecond or a negative
// span, comes out as time.Duration writes it.
func (d Duration) String() string {
	rest := int64(d)
	if rest < 0 || rest%int64(time.Millisecond) != 0 {
		return time.Duration(d).String()
	}
	if rest == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if n := rest / u.value; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10))
			b.WriteString(u.suffix)
			rest -= n * u.value
		}
	}
	return b.String()
}

// MarshalJSON writes d as a string; see String.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string of up to four numbers with a unit of h, m, s or
// ms each, such as "1m30s" (GEP-2257).
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errNotDuration
	}
	if !durationPattern.MatchString(text) {
		return errNotDuration
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("failed to parse duration: %w", err)
	}
	*d = Duration(v)
	return nil
}
