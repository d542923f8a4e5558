// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"fmt"
)

// Went is what a client saw whose connections were cut.
type Went struct {
	Text     string `json:"text"`
	Progress []int  `json:"progress"`
}

// Cut calls a tool with the TypeScript SDK, version 1, over kind "sse" or
// "streamable", and cuts its connections: at the first progress of the call, after
// which it fetches url, or between two calls if url is empty. dir is as in All.
func Cut(ctx context.Context, dir, kind, host, port, tool, url string) (Went, error) {
	args := []string{"cut.mjs", kind, host, port, tool}
	if url != "" {
		args = append(args, url)
	}
	out, err := npm{dir: dir}.command(ctx, "node", args...)
	if err != nil {
		return Went{}, err
	}
	var w Went
	if err := json.Unmarshal(out, &w); err != nil {
		return Went{}, fmt.Errorf("failed to read the answer %q: %w", out, err)
	}
	return w, nil
}
