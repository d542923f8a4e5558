// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// run makes an Executor of a function.
type run func(ctx context.Context) (tool.Result, error)

func (f run) Run(ctx context.Context, _ tool.Call, _ tool.Sink) (tool.Result, error) { return f(ctx) }

// output compiles an output schema.
func output(t *testing.T, schema string) *config.Schema {
	t.Helper()
	text := "hello"
	program, err := config.Compile(&config.Server{
		Name: "test", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
		Tools: []config.Tool{{
			Name: "test", Description: "A test.", OutputSchema: json.RawMessage(schema),
			Static: &config.Static{Content: []config.Content{{Text: &text}}, StructuredContent: json.RawMessage(`{"n":1}`)},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return program.Tools[0].Output
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{name: "plain", text: "a", want: `[{"type":"text","text":"a"}]`},
		{name: "empty", want: `[{"type":"text","text":""}]`},
		{name: "quoted", text: "a\"b\\\n\u2028<&", want: "[{\"type\":\"text\",\"text\":\"a\\\"b\\\\\\n\u2028<&\"}]"},
		{name: "not UTF-8", text: "a\xffb", want: "[{\"type\":\"text\",\"text\":\"a\uFFFDb\"}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tool.Text(tt.text); string(got.Content) != tt.want || got.IsError || !json.Valid(got.Content) {
				t.Errorf("Text = %s, %t, want %s", got.Content, got.IsError, tt.want)
			}
			if got := tool.Failure(tt.text); string(got.Content) != tt.want || !got.IsError {
				t.Errorf("Failure = %s, %t, want %s", got.Content, got.IsError, tt.want)
			}
		})
	}
}

func TestMessageAndOutcome(t *testing.T) {
	t.Parallel()
	internal := errors.New("dial 10.0.0.1: refused")
	for _, tt := range []struct {
		name              string
		result            tool.Result
		err               error
		message, outcome  string
		logged, unwrapped bool
	}{
		{name: "ok", outcome: "ok"},
		{name: "failure", result: tool.Failure("no"), outcome: "tool_error"},
		{name: "unknown error", err: internal, message: "the tool failed; the server's log has the reason", outcome: "error"},
		{name: "cancelled", err: fmt.Errorf("failed: %w", context.Canceled), message: "the tool failed; the server's log has the reason", outcome: "cancelled"},
		{name: "known error", err: fmt.Errorf("call: %w", &tool.Error{Message: "no backend", Err: internal}), message: "no backend", outcome: "error"},
		{name: "outcome", err: &tool.Error{Message: "late", Outcome: tool.OutcomeTimeout}, message: "late", outcome: "timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tool.Outcome(tt.result, tt.err); got != tt.outcome {
				t.Errorf("Outcome = %q, want %q", got, tt.outcome)
			}
			if tt.err == nil {
				return
			}
			if got := tool.Message(tt.err); got != tt.message {
				t.Errorf("Message = %q, want %q", got, tt.message)
			}
		})
	}
	err := &tool.Error{Message: "no backend", Err: internal}
	if got, want := err.Error(), "no backend: dial 10.0.0.1: refused"; got != want || !errors.Is(err, internal) {
		t.Errorf("Error = %q, want %q", got, want)
	}
}

func TestVars(t *testing.T) {
	t.Parallel()
	call := tool.Call{Arguments: map[string]any{"id": int64(1)}, Principal: auth.Principal{Key: "apikey:a", Name: "a", Roles: []string{"r"}}}
	want := config.Vars{Arguments: call.Arguments, Principal: config.PrincipalVars{Subject: "a", Roles: []string{"r"}}}
	if diff := cmp.Diff(want, tool.Vars(call)); diff != "" {
		t.Errorf("Vars (-want +got):\n%s", diff)
	}
}

func TestGuardTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trace := &tool.Trace{Method: "GET"}
		g := tool.Guard(run(func(ctx context.Context) (tool.Result, error) {
			<-ctx.Done()
			return tool.Result{}, &tool.Error{Message: "gone", Err: ctx.Err(), Trace: trace}
		}), tool.Options{Name: "slow", Timeout: 3 * time.Second, MaxConcurrency: 1})
		began := time.Now()
		_, err := g.Run(t.Context(), tool.Call{}, nil)
		if got := time.Since(began); got != 3*time.Second {
			t.Errorf("it took %s, want 3s", got)
		}
		if got, want := tool.Message(err), `tool "slow" timed out after 3s`; got != want {
			t.Errorf("Message = %q, want %q", got, want)
		}
		if got := tool.Outcome(tool.Result{}, err); got != tool.OutcomeTimeout {
			t.Errorf("Outcome = %q", got)
		}
		var known *tool.Error
		if !errors.As(err, &known) || known.Trace != trace {
			t.Error("the trace got lost")
		}
	})
}

// TestGuardOwnDeadline keeps a backend's own deadline apart from the tool's.
func TestGuardOwnDeadline(t *testing.T) {
	t.Parallel()
	g := tool.Guard(run(func(context.Context) (tool.Result, error) {
		return tool.Result{}, context.DeadlineExceeded
	}), tool.Options{Name: "dial", Timeout: time.Hour, MaxConcurrency: 1})
	_, err := g.Run(t.Context(), tool.Call{}, nil)
	if got, want := tool.Message(err), `tool "dial" failed; the server's log has the reason`; got != want {
		t.Errorf("Message = %q, want %q", got, want)
	}
}

func TestGuardConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		g := tool.Guard(run(func(ctx context.Context) (tool.Result, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			select {
			case <-time.After(2 * time.Second):
				return tool.Text("done"), nil
			case <-ctx.Done():
				return tool.Result{}, ctx.Err()
			}
		}), tool.Options{Name: "few", Timeout: 5 * time.Second, MaxConcurrency: 2})
		outcomes := make(chan string, 6)
		for range 6 {
			go func() {
				result, err := g.Run(t.Context(), tool.Call{}, nil)
				outcomes <- tool.Outcome(result, err)
			}()
		}
		got := map[string]int{}
		for range 6 {
			got[<-outcomes]++
		}
		// Two at a time: 0-2 s, 2-4 s, and the last two begin at 4 s and run
		// into the timeout at 5 s, which counts from the call.
		if diff := cmp.Diff(map[string]int{"ok": 4, "timeout": 2}, got); diff != "" || most.Load() != 2 {
			t.Errorf("outcomes (-want +got):\n%s\n%d at once, want 2", diff, most.Load())
		}
	})
}

func TestGuardCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := tool.Guard(run(func(ctx context.Context) (tool.Result, error) {
			<-ctx.Done()
			return tool.Result{}, ctx.Err()
		}), tool.Options{Name: "one", Timeout: 10 * time.Second, MaxConcurrency: 1})
		start := func() (cancel context.CancelFunc, ended chan error) {
			ctx, cancel := context.WithCancel(t.Context())
			ended = make(chan error, 1)
			go func() { _, err := g.Run(ctx, tool.Call{}, nil); ended <- err }()
			synctest.Wait()
			return cancel, ended
		}
		cancelRunning, running := start()
		cancelWaiting, waiting := start()
		cancelWaiting()
		cancelRunning()
		for name, ended := range map[string]chan error{"running": running, "waiting": waiting} {
			err := <-ended
			if got, want := tool.Message(err), `the call of tool "one" was cancelled`; got != want || tool.Outcome(tool.Result{}, err) != tool.OutcomeCancelled {
				t.Errorf("%s: Message = %q, want %q", name, got, want)
			}
		}
	})
}

func TestGuardBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := tool.Guard(run(func(context.Context) (tool.Result, error) {
			<-time.After(20 * time.Second)
			return tool.Text("late"), nil
		}), tool.Options{Name: "deaf", Timeout: 5 * time.Second, MaxConcurrency: 1})
		go func() { _, _ = g.Run(t.Context(), tool.Call{}, nil) }()
		synctest.Wait()
		result, err := g.Run(t.Context(), tool.Call{}, nil)
		if got, want := tool.Message(err), `tool "deaf" is busy: it runs at most 1 calls at once and none ended within 5s; try again later`; got != want {
			t.Errorf("Message = %q, want %q", got, want)
		}
		if got := tool.Outcome(result, err); got != tool.OutcomeBusy {
			t.Errorf("Outcome = %q, want busy", got)
		}
		<-time.After(20 * time.Second)
	})
}

func TestGuardOutput(t *testing.T) {
	t.Parallel()
	schema := output(t, `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)
	structured := func(s string) tool.Result {
		return tool.Result{Content: json.RawMessage(`[]`), Structured: json.RawMessage(s)}
	}
	for _, tt := range []struct {
		name   string
		result tool.Result
		want   string
	}{
		{name: "valid", result: structured(`{"n":1}`)},
		{name: "a failure is not validated", result: tool.Failure("no")},
		{name: "none", result: tool.Text("1"), want: `tool "t" returned a result that breaks its output schema: there is no structured content; the backend must answer with a JSON object`},
		{name: "wrong type", result: structured(`{"n":"secret"}`), want: `tool "t" returned a result that breaks its output schema: structuredContent.n: must be an integer, not a string`},
		{name: "twice", result: structured(`{"n":1,"n":2}`), want: `tool "t" returned a result that breaks its output schema: it is not valid JSON`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := tool.Guard(run(func(context.Context) (tool.Result, error) { return tt.result, nil }),
				tool.Options{Name: "t", Timeout: time.Minute, MaxConcurrency: 1, Output: schema})
			result, err := g.Run(t.Context(), tool.Call{}, nil)
			if tt.want == "" {
				if diff := cmp.Diff(tt.result, result); diff != "" || err != nil {
					t.Errorf("Run: %v (-want +got):\n%s", err, diff)
				}
				return
			}
			if got := tool.Message(err); got != tt.want || tool.Outcome(result, err) != tool.OutcomeInvalidOutput {
				t.Errorf("Message = %q, want %q (outcome %s)", got, tt.want, tool.Outcome(result, err))
			}
		})
	}
}
