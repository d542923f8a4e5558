// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/clients"
	"fairlead.dev/fairlead/test/e2e/record"
	"fairlead.dev/fairlead/test/e2e/traffic"
	"fairlead.dev/fairlead/test/localserver"
)

const paced = `
contract: 1
name: paced
auth: {apiKeys: {secretRef: {name: keys}}}
drain: {settle: 1ms, window: 1s, callTimeout: 5s}
tools:
- name: work
  description: Gives the id back after a while.
  inputSchema: {type: object, properties: {id: {type: string}, pace: {type: string}}, required: [id, pace]}
  http: {url: "BACKEND/jobs/{id}", query: {pace: "${arguments.pace}"}}
`

// TestPublishedClientsGoOn: all connections of the TypeScript clients are cut,
// while some calls run. Each client goes on with its session or is told clearly
// to begin anew, and no answer comes twice.
func TestPublishedClientsGoOn(t *testing.T) {
	t.Parallel()
	backend := &traffic.Backend{}
	web := httptest.NewServer(backend.Handler())
	defer web.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"server.yaml": strings.ReplaceAll(paced, "BACKEND", web.URL), "secrets/keys/tester": apiKey} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proxy := localserver.NewProxy(t, localserver.Start(t, filepath.Join(dir, "server.yaml"), filepath.Join(dir, "secrets")))
	var all []clients.Recorded
	for _, kind := range clients.Kinds() {
		all = append(all, clients.Recorded{Name: kind + "-0", Kind: kind, Via: "proxy", Base: proxy.Address()})
	}
	var log record.Log
	busy, err := clients.Start(t.Context(), ".", "work", apiKey, all, &log)
	if err != nil {
		t.Fatal(err)
	}
	patience, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	if err := log.AwaitAnswers(patience, 0, len(all), 2); err != nil {
		t.Fatal(err)
	}
	cut := record.Act{Name: "cut", Began: time.Now(), Cuts: 1}
	proxy.Cut()
	if err := log.AwaitAnswers(patience, len(log.Events()), len(all), 3); err != nil {
		t.Fatal(err)
	}
	h := record.History{Acts: []record.Act{cut}, Ended: time.Now()}
	if err := busy.Stop(); err != nil {
		t.Error(err)
	}
	h.Events = log.Events()
	h.Lives = []record.Life{{Pod: "pod", IP: "127.0.0.1", Killed: cut.Began, Ended: cut.Began}, {Pod: "pod", IP: "127.0.0.1", Began: cut.Began}}
	h.Runs = backend.Runs()
	summary, breaches := record.Check(&h)
	if len(breaches) > 0 {
		t.Error(record.Report(breaches, 30, 4))
	}
	// v1 and v2 each hold one stream open; how v2 listens is its own business.
	if summary.Cuts["cut"] != len(all) {
		t.Errorf("%d streams were cut, want one of each client", summary.Cuts["cut"])
	}
	t.Log("\n" + summary.String())
	if t.Failed() {
		for _, e := range h.Events {
			line, _ := json.Marshal(e)
			t.Log(string(line))
		}
	}
}
