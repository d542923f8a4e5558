// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/test/e2e/record"
	"fairlead.dev/fairlead/test/e2e/traffic"
	"fairlead.dev/fairlead/test/localserver"
)

const paced = `contract: 1
name: goers
auth: {anonymousAccess: Allowed}
drain: {settle: 1ms, window: 1s, callTimeout: 5s}
tools:
- name: work
  description: Gives the id back after a while.
  inputSchema: {type: object, properties: {id: {type: string}, pace: {type: string}}, required: [id, pace]}
  http: {url: "BACKEND/jobs/{id}", query: {pace: "${arguments.pace}"}}
`

// TestGoersGoOn: clients of every era go on after all their connections were
// cut, and their record is in order but for what the cut took along.
func TestGoersGoOn(t *testing.T) {
	t.Parallel()
	backend := &traffic.Backend{}
	web := httptest.NewServer(backend.Handler())
	defer web.Close()
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(paced, "BACKEND", web.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := localserver.NewProxy(t, localserver.Start(t, file, t.TempDir()))

	var log record.Log
	calling, stop := context.WithCancel(t.Context())
	defer stop()
	var going sync.WaitGroup
	for i, kind := range []traffic.Kind{traffic.SSE, traffic.Streamable, traffic.Stateless} {
		goer := &traffic.Goer{
			Target: traffic.Target{Base: proxy.Address()}, Kind: kind, Tool: "work",
			Name: "goer-" + string(kind), Via: "proxy", Log: &log, Seed: uint64(i),
		}
		going.Go(func() { goer.Run(t.Context(), calling) })
	}
	patience, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	if err := log.AwaitAnswers(patience, 0, 3, 2); err != nil {
		t.Fatal(err)
	}
	cut := record.Act{Name: "cut", Began: time.Now(), Cuts: 1}
	proxy.Cut()
	if err := log.AwaitAnswers(patience, len(log.Events()), 3, 2); err != nil {
		t.Fatal(err)
	}
	h := record.History{Acts: []record.Act{cut}, Ended: time.Now()}
	stop()
	going.Wait()
	h.Events = log.Events()
	h.Lives = []record.Life{{Pod: "pod", IP: "127.0.0.1", Killed: cut.Began, Ended: cut.Began}, {Pod: "pod", IP: "127.0.0.1", Began: cut.Began}}
	h.Runs = backend.Runs()
	summary, breaches := record.Check(&h)
	if len(breaches) > 0 {
		t.Error(record.Report(breaches, 30, 4))
	}
	if summary.Cuts["cut"] != 3 {
		t.Errorf("%d streams were cut, want one of each client", summary.Cuts["cut"])
	}
	t.Log("\n" + summary.String())
}
