// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/load"
)

const (
	// bridgedSessions are idle, and bridgedCallers call: a bridge takes milliseconds
	// for what others do in microseconds.
	bridgedSessions = 300
	bridgedCallers  = 16
)

// bridges measures servers of npm that bring a child process to SSE. They have
// no side door: memory and CPU are those of the process and its children, and
// nobody has them collect garbage.
func bridges(ctx context.Context, r *rig, o options) ([]row, error) {
	folder, err := installBridges(ctx)
	if err != nil {
		return nil, err
	}
	memory, calling := nothing(), nothing()
	for _, s := range []subject{fairlead, supergateway, mcpProxy} {
		progressf("bridges: %s", subjectNames[s])
		err := r.withBridge(ctx, s, folder, func(at load.Server) error {
			n := bridgedSessions
			if s == fairlead {
				n = o.n
			}
			held, err := load.HoldIdle(ctx, at, load.SSE, n, false, load.Rest{Settle: settle})
			memory[s] = held.Memory
			return err
		})
		if err == nil {
			err = r.withBridge(ctx, s, folder, func(at load.Server) error {
				got, err := load.CallLoop(ctx, at, load.SSE, echo, bridgedCallers, o.duration)
				calling[s] = cpu(got)
				return err
			})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", subjectNames[s], err)
		}
	}
	return []row{
		{what: "SSE session, RSS", show: kib, got: memory, must: []bar{bridgesOver(15)}, aim: []bar{bridgesOver(30)}},
		{what: "tools/call, SSE, CPU", show: micros, got: calling, must: []bar{bridgesOver(6)}, aim: []bar{bridgesOver(10)}},
	}, nil
}

// bridgesOver has Fairlead cost that part of what the cheaper bridge does.
func bridgesOver(parts float64) bar {
	return bar{fmt.Sprintf("≤ 1/%v of both", parts), func(f figures) bool {
		return f[fairlead]*parts <= min(f[supergateway], f[mcpProxy])
	}}
}

// installBridges installs what package-lock.json names, with the Node that it
// names too, and returns the folder of its programs.
func installBridges(ctx context.Context) (string, error) {
	folder, err := filepath.Abs("bridges")
	if err != nil {
		return "", err
	}
	programs := filepath.Join(folder, "node_modules", ".bin")
	if _, err := os.Stat(programs); errors.Is(err, fs.ErrNotExist) {
		progressf("bridges: installing")
		install := exec.CommandContext(ctx, "npm", "ci", "--no-progress")
		install.Dir, install.Stdout, install.Stderr = folder, os.Stderr, os.Stderr
		if err := install.Run(); err != nil {
			return "", fmt.Errorf("failed to install the bridges: %w", err)
		}
	}
	// What they start must find the same Node.
	return folder, os.Setenv("PATH", programs+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// withBridge is with for servers without a side door.
func (r *rig) withBridge(ctx context.Context, s subject, folder string, measure func(load.Server) error) error {
	if s == fairlead {
		return r.with(ctx, s.program(), "/sse", nil, measure)
	}
	addr, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	child := "node " + filepath.Join(folder, "echo.mjs")
	args := []string{"--stdio", child, "--port", port, "--logLevel", "none"}
	if s == mcpProxy {
		args = []string{"--port", port, "--host", "127.0.0.1", "--", "node", filepath.Join(folder, "echo.mjs")}
	}
	p, err := r.launch(ctx, filepath.Join(folder, "node_modules", ".bin", subjectNames[s]), args...)
	if err != nil {
		return err
	}
	defer p.kill()
	at := load.Server{Addr: addr, Path: "/sse", Sample: func(context.Context, bool) (door.Sample, error) {
		return door.Tree(p.command.Process.Pid), nil
	}}
	patient, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := load.AwaitAnswer(patient, at, load.SSE); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	return measure(at)
}
