// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/keyring"
)

const (
	aliceKey = "alice-0123456789abcdef"
	bobKey   = "bob-0123456789abcdef"
	carolKey = "carol-0123456789abcdef"
)

// digest is the SHA-256 of a key in hex.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// newKeys loads the keys of a configuration without a ring.
func newKeys(cfg config.Auth, secretsDir string) (*auth.Keys, auth.Report) {
	return auth.New(auth.Rules{Auth: cfg}, secretsDir)
}

// folder writes entries as the kubelet does: files are links through ..data.
func folder(t *testing.T, entries map[string]string) (secretsDir string) {
	t.Helper()
	secretsDir = t.TempDir()
	publish(t, filepath.Join(secretsDir, "keys"), "..v1", entries)
	return secretsDir
}

// publish swaps the content of a folder as the kubelet does.
func publish(t *testing.T, dir, version string, entries map[string]string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, version), 0o755))
	for name, value := range entries {
		must(os.WriteFile(filepath.Join(dir, version, name), []byte(value), 0o600))
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			must(os.Symlink("..data/"+name, filepath.Join(dir, name)))
		}
	}
	must(os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	names, err := os.ReadDir(dir)
	must(err)
	for _, e := range names {
		if _, wanted := entries[e.Name()]; !wanted && !strings.HasPrefix(e.Name(), "..") {
			must(os.Remove(filepath.Join(dir, e.Name())))
		}
	}
}

// keyed is the configuration with API keys.
func keyed(anonymous string) config.Auth {
	return config.Auth{AnonymousAccess: anonymous, APIKeys: &config.APIKeys{SecretRef: config.SecretRef{Name: "keys"}}}
}

// ask authenticates a request with header lines "Name: value".
func ask(k auth.Authenticator, lines ...string) (auth.Principal, error) {
	r := httptest.NewRequest(http.MethodPost, "/mcp", http.NoBody)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return k.Authenticate(r)
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"alice": aliceKey + "\n",
		"bob":   "sha256:" + digest(bobKey),
		"carol": fmt.Sprintf(`{"sha256": %q, "roles": ["developer", "admin"]}`, digest(carolKey)),
	})
	var (
		alice = auth.Principal{Key: "apikey:alice", Name: "alice"}
		bob   = auth.Principal{Key: "apikey:bob", Name: "bob"}
		carol = auth.Principal{Key: "apikey:carol", Name: "carol", Roles: []string{"developer", "admin"}}
	)
	missing := &auth.Error{
		Status: 401, Code: "missing_credentials", Challenge: `Bearer realm="fairlead"`,
		Message: "credentials are required: send the API key as Authorization: Bearer KEY or X-API-Key: KEY",
	}
	invalid := func(message string) *auth.Error {
		return &auth.Error{Status: 401, Code: "invalid_credentials", Challenge: `Bearer realm="fairlead", error="invalid_token"`, Message: message}
	}
	wrong := invalid("the API key is not valid")
	malformed := invalid("the Authorization header is malformed: it must be Bearer KEY")
	ambiguous := func(message string) *auth.Error {
		return &auth.Error{Status: 400, Code: "ambiguous_credentials", Message: message}
	}
	twice := ambiguous("a credential header was sent more than once")
	for _, tt := range []struct {
		name      string
		anonymous string
		header    []string
		want      auth.Principal
		wantErr   *auth.Error
	}{
		{name: "bearer", header: []string{"Authorization: Bearer " + aliceKey}, want: alice},
		{name: "scheme in any case", header: []string{"Authorization: bEARER " + aliceKey}, want: alice},
		{name: "several spaces", header: []string{"Authorization: Bearer   " + aliceKey}, want: alice},
		{name: "key header", header: []string{"X-API-Key: " + bobKey}, want: bob},
		{name: "roles", header: []string{"X-API-Key: " + carolKey}, want: carol},
		{name: "both equal", header: []string{"X-API-Key: " + aliceKey, "Authorization: Bearer " + aliceKey}, want: alice},
		{
			name: "both different", header: []string{"X-API-Key: " + aliceKey, "Authorization: Bearer " + bobKey},
			wantErr: ambiguous("Authorization and X-API-Key carry different credentials; send one"),
		},
		{name: "bearer twice", header: []string{"Authorization: Bearer " + aliceKey, "Authorization: Bearer " + aliceKey}, wantErr: twice},
		{name: "key twice", header: []string{"X-API-Key: " + aliceKey, "X-API-Key: " + aliceKey}, wantErr: twice},
		{name: "none", wantErr: missing},
		{name: "none but anonymous", anonymous: "Allowed", want: auth.Anonymous()},
		{name: "wrong", header: []string{"Authorization: Bearer " + aliceKey + "x"}, wantErr: wrong},
		{name: "wrong although anonymous", anonymous: "Allowed", header: []string{"X-API-Key: " + aliceKey + "x"}, wantErr: wrong},
		{name: "the digest is no key", header: []string{"X-API-Key: sha256:" + digest(bobKey)}, wantErr: wrong},
		{name: "the name is no key", header: []string{"X-API-Key: alice"}, wantErr: wrong},
		{name: "too long", header: []string{"X-API-Key: " + strings.Repeat("a", 5000)}, wantErr: wrong},
		{name: "no scheme", header: []string{"Authorization: " + aliceKey}, wantErr: malformed},
		{name: "basic", header: []string{"Authorization: Basic YTpi"}, wantErr: malformed},
		{name: "no token", header: []string{"Authorization: Bearer "}, wantErr: malformed},
		{name: "two tokens", header: []string{"Authorization: Bearer a b"}, wantErr: malformed},
		{name: "empty although anonymous", anonymous: "Allowed", header: []string{"Authorization: "}, wantErr: malformed},
		{name: "empty key", header: []string{"X-API-Key: "}, wantErr: invalid("the X-API-Key header is empty")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys, report := newKeys(keyed(tt.anonymous), dir)
			if want := (auth.Report{Enabled: true, Entries: 3}); !cmp.Equal(report, want) {
				t.Fatalf("New: %s", cmp.Diff(want, report))
			}
			got, err := ask(keys, tt.header...)
			var gotErr *auth.Error
			errors.As(err, &gotErr)
			if diff := cmp.Diff(tt.wantErr, gotErr); diff != "" {
				t.Errorf("Authenticate: error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Authenticate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	badJSON := `it is not valid: the JSON must be an object with "key" or "sha256", and "roles" (a list of strings), each at most once and nothing else`
	for _, tt := range []struct {
		name, value, want string
	}{
		{name: "key", value: "0123456789abcdef"},
		{name: "key with blanks around", value: "  0123456789abcdef\r\n"},
		{name: "JSON with key", value: `{"key": "0123456789abcdef"}`},
		{name: "JSON with prefixed digest", value: `{"sha256": "sha256:` + digest("x") + `", "roles": []}`},
		{name: "empty", value: " \n", want: "it is empty"},
		{name: "short", value: "0123456789abcde", want: "its key is shorter than 16 characters; use a random one, for example of openssl rand -hex 32"},
		{name: "short in JSON", value: `{"key":"short"}`, want: "its key is shorter than 16 characters; use a random one, for example of openssl rand -hex 32"},
		{name: "two lines", value: "0123456789abcdef\n0123456789abcdef", want: "its key has characters that a header cannot carry; use visible ASCII without spaces"},
		{name: "umlaut", value: "0123456789abcdefü", want: "its key has characters that a header cannot carry; use visible ASCII without spaces"},
		{name: "not UTF-8", value: "0123456789abcdef\xff", want: "its key has characters that a header cannot carry; use visible ASCII without spaces"},
		{name: "digest too short", value: "sha256:abcd", want: "its SHA-256 digest must have 64 hex digits"},
		{name: "digest not hex", value: "sha256:" + strings.Repeat("g", 64), want: "its SHA-256 digest must have 64 hex digits"},
		{name: "unknown member", value: `{"key":"0123456789abcdef","role":["a"]}`, want: badJSON},
		{name: "other case", value: `{"key":"0123456789abcdef","Roles":["a"]}`, want: badJSON},
		{name: "twice", value: `{"key":"0123456789abcdef","roles":[],"roles":["admin"]}`, want: badJSON},
		{name: "roles no list", value: `{"key":"0123456789abcdef","roles":"admin"}`, want: badJSON},
		{name: "cut off", value: `{"key":"0123456789abcdef"`, want: badJSON},
		{name: "two values", value: `{"key":"0123456789abcdef"}{}`, want: badJSON},
		{name: "neither", value: `{"roles":["admin"]}`, want: `it must have exactly one of "key" and "sha256"`},
		{name: "both", value: `{"key":"0123456789abcdef","sha256":"00"}`, want: `it must have exactly one of "key" and "sha256"`},
		{name: "empty role", value: `{"key":"0123456789abcdef","roles":[""]}`, want: `it has an empty role in "roles"`},
		{name: "too large", value: strings.Repeat("a", 4097), want: "it is larger than 4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, map[string]string{"alice": aliceKey, "entry": tt.value})
			keys, report := newKeys(keyed(""), dir)
			want := auth.Report{Enabled: true, Entries: 2}
			if tt.want != "" {
				want = auth.Report{Enabled: true, Entries: 1, Problems: []auth.Problem{{Code: "InvalidEntry", Secret: "keys", Entry: "entry", Reason: tt.want}}}
			}
			if diff := cmp.Diff(want, report); diff != "" {
				t.Errorf("New (-want +got):\n%s", diff)
			}
			if _, err := ask(keys, "X-API-Key: "+aliceKey); err != nil {
				t.Errorf("the other entry got lost: %v", err)
			}
		})
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		keys, report := newKeys(keyed(""), t.TempDir())
		want := auth.Report{Enabled: true, Problems: []auth.Problem{{
			Code: "SecretMissing", Secret: "keys", Reason: "the Secret does not exist; create it, until then no API key is valid",
		}}}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Errorf("New (-want +got):\n%s", diff)
		}
		if _, err := ask(keys, "X-API-Key: "+aliceKey); err == nil {
			t.Error("somebody got in")
		}
		if _, err := ask(keys); err == nil {
			t.Error("somebody got in without credentials")
		}
	})
	t.Run("missing, with anonymous access", func(t *testing.T) {
		t.Parallel()
		keys, _ := newKeys(keyed("Allowed"), filepath.Join(t.TempDir(), "absent"))
		if _, err := ask(keys); err != nil {
			t.Errorf("anonymous access needs no keys: %v", err)
		}
		if _, err := ask(keys, "X-API-Key: "+aliceKey); err == nil {
			t.Error("a key got in that nobody could check")
		}
	})
	t.Run("nothing configured", func(t *testing.T) {
		t.Parallel()
		keys, report := newKeys(config.Auth{}, t.TempDir())
		if diff := cmp.Diff(auth.Report{}, report); diff != "" {
			t.Errorf("New (-want +got):\n%s", diff)
		}
		if _, err := ask(keys); err == nil {
			t.Error("somebody got in")
		}
	})
	t.Run("same key twice", func(t *testing.T) {
		t.Parallel()
		keys, report := newKeys(keyed(""), folder(t, map[string]string{"bob": aliceKey, "alice": "sha256:" + digest(aliceKey)}))
		want := []auth.Problem{{
			Code: "InvalidEntry", Secret: "keys", Entry: "bob",
			Reason: `it has the same key as entry "alice"; give each client a key of its own`,
		}}
		if diff := cmp.Diff(want, report.Problems); diff != "" {
			t.Errorf("New (-want +got):\n%s", diff)
		}
		if p, err := ask(keys, "X-API-Key: "+aliceKey); err != nil || p.Name != "alice" {
			t.Errorf("got %+v, %v; want alice", p, err)
		}
	})
	t.Run("a link out of the folder", func(t *testing.T) {
		t.Parallel()
		outside := filepath.Join(t.TempDir(), "outside")
		if err := os.WriteFile(outside, []byte(bobKey), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := folder(t, map[string]string{"alice": aliceKey})
		if err := os.Symlink(outside, filepath.Join(dir, "keys", "bob")); err != nil {
			t.Fatal(err)
		}
		keys, report := newKeys(keyed(""), dir)
		if len(report.Problems) != 1 || report.Problems[0].Entry != "bob" {
			t.Errorf("problems: %+v", report.Problems)
		}
		if _, err := ask(keys, "X-API-Key: "+bobKey); err == nil {
			t.Error("a file outside the folder became a key")
		}
	})
	t.Run("too many", func(t *testing.T) {
		t.Parallel()
		entries := make(map[string]string, 1001)
		for i := range 1001 {
			entries[fmt.Sprintf("client-%04d", i)] = fmt.Sprintf("0123456789abcdef-%d", i)
		}
		_, report := newKeys(keyed(""), folder(t, entries))
		if report.Entries != 1000 || len(report.Problems) != 1 || report.Problems[0].Code != "TooManyEntries" {
			t.Errorf("report: %d entries, problems %+v", report.Entries, report.Problems)
		}
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"alice": aliceKey, "bob": bobKey, "carol": carolKey})
	keys, _ := newKeys(keyed("Allowed"), dir)
	publish(t, filepath.Join(dir, "keys"), "..v2", map[string]string{"alice": aliceKey, "bob": bobKey + "-new", "dave": "dave-0123456789abcdef"})
	if _, err := ask(keys, "X-API-Key: "+carolKey); err != nil {
		t.Errorf("before Commit the old keys are valid: %v", err)
	}
	generation := keys.Generation()
	want := auth.Report{Enabled: true, Entries: 3, Removed: []string{"apikey:bob", "apikey:carol"}}
	if diff := cmp.Diff(want, keys.Load(auth.Rules{Auth: keyed("Allowed")}).Commit()); diff != "" {
		t.Errorf("Commit (-want +got):\n%s", diff)
	}
	if now := keys.Generation(); generation == 0 || now <= generation {
		t.Errorf("the generation was %d and is %d", generation, now)
	}
	for key, valid := range map[string]bool{aliceKey: true, bobKey: false, bobKey + "-new": true, carolKey: false} {
		if _, err := ask(keys, "X-API-Key: "+key); (err == nil) != valid {
			t.Errorf("key %q: %v, want valid %t", key, err, valid)
		}
	}
	publish(t, filepath.Join(dir, "keys"), "..v3", map[string]string{"alice": fmt.Sprintf(`{"key":%q,"roles":["admin"]}`, aliceKey)})
	want = auth.Report{Enabled: true, Entries: 1, Removed: []string{"apikey:bob", "apikey:dave"}, Changed: []string{"apikey:alice"}}
	if diff := cmp.Diff(want, keys.Load(auth.Rules{Auth: keyed("Allowed")}).Commit()); diff != "" {
		t.Errorf("Commit (-want +got):\n%s", diff)
	}
	want = auth.Report{Removed: []string{"anonymous", "apikey:alice"}}
	if diff := cmp.Diff(want, keys.Load(auth.Rules{}).Commit()); diff != "" {
		t.Errorf("Commit (-want +got):\n%s", diff)
	}
}

// TestReloadWhileAsked shows that a request never sees a half-loaded set.
func TestReloadWhileAsked(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(keyed(""), folder(t, map[string]string{"alice": aliceKey}))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				if _, err := ask(keys, "X-API-Key: "+aliceKey); err != nil {
					t.Errorf("a valid key was refused: %v", err)
					return
				}
			}
		})
	}
	for range 20 {
		keys.Load(auth.Rules{Auth: keyed("")}).Commit()
	}
	group.Wait()
}

// TestNoValueIsShown looks for keys in everything that leaves the package.
func TestNoValueIsShown(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a9c"
	keys, report := newKeys(keyed(""), folder(t, map[string]string{
		"a": canary, "b": `{"key":"` + canary, "c": `{"key":"` + canary + `","x":1}`, "d": "sha256:" + canary, "e": canary + canary + " " + canary,
		"f": `{"` + canary + `":1}`, "g": `{"key":"` + canary + `","roles":["` + canary + `",3]}`,
	}))
	if len(report.Problems) != 7 {
		t.Errorf("problems: %+v", report.Problems)
	}
	shown := fmt.Sprintf("%+v", report)
	for _, header := range []string{"Authorization: Bearer ", "Authorization: ", "X-API-Key: "} {
		_, err := ask(keys, header+canary)
		shown += fmt.Sprintf("%+v", err)
	}
	if strings.Contains(shown, canary) {
		t.Errorf("a key is shown: %s", shown)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	admin := auth.Principal{Key: "apikey:a", Roles: []string{"user", "admin"}}
	for _, tt := range []struct {
		name          string
		defaultAccess string
		who           auth.Principal
		access        *config.Access
		want          bool
	}{
		{name: "default is allowed", who: auth.Anonymous(), want: true},
		{name: "allowed", defaultAccess: "Allowed", who: admin, want: true},
		{name: "denied", defaultAccess: "Denied", who: admin},
		{name: "an unknown word denies", defaultAccess: "allowed", who: admin},
		{name: "role", defaultAccess: "Denied", who: admin, access: &config.Access{AnyRole: []string{"x", "admin"}}, want: true},
		{name: "other role", defaultAccess: "Allowed", who: admin, access: &config.Access{AnyRole: []string{"Admin"}}},
		{name: "no role", defaultAccess: "Allowed", who: auth.Anonymous(), access: &config.Access{AnyRole: []string{"admin"}}},
		{name: "empty rule", defaultAccess: "Allowed", who: admin, access: &config.Access{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := auth.NewPolicy(config.Auth{DefaultAccess: tt.defaultAccess}).Allowed(tt.who, tt.access); got != tt.want {
				t.Errorf("Allowed = %t, want %t", got, tt.want)
			}
		})
	}
	if (auth.Policy{}).Allowed(admin, nil) {
		t.Error("the zero Policy allows something")
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	const uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
	ring := keyring.Ring{Current: keyring.Key{1}, Next: keyring.Key{2}}
	now := time.Now()
	good := keyring.VerifierToken(ring.Current, uid, now)
	everything := auth.Rules{Auth: keyed("Allowed"), UID: uid, Ring: ring}
	tests := []struct {
		name  string
		token string
		rules auth.Rules
		want  bool
	}{
		{name: "a token", token: good, rules: everything, want: true},
		{name: "of the next key", token: keyring.VerifierToken(ring.Next, uid, now), rules: everything, want: true},
		{name: "without API keys or anonymous access", token: good, rules: auth.Rules{UID: uid, Ring: ring}, want: true},
		{name: "expired", token: keyring.VerifierToken(ring.Current, uid, now.Add(-2*time.Minute)), rules: everything},
		{name: "of another server", token: keyring.VerifierToken(ring.Current, uid+"0", now), rules: everything},
		{name: "of another key", token: keyring.VerifierToken(keyring.Key{3}, uid, now), rules: everything},
		{name: "no ring", token: good, rules: auth.Rules{Auth: keyed("Allowed"), UID: uid}},
		{name: "no uid", token: keyring.VerifierToken(ring.Current, "", now), rules: auth.Rules{Auth: keyed("Allowed"), Ring: ring}},
		{name: "an entry that looks like a token", token: "flv1.0123456789abcdef", rules: everything},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys, _ := auth.New(tt.rules, folder(t, map[string]string{"alice": "flv1.0123456789abcdef"}))
			got, err := ask(keys, "Authorization: Bearer "+tt.token)
			if !tt.want {
				if refused, ok := errors.AsType[*auth.Error](err); !ok || refused.Status != http.StatusUnauthorized || refused.Code != auth.CodeInvalid {
					t.Errorf("%+v, %v, want 401", got, err)
				}
				return
			}
			want := auth.Principal{Key: auth.VerifierKey, Name: auth.VerifierKey, Verifier: true}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
	// A ring that was replaced takes its tokens along.
	keys, _ := auth.New(everything, t.TempDir())
	if _, err := ask(keys, "Authorization: Bearer "+good); err != nil {
		t.Error(err)
	}
	everything.Ring = keyring.Ring{Current: keyring.Key{4}, Next: keyring.Key{5}}
	if got := keys.Load(everything).Commit(); got.Removed != nil {
		t.Errorf("Removed %v", got.Removed)
	}
	if _, err := ask(keys, "Authorization: Bearer "+good); err == nil {
		t.Error("a token of a dropped key is valid")
	}
}
