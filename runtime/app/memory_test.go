// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

//nolint:paralleltest // The limit is the process's.
func TestBoundHeap(t *testing.T) {
	tests := []struct {
		name   string
		memory int64
		env    string
		want   int64
	}{
		{name: "no limit", want: math.MaxInt64},
		{name: "limit", memory: 1 << 40, want: (1 << 40) / 10 * 7},
		{name: "GOMEMLIMIT rules", memory: 1 << 40, env: "1GiB", want: math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := debug.SetMemoryLimit(math.MaxInt64)
			defer debug.SetMemoryLimit(before)
			boundHeap(tt.memory, func(name string) string {
				if name != "GOMEMLIMIT" {
					t.Errorf("asked for %q", name)
				}
				return tt.env
			})
			if got := debug.SetMemoryLimit(-1); got != tt.want {
				t.Errorf("limit = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestPercentFor(t *testing.T) {
	t.Parallel()
	for inUse, want := range map[uint64]int{0: 400, 8 << 20: 400, 16 << 20: 200, 32 << 20: 100, 1 << 30: 100} {
		if got := percentFor(inUse); got != want {
			t.Errorf("percentFor(%d MiB) = %d, want %d", inUse>>20, got, want)
		}
	}
}

//nolint:paralleltest // The pace is the process's.
func TestPaceCollector(t *testing.T) {
	before := debug.SetGCPercent(123)
	defer debug.SetGCPercent(before)
	pace := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	paceCollector(ctx, func(string) string { return "50" })
	if got := pace(); got != 123 {
		t.Errorf("with GOGC=50 the pace is %d, want it left alone", got)
	}
	paceCollector(ctx, func(string) string { return "" })
	if got := pace(); got != mostGarbage {
		t.Errorf("the pace is %d, want %d", got, mostGarbage)
	}
	much := make([]byte, 2*fewGarbage)
	for pace() != leastGarbage {
		runtime.GC() //nolint:revive // call-to-gc: the pace is set after one.
		runtime.Gosched()
	}
	runtime.KeepAlive(much)
	for pace() == leastGarbage {
		runtime.GC() //nolint:revive // call-to-gc: the pace is set after one.
		runtime.Gosched()
	}
}

func TestByteBudget(t *testing.T) {
	t.Parallel()
	for memory, want := range map[int64]int64{0: 0, 256 << 20: 64 << 20} {
		if got := byteBudget(memory); got != want {
			t.Errorf("byteBudget(%d) = %d, want %d", memory, got, want)
		}
	}
}

func TestReturner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var freed atomic.Int64
		r := newReturner(func(context.Context) { freed.Add(1) })
		go r.run(ctx)
		pass := func(d time.Duration, want int64, why string) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			if n := freed.Load(); n != want {
				t.Fatalf("memory was returned %d times, want %d: %s", n, want, why)
			}
		}
		pass(time.Hour, 0, "nothing has happened")
		for range 20 {
			r.act()
			pass(lull/2, 0, "requests come")
		}
		pass(2*lull, 1, "the burst is over")
		pass(time.Hour, 1, "nothing has happened since")
		r.act()
		pass(2*lull, 2, "there was a request")
		r.act()
		pass(returnPeriod/2, 2, "the last time is less than a minute ago")
		pass(returnPeriod, 3, "a minute has passed")
	})
}

// pod is a file system with a pod's memory limit of 1000 bytes.
type pod string

func newPod(t *testing.T) pod {
	t.Helper()
	p := pod(t.TempDir())
	for _, dir := range []string{"proc/self", "sys/fs/cgroup"} {
		if err := os.MkdirAll(filepath.Join(string(p), dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(string(p), "proc/self/cgroup"), "0::/\n")
	write(t, filepath.Join(string(p), "sys/fs/cgroup/memory.max"), "1073741824\n")
	p.use(t, "100000")
	return p
}

func (p pod) use(t *testing.T, bytes string) {
	t.Helper()
	write(t, filepath.Join(string(p), "sys/fs/cgroup/memory.current"), bytes+"\n")
}

// TestOverload fills a pod's memory: what is new is refused on every transport,
// what is there goes on, the pod stays ready, and all works again afterwards.
//
//nolint:paralleltest // The runtime sets the process's memory limit.
func TestOverload(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	pod := newPod(t)
	r := &running{file: filepath.Join(t.TempDir(), "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16), root: os.DirFS(string(pod))}
	write(t, r.file, configuration("one"))
	r.run(t)
	open, _ := connect(t, faces()[1], r.url)
	call(t, open, "before")

	pod.use(t, "1000000000")
	r.metric(t, "fairlead_memory_pressure_ratio 0.9313225746154785")
	const version = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	for _, tt := range []struct{ name, method, path, body string }{
		{name: "stream", method: http.MethodGet, path: "/sse"},
		{name: "session", method: http.MethodPost, path: "/mcp", body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`},
		{name: "call", method: http.MethodPost, path: "/mcp", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"x"},` + version + `}}`},
	} {
		refused(t, tt.name, tt.method, r.url+tt.path, tt.body)
	}
	if err := open.Ping(t.Context(), nil); err != nil {
		t.Errorf("a session that is open: %v", err)
	}
	if status, _ := get(t, r.admin+"/readyz"); status != http.StatusOK {
		t.Errorf("readiness is %d", status)
	}
	r.metric(t, `fairlead_rejections_total{reason="memory"} 3`)

	pod.use(t, "100000")
	r.metric(t, "fairlead_memory_pressure_ratio 9.313225746154785e-05")
	call(t, open, "after")
}

// A replica that is short of memory takes no sessions over: they go to the next.
//
//nolint:paralleltest // The runtime sets the process's memory limit.
func TestSessionsMoveToWhoHasMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	three := newReplicas(t, 3, configuration("one"))
	pod := newPod(t)
	pod.use(t, "1000000000")
	three[1].root = os.DirFS(string(pod))
	for _, r := range three {
		r.run(t)
	}
	three[0].knows(t, 2)
	// It looks at its memory now and then.
	three[1].metric(t, "fairlead_memory_pressure_ratio 0.9313225746154785")
	const sessions = 8
	for range sessions {
		three[0].open(t)
	}
	three[0].cancel()
	if err := three[0].end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	if short, other := three[1].status(t).Sessions, three[2].status(t).Sessions; short != 0 || other != sessions {
		t.Errorf("%d sessions went to the replica that is short of memory, %d to the other", short, other)
	}
}

// refused sends a request by hand that must be refused for want of memory.
func refused(t *testing.T, name, method, url, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json, text/event-stream")
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if name == "call" {
		request.Header.Set("MCP-Protocol-Version", "2026-07-28")
		request.Header.Set("Mcp-Method", "tools/call")
		request.Header.Set("Mcp-Name", "echo")
	}
	response, err := plain.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "5" || !strings.Contains(string(text), "memory") {
		t.Errorf("%s: status %d, Retry-After %q, %s; want 503 for want of memory", name, response.StatusCode, response.Header.Get("Retry-After"), text)
	}
}
