// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/clients"
	"fairlead.dev/fairlead/test/localserver"
)

const server = `
contract: 1
name: greeter
auth: {apiKeys: {secretRef: {name: keys}}}
drain: {settle: 1ms, window: 1s, callTimeout: 1s}
tools:
- name: greet
  description: Greets somebody by name.
  inputSchema: {type: object, properties: {name: {type: string}}, required: [name]}
  static: {content: [{text: "Hello, ${arguments.name}!"}]}
`

const apiKey = "a-key-of-the-tests-0123456789"

// TestEveryClient lists and calls with every published client on loopback.
func TestEveryClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string]string{"server.yaml": server, "secrets/keys/tester": apiKey}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := "http://" + localserver.Start(t, filepath.Join(dir, "server.yaml"), filepath.Join(dir, "secrets"))
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatalf("the npm clients are not installed: run npm ci in test/clients (make test does): %v", err)
	}
	for _, client := range clients.All(".") {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, err := client.Run(ctx, clients.Target{
				Base: base, APIKey: apiKey, Tool: "greet", Arguments: map[string]any{"name": "Ada"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if answer.Text != "Hello, Ada!" || answer.IsError || !slices.Equal(answer.Tools, []string{"greet"}) {
				t.Errorf("got %+v, want the tool greet and its greeting", answer)
			}
		})
	}
}
