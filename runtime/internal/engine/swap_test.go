// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// swap replaces the revision and closes the one before.
func (w *world) swap(r Revision) (listChanged bool) {
	listChanged, before := w.Swap(r)
	before.Close()
	return listChanged
}

// revision is a catalog of one tool whose executor answers with text.
func revision(t *testing.T, text, description string, prev *catalog.Catalog, closed *atomic.Int32, gate chan struct{}) *catalog.Catalog {
	t.Helper()
	p, err := config.Compile(&config.Server{
		Contract: config.ContractVersion, Name: "swap", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
		Tools: []config.Tool{{Name: "versioned", Description: description, Static: &config.Static{Content: []config.Content{{Text: &text}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Build(p, prev, catalog.Deps{New: func(*config.CompiledTool) (tool.Executor, func(), error) {
		return executorFunc(func(context.Context, tool.Call, tool.Sink) (tool.Result, error) {
			<-gate
			return tool.Text(text), nil
		}), func() { closed.Add(1) }, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSwap holds that a call in flight finishes on the version that it began
// with, and that the executor of that version closes after it.
func TestSwap(t *testing.T) {
	t.Parallel()
	var closedOne, closedTwo atomic.Int32
	gate, open := make(chan struct{}), make(chan struct{})
	close(open)
	policy := auth.Policy{AllowByDefault: true}
	one := revision(t, "one", "First.", nil, &closedOne, gate)
	e := New(Options{Catalog: one, Policy: policy, Info: Info{Name: "swap", Version: "1"}})
	w := &world{Engine: e}

	old, sink := acceptModern(t, w, "versioned", ""), newRecorder()
	done := make(chan struct{})
	go func() { old.Run(t.Context(), sink); close(done) }()

	two := revision(t, "two", "First.", one, &closedTwo, open)
	if w.swap(Revision{Catalog: two, Policy: policy}) {
		t.Error("listChanged for an edit that no list shows")
	}
	if closedOne.Load() != 0 {
		t.Error("the old executor closed under a running call")
	}
	fresh := newRecorder()
	acceptModern(t, w, "versioned", "").Run(t.Context(), fresh)
	close(gate)
	<-done
	if closedOne.Load() != 1 {
		t.Errorf("the old executor closed %d times after its last call", closedOne.Load())
	}
	got := []string{lines(sink.take()), lines(fresh.take())}
	want := []string{
		`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"swap","version":"1"}},"content":[{"type":"text","text":"one"}]}}` + "\n",
		`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"","version":""}},"content":[{"type":"text","text":"two"}]}}` + "\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}

	// A description changes the list, but not what runs.
	three := revision(t, "two", "Second.", two, &closedTwo, open)
	if !w.swap(Revision{Catalog: three, Policy: policy}) {
		t.Error("no listChanged for a new description")
	}
	if closedTwo.Load() != 0 {
		t.Error("an executor that the next revision shares closed")
	}
	if !w.swap(Revision{Catalog: revision(t, "two", "Second.", three, &closedTwo, open), Policy: auth.Policy{}}) {
		t.Error("no listChanged for another default of access")
	}
	if e.Revision() == one.Revision() || e.Tools() != 1 {
		t.Errorf("Revision() = %q, Tools() = %d", e.Revision(), e.Tools())
	}
}

// TestSwapUnderLoad lets calls meet swaps: each is answered by one revision.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	var closed atomic.Int32
	open := make(chan struct{})
	close(open)
	policy := auth.Policy{AllowByDefault: true}
	current := revision(t, "0", "A tool.", nil, &closed, open)
	w := &world{Engine: New(Options{Catalog: current, Policy: policy})}
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		answered := 0
		for {
			sink := newRecorder()
			acceptModern(t, w, "versioned", "").Run(t.Context(), sink)
			answered += len(sink.take())
			select {
			case <-stop:
				done <- answered
				return
			default:
			}
		}
	}()
	const swaps = 20
	for i := range swaps {
		next := revision(t, string(rune('a'+i)), "A tool.", current, &closed, open)
		w.swap(Revision{Catalog: next, Policy: policy})
		current = next
	}
	close(stop)
	if <-done == 0 {
		t.Error("no call was answered")
	}
	if closed.Load() != swaps {
		t.Errorf("%d executors closed, want %d", closed.Load(), swaps)
	}
}

func TestSharedList(t *testing.T) {
	t.Parallel()
	var closed atomic.Int32
	e := New(Options{Catalog: revision(t, "x", "A tool.", nil, &closed, nil), Policy: auth.Policy{AllowByDefault: true}, Info: Info{Name: "n", Version: "v"}})
	call, err := e.Accept(t.Context(), Input{Era: EraStateless, Version: Version20260728, Hints: Hints{Method: "tools/list"}, Message: []byte(modern("1", "tools/list", ""))})
	if err != nil {
		t.Fatal(err)
	}
	sink := newRecorder()
	call.Run(t.Context(), sink)
	want := `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"v"}},"tools":[{"name":"versioned","description":"A tool.","inputSchema":{"type":"object","additionalProperties":false}}],"ttlMs":0,"cacheScope":"public"}}` + "\n"
	if diff := cmp.Diff(want, lines(sink.take())); diff != "" {
		t.Errorf("list of an open server (-want +got):\n%s", diff)
	}
}
