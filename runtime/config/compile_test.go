// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestValid compiles every file of testdata/valid, and again after it went
// through Encode and Decode.
func TestValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/valid/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Decode(data)
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			if _, err := Compile(s); err != nil {
				t.Fatalf("Compile: %v", err)
			}
			out, err := s.Encode()
			if err != nil {
				t.Fatalf("Encode: %v", err)
			}
			again, err := Decode(out)
			if err != nil {
				t.Fatalf("Decode of what Encode wrote: %v\n%s", err, out)
			}
			if got, want := again.Hash(), s.Hash(); got != want || again.Revision != want {
				t.Errorf("hash after a round trip = %s, revision %s, want %s", got, again.Revision, want)
			}
			if _, err := Compile(again); err != nil {
				t.Errorf("Compile after a round trip: %v", err)
			}
		})
	}
}
