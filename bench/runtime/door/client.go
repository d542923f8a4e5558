// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// client keeps no connection: it would be one of the server's sockets.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Ask returns a sample of the process behind the door at addr; with collect
// after a collection that gives all free memory back.
func Ask(ctx context.Context, addr string, collect bool) (Sample, error) {
	url := "http://" + addr + "/sample"
	if collect {
		url += "?collect"
	}
	var s Sample
	body, err := do(ctx, http.MethodGet, url)
	if err != nil {
		return s, fmt.Errorf("failed to ask the server: %w", err)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("failed to read the server's sample: %w", err)
	}
	return s, nil
}

// Change has the server behind the door at addr change a tool.
func Change(ctx context.Context, addr string) error {
	if _, err := do(ctx, http.MethodPost, "http://"+addr+"/change"); err != nil {
		return fmt.Errorf("failed to change a tool: %w", err)
	}
	return nil
}

func do(ctx context.Context, method, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return body, err
}
