// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package door gives every server of the benchmark the same side door: memory,
// CPU time and allocations of its process, read before and after each scenario.
// All figures are the server's own and none are the client's.
package door

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// Sample is the state of a process.
type Sample struct {
	// RSS, Anonymous (of it, what are no pages of a file), Heap (live objects) and
	// Stacks are bytes.
	RSS, Anonymous, Heap, Stacks uint64
	// Mallocs and Allocated (bytes) count from the start of the process.
	Mallocs, Allocated uint64
	Goroutines         int
	// CPU is user and system time from the start of the process.
	CPU time.Duration
	// Sockets are open ones, Accepted those of them that others opened; Kernel is what
	// the kernel holds in their queues, in bytes.
	Sockets, Accepted int
	Kernel            uint64
}

// Sub returns what was added since before. Memory may have shrunk: see Growth.
func (s Sample) Sub(before Sample) Growth {
	return Growth{
		Memory: float64(s.Anonymous) - float64(before.Anonymous), Heap: float64(s.Heap) - float64(before.Heap),
		Kernel:  float64(s.Kernel) - float64(before.Kernel),
		Mallocs: float64(s.Mallocs - before.Mallocs), Allocated: float64(s.Allocated - before.Allocated),
		Goroutines: s.Goroutines - before.Goroutines, CPU: s.CPU - before.CPU,
	}
}

// Growth is the difference of two samples, in their units. Memory is that of
// Anonymous: how many pages of the program's file are mapped depends on what ran
// last, not on who is served.
type Growth struct {
	Memory, Heap, Kernel, Mallocs, Allocated float64
	Goroutines                               int
	CPU                                      time.Duration
}

// Add sums the samples of two processes.
func (s Sample) Add(o Sample) Sample {
	return Sample{
		RSS: s.RSS + o.RSS, Anonymous: s.Anonymous + o.Anonymous, Heap: s.Heap + o.Heap, Stacks: s.Stacks + o.Stacks,
		Mallocs: s.Mallocs + o.Mallocs, Allocated: s.Allocated + o.Allocated,
		Goroutines: s.Goroutines + o.Goroutines, CPU: s.CPU + o.CPU,
		Sockets: s.Sockets + o.Sockets, Accepted: s.Accepted + o.Accepted, Kernel: s.Kernel + o.Kernel,
	}
}

// Serve opens the door at addr; it returns once it accepts. change, which may be
// nil, changes a tool of the server, so that its clients have to be told.
func Serve(ctx context.Context, addr string, change func() error) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("failed to open the side door: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sample", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("collect") {
			runtime.GC() // What pools hold goes with the second one.
			debug.FreeOSMemory()
		}
		_ = json.NewEncoder(w).Encode(take()) // Who asked has gone away, if it fails.
	})
	mux.HandleFunc("POST /change", func(w http.ResponseWriter, _ *http.Request) {
		if change == nil {
			http.NotFound(w, nil)
		} else if err := change(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	// The profiles are for whoever wants to know why.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // Ends with the process.
	return nil
}

func take() Sample {
	// First: the look at thousands of sockets takes time too.
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // It cannot fail.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := Sample{
		Heap: m.HeapAlloc, Stacks: m.StackInuse, Mallocs: m.Mallocs, Allocated: m.TotalAlloc,
		Goroutines: runtime.NumGoroutine(), CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
	}
	s.RSS, s.Anonymous = Memory(os.Getpid())
	s.Sockets, s.Accepted, s.Kernel = sockets()
	return s
}
