// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/clients"
)

// apiKey is also the canary that must appear nowhere.
const apiKey = "canary-4d5e8f1c2b7a9630"

const greeter = `
apiVersion: v1
kind: Secret
metadata: {name: greeter-keys}
stringData: {tester: ` + apiKey + `}
---
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: greeter}
spec:
  title: Greeter
  auth: {apiKeys: {secretRef: {name: greeter-keys}}}
  drain: {window: 5s, callTimeout: 20s}
  tools:
  - name: greet
    description: Greets somebody by name.
    inputSchema:
      type: object
      properties: {name: {type: string, minLength: 1, maxLength: 64}}
      required: [name]
    static: {content: [{text: "Hello, ${arguments.name}!"}]}
`

// TestClients is the promise of three eras on one port: every published client
// lists and calls tools through the Service.
func TestClients(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ns := c.namespace(t)
	c.apply(t, ns, greeter)
	c.ready(t, ns, "greeter")
	address := base(ns, "greeter")
	eventually(t, "an answering Service", func(ctx context.Context) error { return reach(ctx, address) })
	dir := filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "test", "clients")
	for _, client := range clients.All(dir) {
		t.Run(client.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, err := client.Run(ctx, clients.Target{
				Base: address, APIKey: apiKey, Tool: "greet", Arguments: map[string]any{"name": "Ada"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if answer.Text != "Hello, Ada!" || answer.IsError || !slices.Equal(answer.Tools, []string{"greet"}) {
				t.Errorf("got %+v, want the tool greet and its greeting", answer)
			}
		})
	}
	t.Run("wrong key", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		target := clients.Target{Base: address, APIKey: "wrong-key-wrong-key", Tool: "greet"}
		if answer, err := clients.All(dir)[0].Run(ctx, target); err == nil {
			t.Errorf("a wrong key got the answer %+v", answer)
		}
	})
}

// TestSamples applies each sample that stands alone and waits until it serves.
func TestSamples(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "config", "samples"))
	if err != nil {
		t.Fatal(err)
	}
	applied := 0
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".yaml" || entry.Name() == "kustomization.yaml" {
			continue
		}
		applied++
		t.Run(entry.Name(), func(t *testing.T) {
			t.Parallel()
			c := connect(t)
			ns := c.namespace(t)
			manifest := sample(t, entry.Name())
			c.apply(t, ns, manifest)
			for _, name := range serverNames(t, manifest) {
				server := c.ready(t, ns, name)
				if server.Status.Tools == nil || server.Status.Tools.Count == 0 || server.Status.Address == nil {
					t.Errorf("MCPServer %s is Ready, but its status lacks tools or address: %+v", name, server.Status)
				}
			}
		})
	}
	if applied == 0 {
		t.Error("no samples were found")
	}
}
