// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// again is how often a server that starts is asked.
const again = time.Millisecond

// AwaitAnswer waits until the server answers initialize.
func AwaitAnswer(ctx context.Context, server Server, kind Kind) error {
	return insist(ctx, func() error {
		s, err := open(ctx, server, kind, nil)
		return errors.Join(err, s.close(true))
	})
}

// AwaitReady waits until Fairlead's admin port says that it is ready.
func AwaitReady(ctx context.Context, admin string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return insist(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		return errors.Join(err, resp.Body.Close())
	})
}

// insist tries until it works.
func insist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not start: %w", err)
		case <-time.After(again):
		}
	}
}
