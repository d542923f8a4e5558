// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package soak keeps a runtime busy for long with everything that clients do,
// and asks what is left of it: test/e2e/run.sh starts it beside the cluster.
package soak

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/app"
	"fairlead.dev/fairlead/test/e2e/record"
	"fairlead.dev/fairlead/test/e2e/traffic"
)

var soakFor = flag.Duration("soak-for", 3*time.Minute, "how long the load lasts")

const (
	// warm is how long the load lasts before the beginning is measured: pools, maps
	// and caches have the size then that this load gives them.
	warm = 20 * time.Second
	// patience bounds the wait for what a load leaves to go: sessions end after
	// their idle timeout, and memory is returned at most once a minute.
	patience = 100 * time.Second
	// calm is how long the lowest figures are looked for in the beginning and the end.
	calm = 15 * time.Second

	// What may be left. A goroutine or a descriptor more than before is a leak if
	// each client leaves one; the few that are allowed are those of a timer or a
	// connection that happens to be there at the moment.
	goroutineSlack  = 3
	descriptorSlack = 3
	// The heap of one garbage collection is no exact number: pages are freed whole,
	// and which hold a living object is chance. Some hundred kilobytes differ from
	// run to run; a leak of 2 KB a session is more than this after two minutes.
	memorySlack = 4 << 20
)

// serveIn makes this program the runtime of a folder instead of a test, so that
// what is measured is the runtime alone.
const serveIn = "FAIRLEAD_SOAK_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveIn); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := app.Run(ctx, app.Options{
			ConfigFile: filepath.Join(dir, "server.yaml"), SecretsDir: filepath.Join(dir, "secrets"),
			Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AllowLoopback: true,
			OnReady: func(clients, admin net.Addr) { fmt.Printf("ready %s %s\n", clients, admin) },
		})
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// configuration is a server of which every revision is another one.
func configuration(backend string, revision int) string {
	return fmt.Sprintf(`contract: 1
name: soak
auth: {apiKeys: {secretRef: {name: keys}}}
limits: {sessions: {idleTimeout: 5s}}
drain: {settle: 1ms, window: 1s, callTimeout: 5s}
tools:
- name: revision_%d
  description: Tells the revision.
  static: {content: [{text: "%d"}]}
- name: work
  description: Gives the id back after a while.
  inputSchema: {type: object, properties: {id: {type: string}, pace: {type: string}}, required: [id, pace]}
  http: {url: "%s/jobs/{id}", query: {pace: "${arguments.pace}"}}
`, revision, revision, backend)
}

// key is the clients'.
const key = "a-key-of-the-soak-0123456789"

// runtime is the process that is measured.
type runtime struct {
	t              *testing.T
	dir, backend   string
	clients, admin string
	revision       int
}

// start serves in a process of its own until the test ends.
func start(t *testing.T, backend string) *runtime {
	t.Helper()
	r := &runtime{t: t, dir: t.TempDir(), backend: backend}
	if err := os.MkdirAll(filepath.Join(r.dir, "secrets", "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "secrets", "keys", "tester"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	r.edit()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveIn+"="+r.dir)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("failed to stop the runtime: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Errorf("the runtime ended with %v:\n%s", err, text[max(0, len(text)-4096):])
		}
		log.Close()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "ready %s %s", &r.clients, &r.admin); err == nil {
			return r
		}
	}
	t.Fatal("the runtime did not become ready")
	return nil
}

// edit replaces the configuration.
func (r *runtime) edit() {
	r.revision++
	file := filepath.Join(r.dir, "server.yaml")
	if err := os.WriteFile(file+".next", []byte(configuration(r.backend, r.revision)), 0o600); err != nil {
		r.t.Error(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		r.t.Error(err)
	}
}

// sample is what the runtime's own metrics say.
type sample struct {
	memory, heap, goroutines, descriptors, sessions, streams float64
}

func (s sample) String() string {
	return fmt.Sprintf("%.1f MiB (%.1f of heap), %.0f goroutines, %.0f descriptors, %.0f sessions, %.0f streams",
		s.memory/(1<<20), s.heap/(1<<20), s.goroutines, s.descriptors, s.sessions, s.streams)
}

func (r *runtime) sample() sample {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + r.admin + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	var s sample
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		var n float64
		if _, err := fmt.Sscan(value, &n); err != nil {
			continue
		}
		switch name {
		case "process_resident_memory_bytes":
			s.memory += n
		case "go_memstats_heap_alloc_bytes":
			s.heap += n
		case "go_goroutines":
			s.goroutines += n
		case "process_open_fds":
			s.descriptors += n
		case "fairlead_sessions":
			s.sessions += n
		case "fairlead_sse_active_connections":
			s.streams += n
		}
	}
	if s.memory == 0 || s.heap == 0 || s.goroutines == 0 || s.descriptors == 0 {
		r.t.Fatalf("the metrics lack what the process takes: %+v", s)
	}
	return s
}

// settle waits until enough says so or patience ends, and returns the last sample.
func (r *runtime) settle(enough func(sample) bool) sample {
	for deadline := time.Now().Add(patience); ; r.pause() {
		if s := r.sample(); enough(s) || time.Now().After(deadline) {
			return s
		}
	}
}

// pause is the time between two samples.
func (r *runtime) pause() {
	select {
	case <-time.After(500 * time.Millisecond):
	case <-r.t.Context().Done():
	}
}

// TestSoak: after a long and mixed load the runtime takes as much memory and has
// as many goroutines and descriptors as after a short one.
func TestSoak(t *testing.T) {
	asked := &traffic.Backend{}
	backend := httptest.NewServer(asked.Handler())
	defer backend.Close()
	r := start(t, backend.URL)
	t.Logf("fresh: %s", r.sample())
	l := &load{runtime: r}
	l.run(warm)
	// The runtime keeps connections to a backend for the next call, as many as
	// were needed at once.
	backend.CloseClientConnections()
	begin := r.lowest(r.settle(func(s sample) bool { return s.sessions == 0 && s.streams == 0 }))
	t.Logf("in the beginning: %s", begin)

	l.run(*soakFor)
	t.Logf("right after %s of load: %s", *soakFor, r.sample())
	backend.CloseClientConnections()
	// Not for longer: what answers its questions leaves garbage, which is collected when
	// it is several times what is in use.
	end := r.lowest(r.settle(func(s sample) bool { return within(begin, s) }))
	t.Logf("in the end: %s", end)
	if !within(begin, end) {
		t.Errorf("the runtime has not come back to where it began: %s, then %s", begin, end)
	}
	l.judge(asked.Runs())
}

// lowest is the smallest of each number from a sample on until it was calm, beside
// sessions and streams: to ask for more leaves garbage of its own.
func (r *runtime) lowest(low sample) sample {
	for deadline := time.Now().Add(calm); time.Now().Before(deadline); r.pause() {
		s := r.sample()
		low.memory, low.heap = min(low.memory, s.memory), min(low.heap, s.heap)
		low.goroutines, low.descriptors = min(low.goroutines, s.goroutines), min(low.descriptors, s.descriptors)
		low.sessions, low.streams = s.sessions, s.streams
	}
	return low
}

func within(begin, end sample) bool {
	return end.sessions == 0 && end.streams == 0 && end.memory <= begin.memory+memorySlack &&
		end.goroutines <= begin.goroutines+goroutineSlack && end.descriptors <= begin.descriptors+descriptorSlack
}

// judge asks whether the clients that went on in order saw what they should.
func (l *load) judge(runs []record.Run) {
	t := l.runtime.t
	h := record.History{Events: l.log.Events(), Runs: runs, Ended: time.Now()}
	summary, breaches := record.Check(&h)
	t.Logf("%d rude visits, %d edits\n%s", l.rude.Load(), l.runtime.revision, summary)
	if len(breaches) > 0 {
		t.Error(record.Report(breaches, 30, 3))
	}
	if summary.Total.Answered == 0 || l.rude.Load() == 0 {
		t.Error("there was no load")
	}
}
