// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/keyring"
)

// A change of the kubelet's reaches a client without a wait for quiet: the link
// is turned once everything is written.
func TestAChangeOfTheKubeletIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	r := inFolder(t, configuration("one")).run(t)
	heard := make(chan time.Time, 64)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/sse", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := plain.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	go func() {
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "list_changed") {
				heard <- time.Now()
			}
		}
	}()
	const changes = 20
	took := make([]time.Duration, 0, changes)
	for i := range changes {
		text := configuration(fmt.Sprintf("change %d", i))
		began := time.Now()
		publish(t, filepath.Dir(r.file), map[string]string{"server.yaml": text})
		select {
		case at := <-heard:
			took = append(took, at.Sub(began))
		case <-time.After(patience):
			t.Fatal("the client did not hear of the change")
		}
	}
	slices.Sort(took)
	t.Logf("from the new files to list_changed on the stream: median %v, p95 %v, max %v", took[changes/2], took[changes*95/100-1], took[changes-1])
	if median := took[changes/2]; median >= settleEvents {
		t.Errorf("half of the changes took %v or more, as if they had waited %v for quiet", median, settleEvents)
	}
}

// Clients that ignore list_changed call what they once saw, and are told why it
// is not there.
func TestToolsThatAreRemovedOrDisabledSaySo(t *testing.T) {
	t.Parallel()
	const two = `
contract: 1
name: hello
tools:
- {name: echo, description: d, static: {content: [{text: hi}]}}
- {name: old, description: d, static: {content: [{text: hi}]}}
- {name: secret, description: d, access: {anyRole: [admin]}, static: {content: [{text: hi}]}}
- {name: paused, description: d, static: {content: [{text: hi}]}}
auth: {anonymousAccess: Allowed, apiKeys: {secretRef: {name: keys}}}
`
	lines := strings.Split(two, "\n")
	fewer := strings.Join(append(slices.Clone(lines[:5]), "- {name: paused, state: Disabled, description: d, static: {content: [{text: hi}]}}", lines[8], ""), "\n")
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, two)
			session, _ := connect(t, f, r.url)
			ask := func(name string) string {
				result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: name})
				if err != nil {
					return err.Error()
				}
				return fmt.Sprintf("error %t: %s", result.IsError, result.Content[0].(*mcp.TextContent).Text)
			}
			for _, name := range []string{"echo", "old", "paused"} {
				if got := ask(name); got != "error false: hi" {
					t.Fatalf("before the change, %s: %q", name, got)
				}
			}
			before := time.Now()
			write(t, r.file, fewer)
			if err := r.swap(t); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"echo":   "error false: hi",
				"old":    `unknown tool "old": it was removed by a change of this server at `,
				"paused": `error true: tool "paused" is disabled: the operator of this server has switched it off; list the tools again`,
				"none":   `unknown tool "none"`,
				"secret": `unknown tool "secret"`,
			}
			for name, part := range want {
				if got := ask(name); !strings.Contains(got, part) || strings.Contains(got, "removed") != (name == "old") {
					t.Errorf("%s: %q, want %q", name, got, part)
				}
			}
			_, rest, _ := strings.Cut(ask("old"), " at ")
			at, _, _ := strings.Cut(rest, ";")
			if told, err := time.Parse(time.RFC3339, at); err != nil || told.Sub(before).Abs() > time.Minute {
				t.Errorf("it says that the tool was removed at %q: %v", at, err)
			}
			// What comes back is there again.
			write(t, r.file, two)
			if err := r.swap(t); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"old", "paused"} {
				if got := ask(name); got != "error false: hi" {
					t.Errorf("after it came back, %s: %q", name, got)
				}
			}
		})
	}
}

// A start on last-good.yaml ends as soon as server.yaml is good, be it equal.
func TestAFileThatIsMendedGoesLive(t *testing.T) {
	t.Parallel()
	good := configuration("one")
	r := &running{file: filepath.Join(t.TempDir(), "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16)}
	write(t, r.file, breakIt(good))
	write(t, filepath.Join(filepath.Dir(r.file), lastGood), good)
	r.run(t)
	session, changed := connect(t, faces()[1], r.url)
	first := r.status(t)
	if !strings.Contains(first.ConfigError, "tools[0].name") || description(t, session) != "one" {
		t.Fatalf("status %+v", first)
	}
	write(t, r.file, breakIt(configuration("two")))
	if err := r.swap(t); err == nil {
		t.Error("another bad file is served")
	}
	write(t, r.file, good)
	if err := r.swap(t); err != nil {
		t.Errorf("the file that is as the last good one: %v", err)
	}
	if got := r.status(t); got.ConfigError != "" || got.Revision != first.Revision {
		t.Errorf("status %+v, want revision %s without an error", got, first.Revision)
	}
	if len(changed) > 0 {
		t.Error("clients were told of a change that there was not")
	}
	write(t, r.file, configuration("three"))
	if err := r.swap(t); err != nil {
		t.Errorf("the mended file: %v", err)
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("clients were not told of the change")
	}
	if got := description(t, session); got != "three" {
		t.Errorf("the description is %q", got)
	}
}

// The verifier comes with a token of the session keys, whoever else may come in.
func TestTheVerifierIsLetIn(t *testing.T) {
	t.Parallel()
	const uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
	text := strings.Replace(configuration("one"), "name: hello\n", "name: hello\nuid: "+uid+"\n", 1)
	text = strings.Replace(text, "name: echo", "name: echo\n  access: {anyRole: [admin]}", 1)
	text = strings.Replace(text, "Allowed}", "Allowed, apiKeys: {secretRef: {name: keys}}}", 1)
	r := inFolder(t, text)
	files, _ := ringFiles(1, 2, 0)
	publish(t, filepath.Join(filepath.Dir(r.file), "session-keys"), files)
	r.run(t)
	for name, tt := range map[string]struct {
		token string
		want  bool
	}{
		"current key":    {token: keyring.VerifierToken(keyring.Key{1}, uid, time.Now()), want: true},
		"next key":       {token: keyring.VerifierToken(keyring.Key{2}, uid, time.Now()), want: true},
		"foreign key":    {token: keyring.VerifierToken(keyring.Key{3}, uid, time.Now())},
		"another server": {token: keyring.VerifierToken(keyring.Key{1}, "x", time.Now())},
		"expired":        {token: keyring.VerifierToken(keyring.Key{1}, uid, time.Now().Add(-time.Hour))},
	} {
		client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
			Endpoint: r.url + "/mcp", MaxRetries: -1, HTTPClient: &http.Client{Transport: withKey{tt.token}},
		}, &mcp.ClientSessionOptions{ProtocolVersion: "2026-07-28"})
		if (err == nil) != tt.want {
			t.Errorf("%s: %v, want in %t", name, err, tt.want)
		}
		if err != nil {
			continue
		}
		list, err := session.ListTools(t.Context(), nil)
		if err != nil || len(list.Tools) != 1 || list.Meta["fairlead.dev/revision"] != r.status(t).Revision {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		if result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "x"}}); err == nil {
			t.Errorf("%s: a call was answered: %+v", name, result)
		}
		_ = session.Close()
	}
	_, metrics := get(t, r.admin+"/metrics")
	if strings.Contains(metrics, `fairlead_clients_total{client="test"`) {
		t.Error("the verifier counts as a client")
	}
}
