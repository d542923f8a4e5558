// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

// pipe joins the official SDK's client to an engine without HTTP, so that
// another implementation judges every answer.
type pipe struct {
	world   *world
	modern  bool
	session *Session
	ctx     context.Context
	stop    context.CancelFunc
	inbox   chan []byte
	running sync.WaitGroup
	mu      sync.Mutex
	listens []*Subscription
}

func newPipe(t *testing.T, modern bool) *pipe {
	t.Helper()
	p := &pipe{world: newWorld(t, nil), modern: modern, session: &Session{}, inbox: make(chan []byte, 64)}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		p.stop()
		p.running.Wait()
	})
	return p
}

func (p *pipe) Connect(context.Context) (mcp.Connection, error) { return p, nil }

func (p *pipe) SessionID() string { return "" }

func (p *pipe) Close() error {
	p.stop()
	return nil
}

func (p *pipe) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case data := <-p.inbox:
		return jsonrpc.DecodeMessage(data)
	case <-p.ctx.Done():
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Write(_ context.Context, m jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	in := Input{Message: data, Era: EraSSE, Session: p.session, Principal: auth.Anonymous()}
	if p.modern {
		in.Session = nil
		in.Era = EraStateless
		in.Version = Version20260728
		if env, err := decodeEnvelope(data); err == nil {
			in.Hints.Method = env.method
			if name, ok := optional(env.params, "name"); ok {
				in.Hints.Name = unquote(name)
			}
		}
	}
	call, err := p.world.Accept(p.ctx, in)
	if refused, ok := errors.AsType[*Error](err); ok {
		p.inbox <- refused.JSON()
		return nil
	}
	if s := call.Subscription(); s != nil {
		p.mu.Lock()
		p.listens = append(p.listens, s)
		p.mu.Unlock()
	}
	p.running.Go(func() { call.Run(p.ctx, p) })
	return nil
}

func (p *pipe) Send(ctx context.Context, m Message) error {
	select {
	case p.inbox <- m.Data:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestOracle lets the official SDK's client use the engine in both worlds.
func TestOracle(t *testing.T) {
	t.Parallel()
	for name, modern := range map[string]bool{"legacy": false, "stateless": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipe(t, modern)
			progress := make(chan *mcp.ProgressNotificationParams, 8)
			changed := make(chan struct{}, 1)
			client := mcp.NewClient(&mcp.Implementation{Name: "oracle", Version: "1"}, &mcp.ClientOptions{
				ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params },
				ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
			})
			session, err := client.Connect(t.Context(), p, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = session.Close() }()
			checkIntroduction(t, session, modern)
			checkTools(t, session)
			checkProgress(t, session, progress)
			checkCancel(t, p, session, modern)
			p.announce(modern)
			<-changed
		})
	}
}

// announce tells the client that the list changed, as a transport would.
func (p *pipe) announce(modern bool) {
	if !modern {
		p.inbox <- ListChanged()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.listens {
		if data := s.ListChanged(); data != nil {
			p.inbox <- data
		}
	}
}

func checkIntroduction(t *testing.T, session *mcp.ClientSession, modern bool) {
	t.Helper()
	version := Version20251125
	if modern {
		version = Version20260728
	}
	r := session.InitializeResult()
	if r.ProtocolVersion != version || r.ServerInfo.Name != "shop" || r.ServerInfo.Title != "Shop" || r.ServerInfo.Version != "1.2.3" || r.Instructions != "Be kind." {
		t.Errorf("introduction = %+v, server %+v", r, r.ServerInfo)
	}
	if r.Capabilities.Tools == nil || !r.Capabilities.Tools.ListChanged || r.Capabilities.Prompts != nil {
		t.Errorf("capabilities = %+v", r.Capabilities)
	}
}

func checkTools(t *testing.T, session *mcp.ClientSession) {
	t.Helper()
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	if diff := cmp.Diff([]string{"echo", "total", "query", "wait", "steps", "panics", "fails"}, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if echo := list.Tools[0]; echo.Title != "Echo" || echo.Annotations == nil || !echo.Annotations.ReadOnlyHint || echo.InputSchema == nil {
		t.Errorf("echo = %+v", echo)
	}
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "total"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"sum": 3.0}, result.StructuredContent); diff != "" {
		t.Errorf("structured content (-want +got):\n%s", diff)
	}
	result, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": 5}})
	if err != nil || !result.IsError {
		t.Errorf("wrong argument: %+v, %v", result, err)
	}
	if _, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "nothing"}); err == nil {
		t.Error("an unknown tool was called")
	}
}

func checkProgress(t *testing.T, session *mcp.ClientSession, progress chan *mcp.ProgressNotificationParams) {
	t.Helper()
	params := &mcp.CallToolParams{Name: "steps"}
	params.SetProgressToken("tok")
	if _, err := session.CallTool(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	for _, want := range []float64{0.5, 2} {
		if got := <-progress; got.Progress != want || got.ProgressToken != "tok" {
			t.Errorf("progress = %+v, want %v", got, want)
		}
	}
}

func checkCancel(t *testing.T, p *pipe, session *mcp.ClientSession, modern bool) {
	t.Helper()
	if modern {
		// The stateless era cancels by closing the stream, which is HTTP's.
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "wait"})
		failed <- err
	}()
	<-p.world.waiting
	cancel()
	if err := <-failed; err == nil {
		t.Error("a cancelled call was answered")
	}
	if err := session.Ping(t.Context(), nil); err != nil {
		t.Errorf("ping after a cancelled call: %v", err)
	}
}
