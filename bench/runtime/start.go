// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/load"
)

const (
	// starts is how often each server is started.
	starts = 7
	// idleFor is how long a server is left alone before its memory is read: what it
	// does now and then at rest is among it.
	idleFor = 15 * time.Second
)

// product is Fairlead's own program.
const product = "fairlead-runtime"

// startConfiguration is what Fairlead's own program is started with.
const startConfiguration = `
contract: 1
name: bench
tools:
- name: echo
  description: Echoes text.
  inputSchema: {type: object, properties: {text: {type: string}}, required: [text]}
  static: {content: [{text: "${arguments.text}"}]}
- name: fetch
  description: Gets what the backend says.
  http: {url: "http://backend.default.svc/hello"}
auth: {apiKeys: {secretRef: {name: keys}}}
`

// start measures how long a server takes to answer initialize after it was
// started, and its memory when it has nothing to do. Fairlead is its own program
// here, without a side door; its readiness is asked for first.
func start(ctx context.Context, r *rig, _ options) ([]row, error) {
	file := filepath.Join(r.dir, "server.yaml")
	secret := filepath.Join(r.dir, "secrets", "keys")
	if err := os.MkdirAll(secret, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(secret, "bench"), []byte(key), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(startConfiguration), 0o600); err != nil {
		return nil, err
	}
	if err := r.build(ctx, filepath.Join("..", ".."), product, "./runtime"); err != nil {
		return nil, err
	}
	ready, memory := nothing(), nothing()
	for _, s := range []subject{fairlead, goSDK, mcpGo, floor} {
		progressf("start: %s", subjectNames[s])
		var took []time.Duration
		for i := range starts {
			d, rss, err := r.startOnce(ctx, s, i == starts-1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", subjectNames[s], err)
			}
			took = append(took, d)
			memory[s] = float64(rss)
		}
		slices.Sort(took)
		ready[s] = float64(took[len(took)/2])
	}
	return []row{
		{what: "start to ready, median", show: millis, got: ready, must: []bar{atMost(50e6, millis)}, aim: []bar{atMost(20e6, millis)}},
		{what: "RSS of a process that serves nobody", show: mib, got: memory, must: []bar{atMost(16<<20, mib)}, aim: []bar{atMost(12<<20, mib)}},
	}, nil
}

// startOnce starts a server, and leaves it alone for a while if that is wanted.
func (r *rig) startOnce(ctx context.Context, s subject, settled bool) (time.Duration, uint64, error) {
	clients, err := freeAddress(ctx)
	if err != nil {
		return 0, 0, err
	}
	side, err := freeAddress(ctx)
	if err != nil {
		return 0, 0, err
	}
	program, args := s.program(), []string{"-listen", clients, "-door", side}
	if s == fairlead {
		program = product
		args = []string{
			"serve", "--config", filepath.Join(r.dir, "server.yaml"), "--secrets-dir", filepath.Join(r.dir, "secrets"),
			"--listen", clients, "--admin-listen", side,
		}
	}
	began := time.Now()
	p, err := r.launch(ctx, filepath.Join(r.dir, program), args...)
	if err != nil {
		return 0, 0, err
	}
	defer p.kill()
	patient, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if s == fairlead {
		if err := load.AwaitReady(patient, side); err != nil {
			return 0, 0, err
		}
	}
	if err := load.AwaitAnswer(patient, load.Server{Addr: clients, Key: key, Path: "/mcp"}, load.Session); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	if settled {
		err = pause(ctx, idleFor)
	}
	rss, _ := door.Memory(p.command.Process.Pid)
	return took, rss, err
}
