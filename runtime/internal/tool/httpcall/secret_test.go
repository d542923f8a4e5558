// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/httpcall"
)

// withSecret is a tool whose Authorization comes from a Secret.
func withSecret(url string) config.HTTP {
	return config.HTTP{URL: url, HeadersFrom: []config.SecretHeader{{
		Name: "Authorization", Prefix: "Bearer ", SecretKeyRef: config.SecretKeyRef{Name: "orders-api", Key: "token"},
	}}}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		value   *string
		header  string
		wantErr string
	}{
		{name: "value", value: new("token-1"), header: "Bearer token-1"},
		{name: "final line break", value: new("token-1\n"), header: "Bearer token-1"},
		{name: "final CRLF", value: new("token-1\r\n"), header: "Bearer token-1"},
		{name: "missing", wantErr: "does not exist"},
		{name: "empty", value: new("\n"), wantErr: "is empty"},
		{name: "line break", value: new("a\r\nX-Admin: 1"), wantErr: "has a line break or another control character, which a header cannot carry"},
		{name: "two line breaks", value: new("a\n\n"), wantErr: "has a line break or another control character, which a header cannot carry"},
		{name: "control character", value: new("a\x00b"), wantErr: "has a line break or another control character, which a header cannot carry"},
		{name: "too large", value: new(strings.Repeat("a", 65537)), wantErr: "has more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.SecretsDir = t.TempDir()
			if tt.value != nil {
				write(t, filepath.Join(o.SecretsDir, "orders-api", "token"), *tt.value)
			}
			var header string
			url := backend(t, func(_ http.ResponseWriter, r *http.Request) { header = r.Header.Get("Authorization") })
			_, err := call(t, compile(t, withSecret(url)), o, tool.Call{}, nil)
			if header != tt.header {
				t.Errorf("the backend saw %q, want %q", header, tt.header)
			}
			want := ""
			if tt.wantErr != "" {
				want = `tool "get_order": key "token" of Secret "orders-api" ` + tt.wantErr
			}
			if err == nil != (want == "") || err != nil && tool.Message(err) != want {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

// TestSecretRotation changes a Secret as the kubelet does and in place, and
// removes it: each call uses what is there.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.SecretsDir = t.TempDir()
	dir := filepath.Join(o.SecretsDir, "orders-api")
	old := time.Now().Add(-time.Hour)
	version := func(name, value string) {
		t.Helper()
		write(t, filepath.Join(dir, name, "token"), value)
		if err := os.Chtimes(filepath.Join(dir, name, "token"), old, old); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "aaaa")
	if err := os.Symlink("..data/token", filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	var header string
	url := backend(t, func(_ http.ResponseWriter, r *http.Request) { header = r.Header.Get("Authorization") })
	e := httpcall.New(compile(t, withSecret(url)), o)
	defer e.Close()
	expect := func(want string) {
		t.Helper()
		header = ""
		_, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{})
		if header != want || (err == nil) != (want != "") {
			t.Errorf("the backend saw %q (%v), want %q", header, err, want)
		}
	}
	expect("Bearer aaaa")
	expect("Bearer aaaa")
	version("..2", "bbbb") // the same size and time: another file
	expect("Bearer bbbb")
	write(t, filepath.Join(dir, "..2", "token"), "cccc") // the same file and size: another time
	expect("Bearer cccc")
	write(t, filepath.Join(dir, "..2", "token"), "dddd") // perhaps the same time: too young to be kept
	expect("Bearer dddd")
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	expect("")
	if err := os.Symlink("../../../../../../etc/hostname", filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	expect("")
}

// TestTrace shows what a trace tells and keeps.
func TestTrace(t *testing.T) {
	t.Parallel()
	const canary = "canary-4f1d77b2"
	o := options(t)
	o.SecretsDir = t.TempDir()
	write(t, filepath.Join(o.SecretsDir, "orders-api", "token"), canary)
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		send(w, "hello")
	})
	h := withSecret(url + "/orders/{id}")
	h.Query = map[string]string{"q": "a b"}
	e := httpcall.New(compile(t, h), o)
	defer e.Close()
	want := &tool.Trace{
		Method: "GET", URL: url + "/orders/7?q=a%20b", Status: 200, Bytes: 5,
		Header: map[string]string{"Authorization": "redacted", "User-Agent": "fairlead/v1.2.3", "Accept": "application/json, */*;q=0.8"},
	}
	for _, reused := range []bool{false, true} {
		got, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}, Trace: true}, &recorder{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Trace, cmpopts.IgnoreFields(tool.Trace{}, "ConnectMillis", "FirstByteMillis", "TotalMillis")); diff != "" {
			t.Errorf("trace (-want +got):\n%s", diff)
		}
		if got := got.Trace; (got.ConnectMillis == 0) != reused || got.FirstByteMillis <= 0 || got.TotalMillis < got.FirstByteMillis {
			t.Errorf("reused %t: connect %v, first byte %v, total %v", reused, got.ConnectMillis, got.FirstByteMillis, got.TotalMillis)
		}
	}
	if got, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}}, &recorder{}); err != nil || got.Trace != nil {
		t.Errorf("a trace that nobody asked for: %v, %v", got.Trace, err)
	}
}

// TestTraceOfFailure gives a trace with the error, too.
func TestTraceOfFailure(t *testing.T) {
	t.Parallel()
	e := httpcall.New(compile(t, config.HTTP{URL: "http://127.0.0.1:1/x"}), options(t))
	defer e.Close()
	guarded := tool.Guard(e, tool.Options{Name: "get_order", Timeout: time.Minute, MaxConcurrency: 1})
	_, err := guarded.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "7"}, Trace: true}, &recorder{})
	known, ok := err.(*tool.Error) //nolint:errorlint // Guard returns it unwrapped.
	if !ok || known.Trace == nil || known.Trace.URL != "http://127.0.0.1:1/x" || known.Trace.Status != 0 {
		t.Errorf("error %v without its trace", err)
	}
}

// TestCanarySpellings finds secrets that JSON spells otherwise.
func TestCanarySpellings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, secret, body string }{
		{name: "quotes", secret: `canary"with\\quotes`, body: `{"sent":"canary\"with\\\\quotes"}`},
		{name: "slashes", secret: "canary/with/slashes", body: `{"sent":"canary\/with\/slashes"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.SecretsDir = t.TempDir()
			write(t, filepath.Join(o.SecretsDir, "orders-api", "token"), tt.secret)
			got, err := call(t, compile(t, withSecret(backend(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				send(w, tt.body)
			}))), o, tool.Call{}, nil)
			if want := `{"sent":"redacted"}`; err != nil || text(t, got) != want {
				t.Errorf("got %s, %v, want %s", got.Content, err, want)
			}
		})
	}
}

// encoded is base64 in content blocks.
var encoded = regexp.MustCompile(`"(?:blob|data)":"([^"]*)"`)

// TestCanary sends a secret to backends that give it back in every way: it
// never comes to the client, to a log, or into a trace.
func TestCanary(t *testing.T) {
	t.Parallel()
	const canary = "canary-4f1d77b2"
	echo := func(w http.ResponseWriter, r *http.Request, status int, contentType string) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprintf(w, "data: you sent %s\n\n", r.Header.Get("Authorization"))
	}
	for _, tt := range []struct {
		name, stream string
		h            http.HandlerFunc
	}{
		{name: "error", h: func(w http.ResponseWriter, r *http.Request) { echo(w, r, 401, "text/plain") }},
		{name: "at the excerpt's end", h: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			send(w, strings.Repeat("x", 2048-4)+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}},
		{name: "many times over the excerpt's end", h: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			send(w, strings.Repeat(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), 2000))
		}},
		{name: "text", h: func(w http.ResponseWriter, r *http.Request) { echo(w, r, 200, "text/plain") }},
		{name: "JSON", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			body, err := json.Marshal(r.Header)
			if err != nil {
				t.Error(err)
			}
			send(w, string(body))
		}},
		{name: "bytes", h: func(w http.ResponseWriter, r *http.Request) { echo(w, r, 200, "application/octet-stream") }},
		{name: "image", h: func(w http.ResponseWriter, r *http.Request) { echo(w, r, 200, "image/svg+xml") }},
		{name: "no type", h: func(w http.ResponseWriter, r *http.Request) { w.Header()["Content-Type"] = nil; echo(w, r, 200, "") }},
		{name: "events", stream: "SSE", h: func(w http.ResponseWriter, r *http.Request) { echo(w, r, 200, "text/event-stream") }},
		{name: "lines", stream: "NDJSON", h: func(w http.ResponseWriter, r *http.Request) { echo(w, r, 200, "application/json") }},
		{name: "redirect", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+".example/")
			w.WriteHeader(http.StatusFound)
		}},
		{name: "encoding", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			send(w, "x")
		}},
		{name: "type", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			send(w, "\xff")
		}},
		{name: "JSON type that is broken", h: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+"+json")
			send(w, "{")
		}},
		{name: "malformed answer", h: func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 %s\r\n\r\n", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
				conn.Close()
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.SecretsDir = t.TempDir()
			write(t, filepath.Join(o.SecretsDir, "orders-api", "token"), canary+"\n")
			h := withSecret(backend(t, tt.h))
			h.Response.Stream = tt.stream
			var sink recorder
			result, err := call(t, compile(t, h), o, tool.Call{Trace: true}, &sink)
			shown := fmt.Sprintf("%s %s %+v %v %v", result.Content, result.Structured, sink.progress, err, result.Trace)
			for _, match := range encoded.FindAllStringSubmatch(shown, -1) {
				decoded, err := base64.StdEncoding.DecodeString(match[1])
				if err != nil {
					t.Error(err)
				}
				shown += string(decoded)
			}
			// Not even a good part of it.
			if strings.Contains(shown, canary[:len(canary)-3]) {
				t.Errorf("the secret is shown: %s", shown)
			}
		})
	}
}
