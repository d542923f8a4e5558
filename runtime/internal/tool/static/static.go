// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package static answers calls from the configuration alone.
package static

import (
	"context"
	"fmt"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// New returns an Executor that renders plan for each call. It reports nothing
// while it runs and holds nothing that would have to be closed.
func New(plan *config.StaticPlan) tool.Executor { return executor{plan: plan} }

// executor implements tool.Executor.
type executor struct{ plan *config.StaticPlan }

// Prompt implements tool.Prompter.
func (executor) Prompt() bool { return true }

// Run implements tool.Executor. A template that fails, for example on an
// argument that is absent, is an error whose text names the tool and the
// expression. Its outcome is that of a tool error: it is for the caller to mend.
func (e executor) Run(_ context.Context, call tool.Call, _ tool.Sink) (tool.Result, error) {
	content, structured, isError, err := e.plan.Render(tool.Vars(call))
	if err != nil {
		return tool.Result{}, &tool.Error{
			Outcome: tool.OutcomeToolError, Message: fmt.Sprintf("tool %q: failed to render the answer: %s", call.Name, err),
		}
	}
	return tool.Result{Content: content, Structured: structured, IsError: isError}, nil
}
