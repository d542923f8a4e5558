// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

var update = flag.Bool("update", false, "write the errors of testdata/invalid anew")

// verdict decodes and compiles a file, and returns what is wrong with it.
func verdict(data []byte) error {
	s, err := Decode(data)
	if err != nil {
		return err
	}
	_, err = Compile(s)
	return err
}

// TestInvalid compares the whole error of every file of testdata/invalid with
// the file beside it, and the rules and bounds that they break with the lists:
// a check without a wrong input fails here.
func TestInvalid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	rules := map[rule]bool{}
	paths := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var errs Errors
		if !errors.As(verdict(data), &errs) {
			t.Errorf("%s is accepted", file)
			continue
		}
		golden(t, strings.TrimSuffix(file, ".yaml")+".error", errs.Error()+"\n")
		for _, e := range errs {
			rules[e.rule] = true
			if slices.Contains([]rule{ruleRequired, ruleLength, ruleLengthMost, ruleForm, ruleEnum, ruleRange, ruleItems, ruleItemsMost}, e.rule) {
				paths[schematic(e.Path)] = true
			}
		}
	}
	rules[ruleInputSize] = errorRule(Decode(make([]byte, maxInput+1))) == ruleInputSize
	for r := range ruleCount {
		if ruleFormats[r] == "" {
			t.Errorf("rule %d has no text", r)
		}
		if !rules[r] {
			t.Errorf("no file of testdata/invalid breaks the rule %q", ruleFormats[r])
		}
	}
	for _, path := range slices.Concat(sortedKeys(texts), sortedKeys(numbers), sortedKeys(lengths)) {
		if !paths[path] {
			t.Errorf("no file of testdata/invalid breaks the bound of %s", path)
		}
	}
}

func errorRule(_ *Server, err error) rule {
	var field *FieldError
	if !errors.As(err, &field) {
		return ruleCount
	}
	return field.rule
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
