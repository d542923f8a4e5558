// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/internal/admin"
)

// breakIt gives a configuration whose first tool has no valid name.
func breakIt(text string) string { return strings.Replace(text, "name: echo", "name: \"e cho\"", 1) }

func (r *running) status(t *testing.T) admin.Status {
	t.Helper()
	code, body := get(t, r.admin+"/status")
	var status admin.Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || code != http.StatusOK {
		t.Fatalf("/status: %d %s, %v", code, body, err)
	}
	return status
}

func TestStartWithABadConfiguration(t *testing.T) {
	t.Parallel()
	good, bad := configuration("one"), breakIt(configuration("one"))
	tests := []struct {
		name              string
		server, lastGood  string
		want, configError string
	}{
		{name: "none", want: "no such file"},
		{name: "bad", server: bad, want: "tools[0].name"},
		{name: "both bad", server: bad, lastGood: strings.Replace(bad, "auth:", "nope:", 1), want: "nope"},
		{name: "the last good one serves", server: bad, lastGood: good, configError: "tools[0].name"},
		{name: "the newest is missing", lastGood: good, configError: "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := &running{file: filepath.Join(dir, "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16)}
			for name, text := range map[string]string{"server.yaml": tt.server, "last-good.yaml": tt.lastGood} {
				if text != "" {
					write(t, filepath.Join(dir, name), text)
				}
			}
			if tt.want != "" {
				err := Run(t.Context(), Options{ConfigFile: r.file, Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0"})
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Run = %v, want it to say %q", err, tt.want)
				}
				return
			}
			r.run(t)
			if got := r.status(t); !strings.Contains(got.ConfigError, tt.configError) || got.Tools != 1 {
				t.Errorf("status %+v, want configError %q", got, tt.configError)
			}
			write(t, r.file, configuration("mended"))
			if err := r.swap(t); err != nil {
				t.Errorf("the mended file: %v", err)
			}
			if got := r.status(t); got.ConfigError != "" {
				t.Errorf("status %+v after the file was mended", got)
			}
		})
	}
}

func TestABadChangeIsRefusedWhole(t *testing.T) {
	t.Parallel()
	r := start(t, configuration("one"))
	session, _ := connect(t, faces()[1], r.url)
	before := r.status(t).Revision
	write(t, r.file, breakIt(configuration("two")))
	if err := r.swap(t); err == nil || !strings.Contains(err.Error(), "tools[0].name") {
		t.Errorf("the bad file: %v, want the field's path", err)
	}
	if got := r.status(t); got.Revision != before || !strings.Contains(got.ConfigError, "tools[0].name") {
		t.Errorf("status %+v, want revision %s and the error", got, before)
	}
	if got := description(t, session); got != "one" {
		t.Errorf("the description is %q, want one", got)
	}
	write(t, r.file, configuration("three"))
	if err := r.swap(t); err != nil {
		t.Errorf("the mended file: %v", err)
	}
	if got := r.status(t); got.Revision == before || got.ConfigError != "" {
		t.Errorf("status %+v after the file was mended", got)
	}
	if got := description(t, session); got != "three" {
		t.Errorf("the description is %q, want three", got)
	}
}

// Each is a way in which files are changed in the world.
func TestWaysToChangeTheFile(t *testing.T) {
	t.Parallel()
	mount := func(t *testing.T, dir, version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "server.yaml"), text)
		link(t, version, filepath.Join(dir, "..data"))
	}
	tests := []struct {
		name          string
		first, change func(t *testing.T, dir string)
	}{
		{
			name: "written in place",
			first: func(t *testing.T, dir string) {
				t.Helper()
				write(t, filepath.Join(dir, "server.yaml"), configuration("one"))
			},
			change: func(t *testing.T, dir string) {
				t.Helper()
				write(t, filepath.Join(dir, "server.yaml"), configuration("two"))
			},
		},
		{
			name: "renamed over, as editors do",
			first: func(t *testing.T, dir string) {
				t.Helper()
				write(t, filepath.Join(dir, "server.yaml"), configuration("one"))
			},
			change: func(t *testing.T, dir string) {
				t.Helper()
				write(t, filepath.Join(dir, "server.yaml~"), configuration("two"))
				if err := os.Rename(filepath.Join(dir, "server.yaml~"), filepath.Join(dir, "server.yaml")); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "linked anew, as the kubelet does",
			first: func(t *testing.T, dir string) {
				t.Helper()
				mount(t, dir, "..1", configuration("one"))
				link(t, "..data/server.yaml", filepath.Join(dir, "server.yaml"))
			},
			change: func(t *testing.T, dir string) {
				t.Helper()
				mount(t, dir, "..2", configuration("two"))
				if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := &running{file: filepath.Join(dir, "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16)}
			tt.first(t, dir)
			r.run(t)
			session, _ := connect(t, faces()[2], r.url)
			tt.change(t, dir)
			if err := r.swap(t); err != nil {
				t.Fatalf("the change: %v", err)
			}
			if got := description(t, session); got != "two" {
				t.Errorf("the description is %q, want two", got)
			}
		})
	}
}

type withKey struct {
	key string
}

func (w withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.key)
	return plain.RoundTrip(r)
}

// A key that is taken away ends what its owner has open.
func TestARevokedKeyEndsItsSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "secrets", "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	const alice, bob = "alice-key-0123456789abcdef", "bob-key-0123456789abcdefgh"
	write(t, filepath.Join(keys, "alice"), alice)
	write(t, filepath.Join(keys, "bob"), bob)
	r := &running{file: filepath.Join(dir, "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16)}
	write(t, r.file, strings.Replace(configuration("one"), "auth: {anonymousAccess: Allowed}", "auth: {apiKeys: {secretRef: {name: keys}}}", 1))
	r.run(t)
	if status, body := get(t, r.url+"/sse"); status != 401 || !strings.Contains(body, "missing_credentials") {
		t.Errorf("without a key: %d %s", status, body)
	}
	sessions := map[string]*mcp.ClientSession{}
	for _, key := range []string{alice, bob} {
		session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.SSEClientTransport{
			Endpoint: r.url + "/sse", HTTPClient: &http.Client{Transport: withKey{key}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { session.Close() })
		sessions[key] = session
	}
	if err := os.Remove(filepath.Join(keys, "alice")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	over := make(chan struct{})
	go func() {
		_ = sessions[alice].Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
		t.Fatal("the revoked key's session goes on")
	}
	call(t, sessions[bob], "still here")
}

// What was judged by the rules for a caller who was let in must not be answered
// by the rules that came with letting nobody in.
func TestABodyHeldBackIsNotServedByALaterRevision(t *testing.T) {
	t.Parallel()
	const keyed = "apiKeys: {secretRef: {name: keys}}}"
	guarded := strings.Replace(configuration("one"), "name: echo", "name: echo\n  access: {anyRole: [admin]}", 1)
	r := start(t, strings.Replace(guarded, "Allowed}", "Allowed, "+keyed, 1))
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	rest, send := io.Pipe()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/mcp", rest)
	if err != nil {
		t.Fatal(err)
	}
	q.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"echo"}, "Expect": {"100-continue"},
	}
	// The server asks for the body once it has let the caller in.
	patient := &http.Transport{ExpectContinueTimeout: patience}
	defer patient.CloseIdleConnections()
	go func() {
		if _, err := io.WriteString(send, body[:20]); err != nil {
			return
		}
		write(t, r.file, strings.Replace(configuration("two"), "anonymousAccess: Allowed}", "anonymousAccess: Denied, "+keyed, 1))
		_ = r.swap(t)
		_, err := io.WriteString(send, body[20:])
		send.CloseWithError(err)
	}()
	answer, err := patient.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401: %s %v", answer.StatusCode, text, err)
	}
}
