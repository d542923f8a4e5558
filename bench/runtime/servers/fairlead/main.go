// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fairlead is the runtime as its pods run it, with API keys, schemas,
// limits and metrics on, beside the side door of the benchmark: /sse and /mcp.
// It adds nothing to what runtime/app serves.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/runtime/app"
	"fairlead.dev/fairlead/runtime/keyring"
)

// configuration has the tools of the other servers. What the others do in a
// handler, the runtime does with a backend.
const configuration = `
contract: 1
name: bench
uid: 00000000-0000-0000-0000-000000000001
tools:
- name: echo
  description: Echoes text.
  inputSchema: {type: object, properties: {text: {type: string}}, required: [text]}
  static: {content: [{text: "${arguments.text}"}]}
- name: progress
  description: Reports progress n times.
  inputSchema: {type: object, properties: {"n": {type: integer, minimum: 1}}, required: ["n"]}
  http: {url: "%[1]s/progress{?n}", response: {stream: NDJSON}}
- name: endless
  description: Reports progress without end.
  http: {url: "%[1]s/endless", response: {stream: NDJSON}}
- name: quiet
  description: Reports progress once, and is not done.
  http: {url: "%[1]s/quiet", response: {stream: NDJSON}}
- name: fetch
  description: Gets what the backend says.
  http: {url: "%[1]s/hello"}
- name: slow
  description: Gets what the backend says after a while.
  http: {url: "%[1]s/slow"}
- name: changing
  description: "Changed %[3]d times."
  static: {content: [{text: ""}]}
auth: {apiKeys: {secretRef: {name: keys}}}
limits:
  maxInFlightPerPrincipal: 100000
  connections: {perReplica: 200000}
  sessions: {max: 200000, idleTimeout: %[2]s}
drain: {settle: 1s, window: 15s, callTimeout: 15s}
`

func main() {
	listen := flag.String("listen", "", "address for clients")
	side := flag.String("door", "", "address of the side door")
	key := flag.String("key", "", "API key of the client")
	var s settings
	flag.StringVar(&s.backend, "backend", "", "URL of the HTTP backend, without a path")
	flag.StringVar(&s.idle, "idle", "10m", "when a session without a stream ends")
	flag.StringVar(&s.peerListen, "peer-listen", "", "address for the other replicas; empty if there are none")
	flag.StringVar(&s.peers, "peers", "", "where the replicas are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *side, *key, &s); err != nil {
		log.Fatal(err) //nolint:gocritic // exitAfterDefer: the process ends.
	}
}

// settings are what the configuration is written from.
type settings struct {
	file, backend, idle string
	peerListen, peers   string
	changes             atomic.Int64
}

func (s *settings) write() error {
	return os.WriteFile(s.file, fmt.Appendf(nil, configuration, s.backend, s.idle, s.changes.Load()), 0o600)
}

func (s *settings) change() error {
	s.changes.Add(1)
	return s.write()
}

func run(ctx context.Context, listen, side, key string, s *settings) error {
	dir, err := os.MkdirTemp("", "fairlead-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.file = filepath.Join(dir, "server.yaml")
	keys := filepath.Join(dir, "secrets", "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(keys, "bench"), []byte(key), 0o600); err != nil {
		return err
	}
	ring := filepath.Join(dir, "session-keys")
	if err := os.Mkdir(ring, 0o700); err != nil {
		return err
	}
	for _, name := range []string{keyring.FileCurrent, keyring.FileNext} {
		// All replicas have the same.
		if err := os.WriteFile(filepath.Join(ring, name), bytes.Repeat([]byte(name[:1]), len(keyring.Key{})), 0o600); err != nil {
			return err
		}
	}
	if err := s.write(); err != nil {
		return err
	}
	if err := door.Serve(ctx, side, s.change); err != nil {
		return err
	}
	// What is logged is made as in a pod, and read by nobody.
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil)) //nolint:sloglint // A discarding handler would spare the work.
	options := app.Options{
		ConfigFile: s.file, SecretsDir: filepath.Join(dir, "secrets"), SessionKeysDir: ring, Listen: listen, AdminListen: "127.0.0.1:0",
		AllowLoopback: true, Logger: logger,
	}
	if s.peerListen != "" {
		options.PeerListen, options.PeerAddress, options.Peers = s.peerListen, "127.0.0.1", s.peers
	}
	return app.Run(ctx, options)
}
