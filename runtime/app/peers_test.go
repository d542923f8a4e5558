// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/admin"
)

// networks counts the loopback networks of tests: each test has its own, so that an
// address that is freed stays free.
var networks atomic.Uint32

// replicas runs n replicas of one server on loopback that know each other.
func replicas(t *testing.T, n int, text string) []*running {
	t.Helper()
	all := newReplicas(t, n, text)
	for _, r := range all {
		r.run(t)
	}
	for _, r := range all {
		r.knows(t, n-1)
	}
	return all
}

// newReplicas does not start them.
func newReplicas(t *testing.T, n int, text string) []*running {
	t.Helper()
	all := make([]*running, n)
	var places []string
	network := networks.Add(1)
	for i := range all {
		// Other runs of the tests on this machine have other networks.
		ip := netip.AddrFrom4([4]byte{127, byte(1 + os.Getpid()%200), byte(1 + network%250), byte(1 + i)})
		all[i] = inFolder(t, text)
		all[i].peerAddress = netip.AddrPortFrom(ip, freePort(t, ip))
		places = append(places, all[i].peerAddress.String())
		all[i].turn(t, 1, 2, 3)
	}
	for _, r := range all {
		r.peers = strings.Join(places, ",")
	}
	return all
}

func freePort(t *testing.T, ip netip.Addr) uint16 {
	t.Helper()
	var c net.ListenConfig
	l, err := c.Listen(t.Context(), "tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// turn writes the session keys, each of one repeated byte.
func (r *running) turn(t *testing.T, current, next, previous byte) {
	t.Helper()
	publish(t, filepath.Join(filepath.Dir(r.file), "session-keys"), map[string]string{
		"current": strings.Repeat(string(rune(current)), 32), "next": strings.Repeat(string(rune(next)), 32), "previous": strings.Repeat(string(rune(previous)), 32),
	})
}

// configure replaces the configuration.
func (r *running) configure(t *testing.T, text string) {
	t.Helper()
	publish(t, filepath.Dir(r.file), map[string]string{"server.yaml": text})
}

// metric waits until /metrics has a line.
func (r *running) metric(t *testing.T, line string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		_, body := get(t, r.admin+"/metrics")
		if strings.Contains(body, line+"\n") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("/metrics never had %q", line)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// knows waits until a replica knows others.
func (r *running) knows(t *testing.T, n int) {
	t.Helper()
	r.metric(t, fmt.Sprintf("fairlead_peers %d", n))
}

// exchange sends one request, with headers as pairs.
func exchange(t *testing.T, method, url, body string, headers ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		q.Header.Set("Content-Type", "application/json")
	} else {
		q.Body, q.ContentLength = http.NoBody, 0
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	answer, err := plain.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// all reads the rest of an answer.
func all(t *testing.T, answer *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(data))
}

// await reads lines until one has a text, and returns it.
func await(t *testing.T, lines *bufio.Scanner, text string) string {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return lines.Text()
		}
	}
	t.Fatalf("the stream ended before %q: %v", text, lines.Err())
	return ""
}

const (
	initialize  = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

func echo(message string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":%q}}}`, message)
}

// open opens a session of Streamable HTTP.
func (r *running) open(t *testing.T, headers ...string) (id string) {
	t.Helper()
	answer := exchange(t, http.MethodPost, r.url+"/mcp", initialize, headers...)
	id = answer.Header.Get("Mcp-Session-Id")
	if answer.StatusCode != http.StatusOK || id == "" {
		t.Fatalf("initialize: %d %s", answer.StatusCode, all(t, answer))
	}
	r.post(t, id, initialized, http.StatusAccepted, "", headers...)
	return id
}

// post sends a message of a session and checks the answer.
func (r *running) post(t *testing.T, id, message string, status int, want string, headers ...string) *http.Response {
	t.Helper()
	answer := exchange(t, http.MethodPost, r.url+"/mcp", message, append([]string{"Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25"}, headers...)...)
	if got := all(t, answer); answer.StatusCode != status || !strings.Contains(got, want) {
		t.Fatalf("answer %d %s, want %d %s", answer.StatusCode, got, status, want)
	}
	return answer
}

func TestAnyReplicaServesAnySession(t *testing.T) {
	t.Parallel()
	two := replicas(t, 2, configuration("one"))
	owner, other := two[0], two[1]
	id := owner.open(t)
	answer := other.post(t, id, echo("through the other"), http.StatusOK, "through the other", "X-Request-Id", "mine")
	if got := answer.Header["X-Request-Id"]; len(got) != 1 || got[0] != "mine" {
		t.Errorf("X-Request-Id %q", got)
	}
	for name := range answer.Header {
		if strings.HasPrefix(name, "Fairlead-") {
			t.Errorf("the client sees %s", name)
		}
	}
	// The stream on which the server speaks up by itself.
	events := exchange(t, http.MethodGet, other.url+"/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	if events.StatusCode != http.StatusOK || events.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET: %d %v", events.StatusCode, events.Header)
	}
	for _, r := range two {
		r.configure(t, configuration("two"))
	}
	await(t, bufio.NewScanner(events.Body), "list_changed")
	if gone := exchange(t, http.MethodDelete, other.url+"/mcp", "", "Mcp-Session-Id", id); gone.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %d %s", gone.StatusCode, all(t, gone))
	}
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("the stream of the deleted session ended with %v", err)
	}
	for _, r := range two {
		r.post(t, id, echo("too late"), http.StatusNotFound, "unknown_session")
		if got := r.status(t).Sessions; got != 0 {
			t.Errorf("%d sessions are left", got)
		}
	}
	other.metric(t, `fairlead_forwarded_requests_total{outcome="answered"} 4`)
}

// An owner that takes leave answers through the others for as long as it lives, and
// then the one that took its session over does.
func TestAnOwnerThatLeavesStillAnswers(t *testing.T) {
	t.Parallel()
	b := newBackend(t, false)
	two := newReplicas(t, 2, b.configuration())
	two[0].drain = &Drain{Settle: time.Millisecond, Window: 20 * time.Millisecond, CallTimeout: patience}
	for _, r := range two {
		r.run(t)
	}
	two[1].knows(t, 1)
	id := two[0].open(t)
	answered := make(chan string, 1)
	go func() {
		a := exchange(t, http.MethodPost, two[1].url+"/mcp", echo("x"), "Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25")
		answered <- all(t, a)
	}()
	<-b.began
	two[0].cancel()
	two[1].knows(t, 0)
	two[0].untilLeaving(t)
	two[1].post(t, id, `{"jsonrpc":"2.0","id":7,"method":"ping"}`, http.StatusOK, `"id":7`)
	close(b.finish)
	if got := <-answered; !strings.Contains(got, "finished") {
		t.Errorf("the call that ran was answered with %s", got)
	}
	if err := two[0].end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	two[1].post(t, id, echo("late"), http.StatusOK, "finished")
	// Another process at its address finds it there too.
	again := &running{file: two[0].file, peerAddress: two[0].peerAddress, peers: two[0].peers, ended: make(chan error, 1), swaps: make(chan error, 64)}
	again.run(t)
	again.knows(t, 1)
	again.post(t, id, echo("late"), http.StatusOK, "finished")
	other := again.open(t)
	two[1].post(t, other, `{"jsonrpc":"2.0","id":8,"method":"ping"}`, http.StatusOK, `"id":8`)
}

// A replica that leaves ends the streams of its clients whose sessions are on
// others, and the sessions go on.
func TestAReplicaThatLeavesEndsWhatItPassesOn(t *testing.T) {
	t.Parallel()
	two := replicas(t, 2, configuration("one"))
	id := two[0].open(t)
	events := exchange(t, http.MethodGet, two[1].url+"/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	if got := two[1].status(t).Streams; got != 1 {
		t.Errorf("%d streams are counted where the socket is", got)
	}
	if got := two[0].status(t).Streams; got != 0 {
		t.Errorf("%d streams are counted at the owner", got)
	}
	two[1].cancel()
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := two[1].end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	two[0].post(t, id, echo("still"), http.StatusOK, "still")
}

// Keys that the operator rotates reach ids and links while both are in use.
func TestSessionKeysRotateUnderLinks(t *testing.T) {
	t.Parallel()
	two := replicas(t, 2, configuration("one"))
	id := two[0].open(t)
	for i := range 3 {
		for _, r := range two {
			before := r.status(t).KeyIDs[0]
			r.turn(t, byte(2+i), byte(3+i), byte(1+i))
			r.eventually(t, "after the keys were rotated", func(s admin.Status) bool { return s.KeyIDs[0] != before })
			fresh := two[0].open(t)
			two[1].post(t, fresh, echo("fresh"), http.StatusOK, "fresh")
			if i == 0 {
				two[1].post(t, id, echo("old"), http.StatusOK, "old")
			}
		}
	}
	// Its key has left the ring.
	two[1].post(t, id, echo("old"), http.StatusNotFound, "unknown_session")
}

func TestOptionsForPeers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "server.yaml"), configuration("one"))
	good := Options{PeerListen: "127.0.0.1:0", PeerAddress: "127.0.0.1", Peers: "127.0.0.1:1"}
	for _, tt := range []struct {
		name   string
		change func(o *Options)
		want   string
	}{
		{name: "no address", change: func(o *Options) { o.PeerAddress = "" }, want: "give all three or none"},
		{name: "no peers", change: func(o *Options) { o.Peers = "" }, want: "give all three or none"},
		{name: "no port to listen on", change: func(o *Options) { o.PeerListen = "" }, want: "give all three or none"},
		{name: "a name as address", change: func(o *Options) { o.PeerAddress = "pod" }, want: `--peer-address "pod"`},
		{name: "no address of a pod", change: func(o *Options) { o.PeerAddress = "0.0.0.0" }, want: `--peer-address "0.0.0.0"`},
		{name: "peers without a port", change: func(o *Options) { o.Peers = "pods" }, want: `failed to read --peers`},
		{name: "a port that is none", change: func(o *Options) { o.PeerListen = "127.0.0.1:x" }, want: "for other replicas"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good
			o.ConfigFile, o.Listen, o.AdminListen = filepath.Join(dir, "server.yaml"), "127.0.0.1:0", "127.0.0.1:0"
			tt.change(&o)
			if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q", err, tt.want)
			}
		})
	}
}
