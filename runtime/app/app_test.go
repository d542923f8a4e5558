// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// hello is a configuration with one tool, whose description varies.
const hello = `
contract: 1
name: hello
tools:
- name: echo
  description: DESCRIPTION
  inputSchema: {type: object, properties: {message: {type: string}}, required: [message]}
  static: {content: [{text: "${arguments.message}"}]}
auth: {anonymousAccess: Allowed}
`

// plain sends requests as they are.
var plain = &http.Transport{DisableCompression: true}

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// running is a runtime that serves a file.
type running struct {
	file   string
	url    string
	admin  string
	cancel context.CancelFunc
	ended  chan error
	swaps  chan error
	logger *slog.Logger // nil discards
	root   fs.FS        // nil: the machine's
	drain  *Drain       // nil is a short one
	// peerAddress and peers are empty without other replicas.
	peerAddress netip.AddrPort
	peers       string
}

func configuration(description string) string {
	return strings.Replace(hello, "DESCRIPTION", description, 1)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the runtime on loopback until the test ends.
func start(t *testing.T, text string) *running {
	t.Helper()
	return prepare(t, text).run(t)
}

// prepare is start without the run.
func prepare(t *testing.T, text string) *running {
	t.Helper()
	r := &running{file: filepath.Join(t.TempDir(), "server.yaml"), ended: make(chan error, 1), swaps: make(chan error, 16)}
	write(t, r.file, text)
	return r
}

func (r *running) run(t *testing.T) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if r.drain == nil {
		r.drain = &Drain{Settle: time.Millisecond, Window: 20 * time.Millisecond, CallTimeout: time.Second}
	}
	peerListen, peerIP := "", ""
	if r.peers != "" {
		peerListen, peerIP = r.peerAddress.String(), r.peerAddress.Addr().String()
	}
	ready := make(chan struct{})
	go func() {
		r.ended <- Run(ctx, Options{
			PeerListen: peerListen, PeerAddress: peerIP, Peers: r.peers,
			ConfigFile: r.file, SecretsDir: filepath.Join(filepath.Dir(r.file), "secrets"),
			SessionKeysDir: filepath.Join(filepath.Dir(r.file), "session-keys"),
			Listen:         "127.0.0.1:0", AdminListen: "127.0.0.1:0", Logger: r.logger, Version: "v0.0.0-test", AllowLoopback: true, Root: r.root,
			Drain: r.drain,
			OnReady: func(listen, admin net.Addr) {
				r.url, r.admin = "http://"+listen.String(), "http://"+admin.String()
				close(ready)
			},
			OnSwap: func(_ string, err error) { r.swaps <- err },
		})
	}()
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatalf("Run = %v", err)
	}
	t.Cleanup(func() {
		cancel()
		_ = r.end(t)
	})
	return r
}

// end waits for Run, whose result it returns the first time.
func (r *running) end(t *testing.T) error {
	t.Helper()
	select {
	case err, first := <-r.ended:
		if first {
			close(r.ended)
		}
		return err
	case <-time.After(patience):
		t.Error("Run did not return")
		return errors.New("running")
	}
}

func (r *running) swap(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.swaps:
		return err
	case <-time.After(patience):
		t.Fatal("the changed file was not applied")
		return nil
	}
}

// face is one way in which the official client speaks to the runtime.
type face struct {
	name      string
	version   string
	transport func(url string) mcp.Transport
}

func faces() []face {
	return []face{
		{name: "HTTP+SSE", version: "2025-11-25", transport: func(url string) mcp.Transport {
			return &mcp.SSEClientTransport{Endpoint: url + "/sse"}
		}},
		{name: "Streamable HTTP", version: "2025-11-25", transport: func(url string) mcp.Transport {
			return &mcp.StreamableClientTransport{Endpoint: url + "/mcp", MaxRetries: -1}
		}},
		{name: "stateless", version: "2026-07-28", transport: func(url string) mcp.Transport {
			return &mcp.StreamableClientTransport{Endpoint: url + "/mcp", MaxRetries: -1}
		}},
	}
}

// connect opens a session of the official client, and gives a channel of the
// changes that it hears of.
func connect(t *testing.T, f face, url string) (session *mcp.ClientSession, changed <-chan struct{}) {
	t.Helper()
	changes := make(chan struct{}, 16)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changes <- struct{}{} },
	})
	session, err := client.Connect(t.Context(), f.transport(url), &mcp.ClientSessionOptions{ProtocolVersion: f.version})
	if err != nil {
		t.Fatalf("Connect = %v", err)
	}
	t.Cleanup(func() { session.Close() })
	return session, changes
}

func call(t *testing.T, session *mcp.ClientSession, message string) {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": message}})
	if err != nil {
		t.Fatalf("CallTool = %v", err)
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != message || result.IsError {
		t.Fatalf("CallTool = %+v, want %q", result, message)
	}
}

func description(t *testing.T, session *mcp.ClientSession) string {
	t.Helper()
	list, err := session.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) != 1 {
		t.Fatalf("ListTools = %+v, %v", list, err)
	}
	return list.Tools[0].Description
}

// TestCallsDoNotMix calls at once with texts of many lengths: the memory of one
// request's body and answer is another's soon after.
func TestCallsDoNotMix(t *testing.T) {
	t.Parallel()
	const callers, calls = 8, 40
	r := start(t, configuration("one"))
	var group sync.WaitGroup
	for caller := range callers {
		f := faces()[caller%len(faces())]
		session, _ := connect(t, f, r.url)
		group.Go(func() {
			for i := range calls {
				text := strings.Repeat(fmt.Sprintf("%d-%d ", caller, i), 1+i*i%97)
				result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": text}})
				if err != nil {
					t.Errorf("CallTool = %v", err)
					return
				}
				if got, ok := result.Content[0].(*mcp.TextContent); !ok || got.Text != text {
					t.Errorf("%s: CallTool = %+v, want %q", f.name, result.Content[0], text)
				}
			}
		})
	}
	group.Wait()
}

func TestOfficialClientOnEveryTransport(t *testing.T) {
	t.Parallel()
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, configuration("one"))
			session, changed := connect(t, f, r.url)
			if got := description(t, session); got != "one" {
				t.Errorf("the tool's description is %q, want one", got)
			}
			call(t, session, "before")
			write(t, r.file, configuration("two"))
			select {
			case <-changed:
			case <-time.After(patience):
				t.Fatal("the client was not told that the list has changed")
			}
			if got := description(t, session); got != "two" {
				t.Errorf("the tool's description is %q, want two", got)
			}
			call(t, session, "after")
		})
	}
}
