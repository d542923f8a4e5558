// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	healthy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(healthy.Close)
	sick := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(sick.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	tests := []struct {
		name, address, want string
	}{
		{name: "healthy", address: address(healthy)},
		{name: "sick", address: address(sick), want: "is not healthy: status 404"},
		{name: "gone", address: address(gone), want: "failed to reach the runtime"},
		{name: "no address", address: "nowhere", want: `failed to read --admin-address "nowhere"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := run(t, "healthcheck", "--admin-address", tt.address)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("healthcheck = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got, err := run(t, "version")
	if err != nil || strings.TrimSpace(got) == "" || strings.Count(got, "\n") != 1 {
		t.Errorf("version = %q, %v", got, err)
	}
}

func TestServeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(bad, []byte("contract: 1\nname: x\ntools: [{name: t, description: d}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{name: "no file", want: `"config" not set`},
		{name: "a missing file", args: []string{"--config", bad + "x"}, want: "no such file"},
		{name: "a bad file", args: []string{"--config", bad}, want: "tools[0]"},
		{name: "an argument", args: []string{"--config", bad, "x"}, want: "unknown command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := run(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("serve = %v, want it to say %q", err, tt.want)
			}
		})
	}
}
