// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		events  []string
		want    string
		counts  string
		wantErr bool
	}{
		{
			name: "passes quietly",
			events: []string{
				`{"Action":"start","Package":"a/b"}`,
				`{"Action":"output","Package":"a/b","Test":"TestX","Output":"=== RUN   TestX\n"}`,
				`{"Action":"pass","Package":"a/b","Test":"TestX/one"}`,
				`{"Action":"pass","Package":"a/b","Test":"TestX"}`,
				`{"Action":"output","Package":"a/b","Output":"ok  \ta/b\t0.012s\n"}`,
				`{"Action":"pass","Package":"a/b"}`,
			},
			want: "ok  \ta/b\t0.012s\n", counts: "2 0\n",
		},
		{
			name: "failure shows what failed",
			events: []string{
				`{"Action":"output","Package":"a/b","Test":"TestY","Output":"    y_test.go:1: fine\n"}`,
				`{"Action":"output","Package":"a/b","Test":"TestX","Output":"=== RUN   TestX\n"}`,
				`{"Action":"pass","Package":"a/b","Test":"TestY"}`,
				`{"Action":"output","Package":"a/b","Test":"TestX","Output":"    x_test.go:1: no\n"}`,
				`{"Action":"fail","Package":"a/b","Test":"TestX"}`,
				`{"Action":"output","Package":"a/b","Output":"FAIL\n"}`,
				`{"Action":"output","Package":"a/b","Output":"FAIL\ta/b\t0.1s\n"}`,
				`{"Action":"fail","Package":"a/b"}`,
			},
			want: "    x_test.go:1: no\nFAIL\ta/b\t0.1s\n", counts: "1 1\n", wantErr: true,
		},
		{
			name: "a crash counts for whoever it is attributed to",
			events: []string{
				`{"Action":"output","Package":"a/b","Test":"TestX","Output":"panic: test timed out after 20s\n"}`,
				`{"Action":"pass","Package":"a/b","Test":"TestX"}`,
				`{"Action":"output","Package":"a/b","Output":"FAIL\ta/b\t20.1s\n"}`,
				`{"Action":"fail","Package":"a/b"}`,
			},
			want: "panic: test timed out after 20s\nFAIL\ta/b\t20.1s\n", counts: "1 1\n", wantErr: true,
		},
		{
			name: "package does not build",
			events: []string{
				`{"ImportPath":"a/b","Action":"build-output","Output":"b.go:1: syntax error\n"}`,
				`{"ImportPath":"a/b","Action":"build-fail"}`,
				`{"Action":"output","Package":"a/b","Output":"FAIL\ta/b [build failed]\n"}`,
				`{"Action":"fail","Package":"a/b","FailedBuild":"a/b"}`,
			},
			want: "b.go:1: syntax error\nFAIL\ta/b [build failed]\n", counts: "0 1\n", wantErr: true,
		},
		{
			name: "skipped counts as failed",
			events: []string{
				`{"Action":"skip","Package":"a/b","Test":"TestX"}`,
				`{"Action":"output","Package":"a/b","Output":"ok  \ta/b\t0.1s\n"}`,
				`{"Action":"pass","Package":"a/b"}`,
			},
			want: "--- SKIP: TestX (counted as failed)\nok  \ta/b\t0.1s\n", counts: "0 1\n", wantErr: true,
		},
		{
			name:   "no tests, no line",
			events: []string{`{"Action":"output","Package":"a","Output":"?   \ta\t[no test files]\n"}`, `{"Action":"skip","Package":"a"}`},
			counts: "0 0\n",
		},
		{
			name:   "killed",
			events: []string{`{"Action":"output","Package":"a","Output":"panic\n"}`},
			want:   "panic\nFAIL\ta\tnever ended\n", counts: "0 1\n", wantErr: true,
		},
		{
			name:   "a test program alone",
			events: []string{`{"Action":"pass","Test":"TestX","Elapsed":0.1}`, `{"Action":"output","Output":"PASS\n"}`, `{"Action":"pass","Elapsed":1.5}`},
			want:   "ok  \ttests\t1.500s\n", counts: "1 0\n",
		},
		{name: "message of the go command", events: []string{`go: cannot find module`}, want: "go: cannot find module\n", counts: "0 0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary := filepath.Join(t.TempDir(), "summary")
			var out bytes.Buffer
			err := run([]string{"-summary", summary}, strings.NewReader(strings.Join(tt.events, "\n")+"\n"), &out)
			if errors.Is(err, errFailed) != tt.wantErr || (err != nil && !tt.wantErr) {
				t.Errorf("got error %v, want failed %t", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			counts, err := os.ReadFile(summary)
			if err != nil {
				t.Fatal(err)
			}
			if string(counts) != tt.counts {
				t.Errorf("counts %q, want %q", counts, tt.counts)
			}
		})
	}
}

func TestTotal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, counts, want string
		wantErr            bool
	}{
		{name: "passed", counts: "2 0\n40 0\n", want: "42 passed, 0 failed\n"},
		{name: "failed", counts: "2 0\n40 1\n", want: "42 passed, 1 failed\n", wantErr: true},
		{name: "nothing ran", want: "0 passed, 0 failed\n", wantErr: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary := filepath.Join(t.TempDir(), "summary")
			if err := os.WriteFile(summary, []byte(tt.counts), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := run([]string{"-total", summary}, nil, &out); errors.Is(err, errFailed) != tt.wantErr {
				t.Errorf("got error %v, want failed %t", err, tt.wantErr)
			}
			if out.String() != tt.want {
				t.Errorf("got %q, want %q", out.String(), tt.want)
			}
		})
	}
}

func TestWithoutASummaryTheCountsComeLast(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	events := `{"Action":"pass","Package":"a","Test":"TestX"}` + "\n" + `{"Action":"pass","Package":"a","Elapsed":0.25}` + "\n"
	if err := run(nil, strings.NewReader(events), &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("ok  \ta\t0.250s\n1 passed, 0 failed\n", out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	p := &packageState{output: map[string][]string{}}
	for _, test := range []string{"TestX", "TestX", "TestY", "TestY"} {
		p.keep(event{Test: test, Output: strings.Repeat("x", maxKept/2)})
	}
	p.keep(event{Test: "TestY", Output: strings.Repeat("y", 2*maxKept)})
	if got := p.text(); p.size > maxKept || len(got) != p.size || !strings.HasSuffix(got, "y") {
		t.Errorf("keeps %d bytes, counts %d, want at most %d", len(got), p.size, maxKept)
	}
	p.forget("TestY")
	if got := p.text(); p.size != len(got) {
		t.Errorf("keeps %d bytes, counts %d", len(got), p.size)
	}
}

// TestVerbose: what passed tests measured is told as they end.
func TestVerbose(t *testing.T) {
	t.Parallel()
	events := `{"Action":"output","Package":"a/b","Test":"TestX","Output":"=== RUN   TestX\n"}
{"Action":"output","Package":"a/b","Test":"TestX","Output":"    x_test.go:1: p95 is 1s\n"}
{"Action":"pass","Package":"a/b","Test":"TestX"}
{"Action":"pass","Package":"a/b","Elapsed":0.1}
`
	var out bytes.Buffer
	if err := run([]string{"-verbose"}, strings.NewReader(events), &out); err != nil {
		t.Fatal(err)
	}
	want := "    x_test.go:1: p95 is 1s\nok  \ta/b\t0.100s\n1 passed, 0 failed\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// TestDigest: what failed tests said is told in few lines, without what they dumped, which comes first in the whole output.
func TestDigest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "digest")
	var events strings.Builder
	say := func(test, text string) {
		line, err := json.Marshal(event{Action: "output", Package: "a/b", Test: test, Output: text})
		if err != nil {
			t.Fatal(err)
		}
		events.Write(append(line, '\n'))
	}
	end := func(action, test string) {
		fmt.Fprintf(&events, `{"Action":%q,"Package":"a/b","Test":%q}`+"\n", action, test)
	}
	say("TestFine", "    x_test.go:1: fine\n")
	end("pass", "TestFine")
	say("TestX", "    x_test.go:1: the seed is 1\n")
	say("TestX", "    x_test.go:2: dump: namespace x\n")
	say("TestX", "        Pod x\n")
	say("TestX", "    x_test.go:3: no answer:\n")
	say("TestX", "        it was cut "+strings.Repeat("x", 2*digestWidth)+"\n")
	say("TestX", "--- FAIL: TestX (1.00s)\n")
	end("fail", "TestX")
	for i := range 2 * testLines {
		say("TestY", fmt.Sprintf("    y_test.go:1: line %d\n", i))
	}
	say("TestY", "--- FAIL: TestY (1.00s)\n")
	end("fail", "TestY")
	end("fail", "")
	var out bytes.Buffer
	if err := run([]string{"-digest", path}, strings.NewReader(events.String()), &out); !errors.Is(err, errFailed) {
		t.Fatal(err)
	}
	whole := out.String()
	wantOrder(t, whole, "dump: namespace x", "        Pod x\n", "the seed is 1", "no answer", "it was cut", "--- FAIL: TestX", "line 0\n", "line 139\n")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	wantOrder(t, text, "the seed is 1", "no answer", "it was cut", "x…\n", "failed: TestX", "line 0\n", "(72 lines are left out)\n", "line 139\n", "failed: TestY")
	for _, unwanted := range []string{"fine", "dump", "Pod x", "--- FAIL"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("the digest holds %q:\n%s", unwanted, text)
		}
	}
	if lines := strings.Count(text, "\n"); lines > digestLines {
		t.Errorf("the digest has %d lines, want at most %d", lines, digestLines)
	}
}

// TestDigestOfManyFailures: each has a share, and the end is told.
func TestDigestOfManyFailures(t *testing.T) {
	t.Parallel()
	var d digest
	p := &packageState{output: map[string][]string{}}
	for i := range 30 {
		for range 20 {
			p.keep(event{Test: fmt.Sprintf("Test%d", i), Output: fmt.Sprintf("    x_test.go:1: of test %d\n", i)})
		}
		p.failed++
	}
	d.add(p)
	text := d.String()
	if lines := strings.Count(text, "\n"); lines > digestLines+1 {
		t.Errorf("the digest has %d lines, want at most %d", lines, digestLines+1)
	}
	wantOrder(t, text, "of test 0\n", "of test 1\n", "more tests failed\n")
}

// wantOrder checks that parts stand in a text, one after the other.
func wantOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q does not follow in:\n%s", part, text)
		}
		rest = after
	}
}
