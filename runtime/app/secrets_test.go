// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/internal/admin"
	"fairlead.dev/fairlead/runtime/keyring"
)

// publish writes the files of a volume as the kubelet does: beside the old ones,
// and then turns the link to them.
func publish(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(dir, ".."+rand.Text())
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Readlink(filepath.Join(dir, dataLink))
	for name, text := range files {
		write(t, filepath.Join(next, name), text)
	}
	link(t, filepath.Base(next), filepath.Join(dir, dataLink))
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, kept := files[e.Name()]; !kept && e.Name() != dataLink && e.Type()&os.ModeSymlink != 0 {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if before != "" {
		if err := os.RemoveAll(filepath.Join(dir, before)); err != nil {
			t.Fatal(err)
		}
	}
}

// link makes a symbolic link, in the place of one that is there.
func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+"_tmp", name); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a status, sooner than the next poll for files.
func (r *running) eventually(t *testing.T, what string, ok func(admin.Status) bool) admin.Status {
	t.Helper()
	deadline := time.After(pollPeriod / 2)
	for {
		got := r.status(t)
		if ok(got) {
			return got
		}
		select {
		case <-deadline:
			t.Fatalf("%s: the status is %+v", what, got)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// inFolder prepares a runtime whose files are in a folder of the test's.
func inFolder(t *testing.T, text string) *running {
	t.Helper()
	r := &running{file: filepath.Join(t.TempDir(), "server", "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 64)}
	publish(t, filepath.Dir(r.file), map[string]string{"server.yaml": text})
	return r
}

func (r *running) secrets(name string) string {
	return filepath.Join(filepath.Dir(r.file), "secrets", name)
}

func ringFiles(current, next, previous byte) (map[string]string, []string) {
	ring := keyring.Ring{Current: keyring.Key{current}, Next: keyring.Key{next}, Previous: keyring.Key{previous}}
	files := map[string]string{"current": string(ring.Current[:]), "next": string(ring.Next[:])}
	if previous != 0 {
		files["previous"] = string(ring.Previous[:])
	}
	return files, ring.IDs()
}

func TestSessionKeysAreFollowed(t *testing.T) {
	t.Parallel()
	r := inFolder(t, configuration("one"))
	keys := filepath.Join(filepath.Dir(r.file), "session-keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	r.run(t)
	if got := r.status(t); len(got.KeyIDs) != 0 || len(got.Problems) != 0 || got.Version != "v0.0.0-test" || !slices.Contains(got.Contracts, 1) {
		t.Errorf("status without keys: %+v", got)
	}
	files, ids := ringFiles(1, 2, 0)
	publish(t, keys, files)
	r.eventually(t, "the keys appear", func(s admin.Status) bool { return slices.Equal(s.KeyIDs, ids) })
	files["next"] = "canary-canary-canary"
	publish(t, keys, files)
	got := r.eventually(t, "a broken key is a problem", func(s admin.Status) bool { return len(s.Problems) == 1 })
	if !slices.Equal(got.KeyIDs, ids) || got.Problems[0].Code != keyring.ProblemCode || got.Problems[0].Secret != "" || strings.Contains(got.Problems[0].Message, "canary") {
		t.Errorf("status with a broken ring: %+v", got)
	}
	if code, _ := get(t, r.admin+"/readyz"); code != http.StatusOK {
		t.Errorf("readiness %d with a broken ring", code)
	}
	publish(t, keys, map[string]string{})
	got = r.eventually(t, "no keys are a problem", func(s admin.Status) bool {
		return len(s.Problems) == 1 && strings.Contains(s.Problems[0].Message, "does not exist")
	})
	if !slices.Equal(got.KeyIDs, ids) || got.Problems[0].Code != keyring.ProblemCode || got.Problems[0].Secret != "" {
		t.Errorf("status without the keys that there were: %+v", got)
	}
	files, ids = ringFiles(2, 3, 1)
	publish(t, keys, files)
	r.eventually(t, "the next ring", func(s admin.Status) bool { return slices.Equal(s.KeyIDs, ids) && len(s.Problems) == 0 })
}

const secretive = `
contract: 1
name: hello
tools:
- {name: echo, description: d, static: {content: [{text: hi}]}}
- name: fetch
  description: d
  http: {url: "URL", network: Private, headersFrom: [{name: Authorization, secretKeyRef: {name: backend, key: token}, prefix: "Bearer "}]}
- name: again
  description: d
  http: {url: "URL", network: Private, headersFrom: [{name: X-Token, secretKeyRef: {name: backend, key: token}}]}
auth: {apiKeys: {secretRef: {name: keys}}, anonymousAccess: Allowed}
`

// A Secret that is not there hurts the tools that need it, and nothing else; its
// coming is noticed by itself.
func TestSecretsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = w.Write([]byte(q.Header.Get("Authorization")))
	}))
	t.Cleanup(backend.Close)
	r := inFolder(t, strings.ReplaceAll(secretive, "URL", backend.URL))
	for _, folder := range []string{"backend", "keys"} {
		// Optional volumes are there, and empty.
		if err := os.MkdirAll(r.secrets(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.run(t)
	want := []admin.Problem{{
		Code: "SecretMissing", Secret: "backend", Key: "token",
		Message: `tool "fetch" cannot send the header Authorization: key "token" of Secret "backend" does not exist; create it, until then its calls fail (1 more uses of this key fail too)`,
	}}
	if diff := cmp.Diff(want, r.status(t).Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if code, _ := get(t, r.admin+"/readyz"); code != http.StatusOK {
		t.Errorf("readiness %d", code)
	}
	session, _ := connect(t, faces()[2], r.url)
	text := func(tool string) string {
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool})
		if err != nil {
			t.Fatal(err)
		}
		return result.Content[0].(*mcp.TextContent).Text
	}
	if got := text("fetch"); !strings.Contains(got, "Secret") {
		t.Errorf("a call that needs the Secret: %q", got)
	}
	if got := text("echo"); got != "hi" {
		t.Errorf("a call that does not: %q", got)
	}
	publish(t, r.secrets("backend"), map[string]string{"token": "canary\n\ncanary"})
	publish(t, r.secrets("keys"), map[string]string{"alice": "canary"})
	got := r.eventually(t, "both are invalid", func(s admin.Status) bool {
		return len(s.Problems) == 2 && s.Problems[0].Code == admin.SecretInvalid && s.Problems[1].Code == admin.SecretInvalid
	})
	if _, body := get(t, r.admin+"/status"); strings.Contains(body, "canary") || got.Problems[0].Key != "alice" {
		t.Errorf("the status shows a value, or not the entry: %s", body)
	}
	publish(t, r.secrets("backend"), map[string]string{"token": "s3cret"})
	publish(t, r.secrets("keys"), map[string]string{"alice": "alice-key-0123456789abcdef"})
	r.eventually(t, "all is well", func(s admin.Status) bool { return len(s.Problems) == 0 })
	if got := text("fetch"); got != "Bearer s3cret" {
		t.Errorf("the backend got %q", got)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var tools strings.Builder
	for name := range strings.SplitSeq("abcdefghijklmnopqrstuvwxyz", "") {
		tools.WriteString("- {name: tool-" + name + ", description: d, http: {url: 'http://x.example/', headersFrom: [{name: X, secretKeyRef: {name: backend, key: key-" + name + "}}]}}\n")
	}
	r := start(t, "contract: 1\nname: hello\ntools:\n"+tools.String()+"auth: {anonymousAccess: Allowed}\n")
	if got := len(r.status(t).Problems); got != admin.MaxProblems {
		t.Errorf("%d problems, want %d", got, admin.MaxProblems)
	}
}

// keyed connects with a key and tells when the session's stream is over.
func keyed(t *testing.T, f face, url, key string) (session *mcp.ClientSession, changed <-chan struct{}) {
	t.Helper()
	changes := make(chan struct{}, 16)
	httpClient := &http.Client{Transport: withKey{key}}
	var wire mcp.Transport = &mcp.StreamableClientTransport{Endpoint: url + "/mcp", MaxRetries: -1, HTTPClient: httpClient}
	if f.name == "HTTP+SSE" {
		wire = &mcp.SSEClientTransport{Endpoint: url + "/sse", HTTPClient: httpClient}
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changes <- struct{}{} },
	})
	session, err := client.Connect(t.Context(), wire, &mcp.ClientSessionOptions{ProtocolVersion: f.version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session, changes
}

// A key that is taken away ends its owner's streams at once, in every era, and a
// change of roles tells its owner to list again.
func TestKeysThatChangeReachTheirOwnersStreams(t *testing.T) {
	t.Parallel()
	const alice, bob = "alice-key-0123456789abcdef", "bob-key-0123456789abcdefgh"
	guarded := strings.Replace(configuration("one"), "auth: {anonymousAccess: Allowed}", "auth: {apiKeys: {secretRef: {name: keys}}}", 1)
	guarded = strings.Replace(guarded, "name: echo", "name: echo\n  access: {anyRole: [admin]}", 1)
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := inFolder(t, guarded)
			publish(t, r.secrets("keys"), map[string]string{"alice": alice, "bob": bob})
			r.run(t)
			alices, aliceChanged := keyed(t, f, r.url, alice)
			_, bobChanged := keyed(t, f, r.url, bob)
			r.eventually(t, "both listen", func(s admin.Status) bool { return s.Streams == 2 })
			if list, err := alices.ListTools(t.Context(), nil); err != nil || len(list.Tools) != 0 {
				t.Errorf("before she is admin: %+v, %v", list, err)
			}
			publish(t, r.secrets("keys"), map[string]string{"alice": `{"key":"` + alice + `","roles":["admin"]}`, "bob": bob})
			select {
			case <-aliceChanged:
			case <-time.After(pollPeriod / 2):
				t.Fatal("nobody told alice to list again")
			}
			if got := description(t, alices); got != "one" {
				t.Errorf("the admin sees %q", got)
			}
			if len(bobChanged) > 0 {
				t.Error("bob was told of what does not concern him")
			}
			publish(t, r.secrets("keys"), map[string]string{"bob": bob})
			r.eventually(t, "alice's stream is closed", func(s admin.Status) bool { return s.Streams == 1 })
			if list, err := alices.ListTools(t.Context(), nil); err == nil {
				t.Errorf("the revoked key lists %+v", list)
			}
		})
	}
}
