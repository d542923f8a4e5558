// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want Duration
		out  string
	}{
		{"1m30s", Duration(90 * time.Second), "1m30s"},
		{"90s", Duration(90 * time.Second), "1m30s"},
		{"100ms", Duration(100 * time.Millisecond), "100ms"},
		{"1h2m3s4ms", Duration(time.Hour + 2*time.Minute + 3*time.Second + 4*time.Millisecond), "1h2m3s4ms"},
		{"720h", Duration(720 * time.Hour), "720h"},
		{"99999h", Duration(99999 * time.Hour), "99999h"},
		{"0s", 0, "0s"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			var d Duration
			if err := json.Unmarshal([]byte(`"`+tt.in+`"`), &d); err != nil || d != tt.want {
				t.Fatalf("read %v, %v, want %v", d, err, tt.want)
			}
			out, err := json.Marshal(d)
			if err != nil || string(out) != `"`+tt.out+`"` {
				t.Errorf("written %s, %v, want %q", out, err, tt.out)
			}
		})
	}
	for _, bad := range []string{`"1.5s"`, `"-1s"`, `"10"`, `10`, `null`, `"1d"`, `""`, `"1h1h1h1h1h"`, `"100000h"`, `" 1s"`, `"1us"`} {
		var d Duration
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s is read as %v", bad, d)
		}
	}
	if got := Duration(-time.Second).String(); got != "-1s" {
		t.Errorf("a negative duration = %q", got)
	}
	if got := Duration(1500 * time.Microsecond).String(); got != "1.5ms" {
		t.Errorf("a part of a millisecond = %q", got)
	}
}
