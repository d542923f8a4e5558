// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func orders(tb testing.TB) *Server {
	tb.Helper()
	data, err := os.ReadFile("testdata/valid/orders.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := Decode(data)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestDecodeJSON(t *testing.T) {
	t.Parallel()
	s, err := Decode([]byte("\n\t{\t\"contract\": 1,\n\t\"name\": \"demo\"}"))
	if err != nil || s.Name != "demo" {
		t.Errorf("Decode = %+v, %v", s, err)
	}
}

func TestDecodeKeepsIntegers(t *testing.T) {
	t.Parallel()
	const schema = `{"enum":[9007199254740993],"type":"integer"}`
	s := &Server{Name: "demo", Tools: []Tool{{Name: "t", InputSchema: []byte(`{"properties":{"n":` + schema + `},"type":"object"}`)}}}
	out, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(again.Tools[0].InputSchema); !strings.Contains(got, "9007199254740993") {
		t.Errorf("the schema came back as %s", got)
	}
}

// TestDecodeRefusesAliases: nine levels of nine references are 387 million
// values in 500 bytes.
func TestDecodeRefusesAliases(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("contract: 1\na: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c <= 'i'; c++ {
		b.WriteString(string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ",") + "]\n")
	}
	if _, err := Decode([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "excessive aliasing") {
		t.Errorf("Decode = %v, want an error about aliasing", err)
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	s := orders(t)
	before := s.WithDefaults()
	out, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(out)
	if err != nil {
		t.Fatal(err)
	}
	if again.Contract != ContractVersion || again.Revision != s.Hash() || len(again.Revision) != 16 {
		t.Errorf("contract %d, revision %q", again.Contract, again.Revision)
	}
	if diff := cmp.Diff(before, s.WithDefaults()); diff != "" || s.Revision != "" {
		t.Errorf("Encode changed the server (-before +after):\n%s", diff)
	}
	second, err := again.Encode()
	if err != nil || !bytes.Equal(second, out) {
		t.Errorf("a second Encode differs: %v\n%s", err, cmp.Diff(string(out), string(second)))
	}
}

func TestEncodeTooLarge(t *testing.T) {
	t.Parallel()
	s := &Server{Name: "demo"}
	for _, size := range []int{100 << 10, 300 << 10, 90 << 10, 200 << 10} {
		s.Tools = append(s.Tools, Tool{Name: "t" + string(rune('a'+len(s.Tools))), Description: strings.Repeat("x", size)})
	}
	_, err := s.Encode()
	var tooLarge *TooLargeError
	if !errors.As(err, &tooLarge) {
		t.Fatalf("Encode = %v, want a TooLargeError", err)
	}
	want := []string{`"tb" (301 KiB)`, `"td" (201 KiB)`, `"ta" (101 KiB)`}
	if diff := cmp.Diff(want, tooLarge.Largest); diff != "" || tooLarge.Limit != MaxSize || tooLarge.Size <= MaxSize {
		t.Errorf("%+v (-want +got):\n%s", tooLarge, diff)
	}
	if !strings.Contains(err.Error(), `"tb" (301 KiB)`) {
		t.Errorf("message %q names no tool", err)
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	base := Server{Name: "demo", Tools: []Tool{{Name: "t", InputSchema: []byte(`{"type":"object","maxProperties":1}`)}}}
	same := base
	same.Revision = "something"
	same.Tools = []Tool{{Name: "t", InputSchema: []byte(`{ "maxProperties": 1.0, "type": "object" }`)}}
	if base.Hash() != same.Hash() {
		t.Error("key order, number form or revision changes the hash")
	}
	other := base
	other.Tools = []Tool{{Name: "t", InputSchema: []byte(`{"type":"object","maxProperties":2}`)}}
	if base.Hash() == other.Hash() {
		t.Error("another schema has the same hash")
	}
	big := base
	big.Tools = []Tool{{Name: "t", InputSchema: []byte(`{"const":9007199254740993}`)}}
	near := base
	near.Tools = []Tool{{Name: "t", InputSchema: []byte(`{"const":9007199254740992}`)}}
	if big.Hash() == near.Hash() {
		t.Error("integers above 2^53 are rounded in the hash")
	}
}

func TestToolHash(t *testing.T) {
	t.Parallel()
	s := orders(t)
	hash := func(change func(*Tool)) string {
		c := s.WithDefaults()
		change(&c.Tools[0])
		p, err := Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		return p.Tools[0].Hash
	}
	base := hash(func(*Tool) {})
	for name, change := range map[string]func(*Tool){
		"title":       func(t *Tool) { t.Title = "x" },
		"description": func(t *Tool) { t.Description = "x" },
		"access":      func(t *Tool) { t.Access = &Access{AnyRole: []string{"x"}} },
		"state":       func(t *Tool) { t.State = StateDisabled },
		"annotations": func(t *Tool) { t.Annotations = nil },
	} {
		if hash(change) != base {
			t.Errorf("a change of %s restarts the tool", name)
		}
	}
	for name, change := range map[string]func(*Tool){
		"timeout":        func(t *Tool) { t.Timeout *= 2 },
		"maxConcurrency": func(t *Tool) { t.MaxConcurrency++ },
		"url": func(t *Tool) {
			t.HTTP.URL += "&x=1"
			t.HTTP.URL = strings.Replace(t.HTTP.URL, "{?verbose}&x=1", "?x=1", 1)
		},
		"query":  func(t *Tool) { t.HTTP.Query["z"] = "1" },
		"secret": func(t *Tool) { t.HTTP.HeadersFrom[0].SecretKeyRef.Key = "other" },
	} {
		if hash(change) == base {
			t.Errorf("a change of %s keeps the running tool", name)
		}
	}
}

// FuzzDecode: no input panics, and what is accepted survives a round trip.
func FuzzDecode(f *testing.F) {
	data, err := os.ReadFile("testdata/valid/orders.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, seed := range []string{"contract: 1\nname: demo\n", `{"contract":1,"tools":[{"inputSchema":{"type":"object"}}]}`, "contract: 1\nauth: {apiKeys: null}\ntools: [{http: {url: 'http://a.svc/{x}'}}]", "a: &a [*a]", "contract: 0x1", "? {}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			return
		}
		if _, err := Compile(s); err != nil {
			return
		}
		out, err := s.Encode()
		if err != nil {
			t.Fatalf("Encode: %v", err)
		}
		again, err := Decode(out)
		if err != nil {
			t.Fatalf("Decode of what Encode wrote: %v\n%s", err, out)
		}
		if again.Hash() != s.Hash() {
			t.Fatalf("hash %s became %s\n%s", s.Hash(), again.Hash(), out)
		}
		if _, err := Compile(again); err != nil {
			t.Fatalf("Compile after a round trip: %v", err)
		}
	})
}

// Pods that are held back read another version; its hash is what they report.
func TestEncodeFor(t *testing.T) {
	t.Parallel()
	s := orders(t)
	for _, tt := range []struct {
		name     string
		contract int
		want     bool
	}{
		{"current", ContractVersion, true},
		{"oldest", OldestContract, true},
		{"too old", OldestContract - 1, false},
		{"too new", ContractVersion + 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data, err := s.EncodeFor(tt.contract)
			if (err == nil) != tt.want {
				t.Fatalf("EncodeFor(%d) = %v", tt.contract, err)
			}
			if err != nil {
				return
			}
			again, err := Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if again.Contract != tt.contract || again.Revision != s.HashFor(tt.contract) {
				t.Errorf("contract %d, revision %q, want %d and %q", again.Contract, again.Revision, tt.contract, s.HashFor(tt.contract))
			}
		})
	}
	if s.HashFor(ContractVersion) == s.HashFor(ContractVersion+1) {
		t.Error("the hash does not tell contracts apart")
	}
}
