// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/bench/runtime/door"
	"fairlead.dev/fairlead/bench/runtime/load"
)

// The servers run on one processor, the client and the backend on the other.
const (
	serverCPU = 0
	clientCPU = 1
)

const (
	// startPatience bounds how long a server may take to accept.
	startPatience = 20 * time.Second
	stopPatience  = 10 * time.Second
	// key is the API key of all clients.
	key = "bench-key-0123456789abcdef"
)

// rig builds and starts the servers.
type rig struct {
	// dir holds the programs.
	dir string
	// backend is where tools lead, host:port.
	backend string
}

// newRig builds some of the servers.
func newRig(ctx context.Context, dir, backend string, servers ...string) (*rig, error) {
	r := &rig{dir: dir, backend: backend}
	for _, name := range servers {
		if err := r.build(ctx, ".", name, "./servers/"+name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// build builds a program of the module in a folder, as releases are built.
func (r *rig) build(ctx context.Context, module, name, pkg string) error {
	build := exec.CommandContext(ctx, "go", "-C", module, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(r.dir, name), pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("failed to build %q: %w", pkg, err)
	}
	return nil
}

// process is one running server.
type process struct {
	load.Server

	command *exec.Cmd
	// exited is closed once it has ended, with err.
	exited chan struct{}
	err    error
}

// start starts a server, and returns once it accepts.
func (r *rig) start(ctx context.Context, name, path string, flags ...string) (*process, error) {
	clients, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	side, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"-listen", clients, "-door", side, "-backend", "http://" + r.backend}
	if name == "fairlead" {
		args = append(args, "-key", key)
	}
	p, err := r.launch(ctx, filepath.Join(r.dir, name), append(args, flags...)...)
	if err != nil {
		return nil, err
	}
	p.Server = load.Server{
		Addr: clients, Key: key, Path: path,
		Sample: func(ctx context.Context, collect bool) (door.Sample, error) { return door.Ask(ctx, side, collect) },
		Change: func(ctx context.Context) error { return door.Change(ctx, side) },
	}
	for _, addr := range []string{side, clients} {
		if err := accepts(ctx, addr); err != nil {
			p.kill()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return p, nil
}

// launch starts a program on the processor of the servers. What it writes goes with
// the rig, also when it is killed.
func (r *rig) launch(ctx context.Context, program string, args ...string) (*process, error) {
	command := exec.CommandContext(ctx, program, args...)
	if pinned() {
		command = exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(serverCPU), program}, args...)...)
	}
	command.Env = append(os.Environ(), "GOMAXPROCS=1", "TMPDIR="+r.dir)
	command.Stderr = os.Stderr
	command.WaitDelay = stopPatience
	// What it starts ends with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("failed to start %q: %w", program, err)
	}
	p := &process{command: command, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.err = command.Wait()
	}()
	return p, nil
}

// kill ends a server that has nothing to lose.
func (p *process) kill() {
	_ = p.command.Cancel() // It may have ended.
	<-p.exited
}

// with starts a fresh server, calls measure, and ends it.
func (r *rig) with(ctx context.Context, name, path string, flags []string, measure func(load.Server) error) error {
	p, err := r.start(ctx, name, path, flags...)
	if err != nil {
		return err
	}
	defer p.kill()
	return measure(p.Server)
}

func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// accepts waits until somebody listens.
func accepts(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var d net.Dialer
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("it did not start"), err)
		case <-time.After(time.Millisecond):
		}
	}
}

// pinned says whether there are processors to tell apart.
func pinned() bool { return runtime.NumCPU() > clientCPU }

// settleClient keeps this process on its own processor, and lets it hold as many
// connections as the system allows.
func settleClient() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("failed to raise the limit of open files: %w", err)
	}
	if !pinned() {
		return nil
	}
	runtime.GOMAXPROCS(1)
	var set unix.CPUSet
	set.Set(clientCPU)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		if id, err := strconv.Atoi(thread.Name()); err == nil {
			// Threads that come later are where those are that make them.
			if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("failed to keep the client on one processor: %w", err)
			}
		}
	}
	return nil
}
