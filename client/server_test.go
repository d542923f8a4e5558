// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/client"
)

// fastBackoff keeps tests short without changing what is tested.
var fastBackoff = client.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond}

type echoInput struct {
	Message string `json:"message"`
}

// server is a real go-sdk server of all three eras that can go and come back on
// its port.
type server struct {
	t       *testing.T
	address string

	// front, if set, may answer a request itself and then says so.
	front atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
	calls atomic.Int64 // calls of the tool echo
	hold  chan struct{}
	held  chan struct{} // gets a value when the tool hold began

	mu     sync.Mutex
	http   *http.Server
	mcp    *mcp.Server
	mux    http.Handler
	served chan struct{}
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, hold: make(chan struct{}), held: make(chan struct{}, 16)}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) url(path string) string { return "http://" + s.address + path }

// start listens on a new port the first time and on the same one later.
func (s *server) start() {
	s.t.Helper()
	address := s.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		s.t.Fatalf("failed to listen on %s: %v", address, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = listener.Addr().String()
	s.mcp = s.newMCP()
	s.http = &http.Server{Handler: s.handler(s.mcp), ReadHeaderTimeout: time.Minute}
	s.served = make(chan struct{})
	go func(h *http.Server, served chan struct{}) {
		_ = h.Serve(listener)
		close(served)
	}(s.http, s.served)
}

// stop cuts every connection, as a killed process does.
func (s *server) stop() {
	s.mu.Lock()
	h, served := s.http, s.served
	s.mu.Unlock()
	_ = h.Close()
	<-served
}

func (s *server) tools() *mcp.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mcp
}

func (s *server) newMCP() *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1.2.3"}, &mcp.ServerOptions{PageSize: 2})
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	mcp.AddTool(m, &mcp.Tool{Name: "echo", Description: "Say it again.", Annotations: readOnly},
		func(_ context.Context, _ *mcp.CallToolRequest, in echoInput) (*mcp.CallToolResult, any, error) {
			s.calls.Add(1)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Message}}}, nil, nil
		})
	mcp.AddTool(m, &mcp.Tool{Name: "count", Description: "Count with progress."},
		func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			for i := 1; i <= 50; i++ {
				err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
					ProgressToken: r.Params.GetProgressToken(), Progress: float64(i), Total: 50, Message: fmt.Sprint("step ", i),
				})
				if err != nil {
					return nil, nil, err
				}
			}
			return &mcp.CallToolResult{Content: []mcp.Content{}}, nil, nil
		})
	mcp.AddTool(m, &mcp.Tool{Name: "trace", Description: "Answer with a trace."},
		func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			if asked, _ := r.Params.Meta[client.TraceKey].(bool); !asked {
				return nil, nil, errors.New("no trace was asked for")
			}
			return &mcp.CallToolResult{Content: []mcp.Content{}, Meta: mcp.Meta{client.TraceKey: map[string]any{
				"method": "GET", "url": "http://orders/1", "status": 200, "totalMillis": 1.5, "header": map[string]string{"X-Token": "redacted"},
			}}}, nil, nil
		})
	for name, annotations := range map[string]*mcp.ToolAnnotations{"hold": {}, "hold_read_only": readOnly} {
		mcp.AddTool(m, &mcp.Tool{Name: name, Description: "Wait.", Annotations: annotations},
			func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
				s.held <- struct{}{}
				select {
				case <-s.hold:
				case <-ctx.Done():
				}
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "held"}}}, nil, nil
			})
	}
	return m
}

// handler serves the eras side by side, as a server of more than one era does.
func (s *server) handler(m *mcp.Server) http.Handler {
	get := func(*http.Request) *mcp.Server { return m }
	stateful := mcp.NewStreamableHTTPHandler(get, nil)
	stateless := mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true})
	mux := http.NewServeMux()
	mux.Handle("/sse", mcp.NewSSEHandler(get, nil))
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("MCP-Protocol-Version") >= "2026-07-28" {
			stateless.ServeHTTP(w, r)
			return
		}
		stateful.ServeHTTP(w, r)
	})
	mux.Handle("/resumable", mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}))
	s.mux = mux
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if front := s.front.Load(); front != nil && (*front)(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// pass lets a front hand a request on.
func (s *server) pass(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	mux := s.mux
	s.mu.Unlock()
	mux.ServeHTTP(w, r)
}

// connect gives a client that closes with the test.
func connect(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	if o.Backoff == (client.Backoff{}) {
		o.Backoff = fastBackoff
	}
	c, err := client.Connect(t.Context(), o)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// next waits for an event of type E and returns those before it too.
func next[E client.Event](t *testing.T, c *client.Client) (found E, before []client.Event) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-c.Events():
			if !ok {
				t.Fatalf("events ended without a %T; before it came %#v", found, before)
			}
			if match, ok := e.(E); ok {
				return match, before
			}
			before = append(before, e)
		case <-timeout:
			t.Fatalf("no %T came; before came %#v", found, before)
		}
	}
}

func text(t *testing.T, r *client.Result) string {
	t.Helper()
	var b strings.Builder
	for _, content := range r.Content {
		if c, ok := content.(*mcp.TextContent); ok {
			b.WriteString(c.Text)
		}
	}
	return b.String()
}
